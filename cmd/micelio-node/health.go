package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// healthTimeout bounds the whole question to a node. Probes of containers wait
// some seconds at least; a node that takes longer than this is not well.
const healthTimeout = 3 * time.Second

// maxHealthBytes bounds what is printed of the answer, which is a few lines.
const maxHealthBytes = 64 << 10

// healthFlags are what the command's own arguments say.
type healthFlags struct{ live bool }

func (f *healthFlags) declare(fs *flag.FlagSet) {
	fs.BoolVar(&f.live, "live", false, "ask whether it is alive, which a draining node is too")
}

// runHealth asks the node of the same configuration how it is, prints one line,
// and exits with 0 if it is well and with 1 if not: what runs it keeps little of
// what it says. The configuration must be readable, but is not validated apart
// from the admin listener: the node itself may have had flags that its probe does
// not repeat.
func (a *app) runHealth(ctx context.Context, args []string) int {
	var own healthFlags
	l := a.settle(args, own.declare)
	if l == nil {
		return exitOK
	}
	address, problems := l.adminAddress()
	if len(problems) > 0 {
		return a.reject(problems)
	}
	path := "/readyz?verbose"
	if own.live {
		path = "/healthz"
	}
	said, err := newQuestioner().health(ctx, "http://"+address+path)
	if err != nil {
		fmt.Fprintf(a.stderr, "micelio-node: %s\n", printable(err.Error()))
		return exitFailure
	}
	fmt.Fprintln(a.stdout, said)
	return exitOK
}

// dialable returns the address at which this machine reaches a listener.
func dialable(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("%q is not an address: write HOST:PORT", listen)
	}
	if port == "0" || port == "" {
		return "", errors.New("the node chose a free port: give --admin-listen the one that it logged")
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip == netip.IPv4Unspecified() {
		host = "127.0.0.1"
	} else if err == nil && ip.IsUnspecified() {
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// health returns the last line of what a GET of the URL answers, which is the
// verdict; anything but 200 is an error, of one line too.
func (q *questioner) health(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := q.get(req)
	if err != nil {
		return "", fmt.Errorf("the node does not answer at %s: %w", url, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxHealthBytes))
	if err != nil {
		return "", fmt.Errorf("the answer of %s broke off: %w", url, err)
	}
	verdict, faults := "", []string(nil)
	for line := range strings.Lines(string(body)) {
		verdict = printable(strings.TrimSpace(line))
		if fault, found := strings.CutPrefix(verdict, "[-] "); found {
			faults = append(faults, fault)
		}
	}
	if len(faults) > 0 {
		verdict += ": " + strings.Join(faults, "; ")
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", url, res.Status, verdict)
	}
	return verdict, nil
}
