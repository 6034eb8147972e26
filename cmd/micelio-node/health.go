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
	"time"
)

// healthTimeout bounds the whole question to a node. Probes of containers wait
// some seconds at least; a node that takes longer than this is not well.
const healthTimeout = 3 * time.Second

// maxHealthBytes bounds what is printed of the answer, which is a few lines.
const maxHealthBytes = 64 << 10

// runHealth asks the node of the same configuration how it is, prints the
// answer, and exits with 0 if it is well and with 1 if not. The configuration
// must be readable, but is not validated apart from the admin listener: the
// node itself may have had flags that its probe does not repeat.
func (a *app) runHealth(ctx context.Context, args []string) int {
	var live bool
	l := a.settle(args, func(fs *flag.FlagSet) { fs.BoolVar(&live, "live", false, "") })
	if l == nil {
		return exitOK
	}
	address, problems := l.adminAddress()
	if len(problems) > 0 {
		return a.reject(problems)
	}
	path := "/readyz"
	if live {
		path = "/healthz"
	}
	if err := a.ask(ctx, "http://"+address+path); err != nil {
		fmt.Fprintf(a.stderr, "micelio-node: %v\n", err)
		return exitFailure
	}
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

// ask prints what a GET of the URL answers; anything but 200 is an error.
func (a *app) ask(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// A transport of its own: no proxy from the environment stands between a
	// node and its probe, and no connection outlives the question.
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("the node does not answer at %s: %w", url, err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(a.stdout, io.LimitReader(res.Body, maxHealthBytes)); err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", url, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}
