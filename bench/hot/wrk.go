package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/bench/drive"
	"github.com/micelio/micelio/bench/proc"
)

// wrk asks for one path with wrk, the load generator that others measure with too.
func wrk(ctx context.Context, program string, core int, addr, path string, conns int, d time.Duration) (*drive.Tally, error) {
	var out bytes.Buffer
	seconds := max(1, int(d.Round(time.Second).Seconds())) // it takes whole ones only
	p, err := proc.Start(core, clean(), &out, program, "-t1", fmt.Sprint("-c", conns), fmt.Sprint("-d", seconds), "http://"+addr+path)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	select {
	case <-p.Ended():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	tally, err := parseWrk(out.String())
	if err != nil {
		return nil, fmt.Errorf("wrk: %w:\n%s", err, &out)
	}
	return tally, nil
}

// parseWrk reads what wrk prints.
func parseWrk(text string) (*drive.Tally, error) {
	t := &drive.Tally{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "Socket errors:") || strings.HasPrefix(line, "Non-2xx or 3xx responses:") {
			return nil, errors.New(line)
		}
		// "195213 requests in 2.10s, 812.01MB read"
		if n, rest, ok := strings.Cut(line, " requests in "); ok {
			took, _, _ := strings.Cut(rest, ",")
			var err1, err2 error
			t.Requests, err1 = strconv.ParseInt(n, 10, 64)
			t.Took, err2 = time.ParseDuration(took)
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
		}
	}
	if t.Requests <= 0 || t.Took <= 0 {
		return nil, errors.New("no requests")
	}
	return t, nil
}

// findWrk returns where wrk is, "" if it is to be done without.
func findWrk(wanted bool) string {
	if !wanted {
		return ""
	}
	path, err := exec.LookPath("wrk")
	if err != nil {
		log.Print("wrk is not installed: the load of this program's own stands in for it")
		return ""
	}
	return path
}
