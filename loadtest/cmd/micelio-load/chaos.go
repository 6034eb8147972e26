package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/chaos"
	"github.com/micelio/micelio/loadtest/report"
)

const chaosNotes = `
Nodes are numbered from 0 in the order in which -node and -pid give them. -ready says where the node before it
answers 200 when it serves. Ask nodes that stay: a request to an address where nobody listens fails, and says nothing
about the cluster.

  micelio-load chaos -profile churn -target 127.0.0.1:8080 \
    -node 'micelio-node serve --config a' -ready http://127.0.0.1:8082/readyz \
    -node 'micelio-node serve --config b' -ready http://127.0.0.1:9082/readyz \
    -do drain:1@20s+5s,kill:1@50s+5s,freeze:1@80s+3s

Steps:
  %s

A second Ctrl-C kills the nodes and hooks that have not ended by then.

Exit code 1 if a drain cost somebody an error or anything never was as before again, 3 if the run is INVALID.
`

// errFaults is a cluster that did not do well.
var errFaults = errors.New("the nodes did not do well")

// drill are the flags of chaos.
type drill struct {
	options
	chaos chaos.Config
	steps string
	log   string
	json  bool
}

// runChaos is the command chaos.
func runChaos(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var d drill
	var to string
	f := newRunFlags("micelio-load chaos", stderr, &d.options, &to)
	d.flags(f)
	if err := d.parse(f, args); err != nil {
		return err
	}
	var err error
	if d.chaos.Steps, err = chaos.ParseSteps(d.steps); err != nil {
		return usageError{err}
	}
	file, err := create(to)
	if err != nil {
		return err
	}
	if d.log != "" {
		log, err := os.Create(d.log)
		if err != nil {
			return errors.Join(err, file.abandon())
		}
		defer log.Close()
		d.chaos.Output = log
	}
	d.chaos.Load, d.chaos.Log = d.cfg, func(line string) { fmt.Fprintln(stderr, line) }
	second, stop := secondSignal()
	defer stop()
	d.chaos.Abandon = second
	outcome, err := chaos.Do(ctx, d.chaos)
	if outcome == nil || outcome.Result == nil {
		return errors.Join(err, file.abandon())
	}
	err = errors.Join(err, file.write(outcome.Result), d.print(stdout, outcome))
	switch {
	case err != nil:
		return err
	case outcome.Result.Self.Verdict == loadtest.Invalid:
		return errInvalid
	case len(outcome.Faults()) > 0:
		return errFaults
	}
	return nil
}

func (d *drill) flags(f *flag.FlagSet) {
	f.StringVar(&d.steps, "do", "", "the `STEPS`, see below")
	f.StringVar(&d.log, "node-log", "", "a `FILE` for what the nodes and hooks write; otherwise it is lost")
	f.BoolVar(&d.json, "json", false, "print JSON: what the steps cost, without the report of the run")
	f.Func("node", "a `COMMAND` that runs a node in the foreground; it is started before the run and ended after it", func(s string) error {
		d.chaos.Nodes = append(d.chaos.Nodes, chaos.Node{Command: s})
		return nil
	})
	f.Func("pid", "the `ID` of a process that is a node and runs already", func(s string) error {
		pid, err := strconv.Atoi(s)
		d.chaos.Nodes = append(d.chaos.Nodes, chaos.Node{PID: pid})
		return err
	})
	f.Func("ready", "a `URL` at which the node before it says that it serves", func(s string) error {
		if len(d.chaos.Nodes) == 0 {
			return errors.New("it comes after the node that it belongs to")
		}
		d.chaos.Nodes[len(d.chaos.Nodes)-1].Ready = s
		return nil
	})
	f.Func("hook", "two shell commands, `DO ;; UNDO`, for the step run: to make the origin slow, for example", func(s string) error {
		do, undo, _ := strings.Cut(s, ";;")
		d.chaos.Hooks = append(d.chaos.Hooks, chaos.Hook{Do: strings.TrimSpace(do), Undo: strings.TrimSpace(undo)})
		return nil
	})
	setUsage(f, rateNotes()+runNotes+fmt.Sprintf(chaosNotes, strings.ReplaceAll(chaos.Syntax, "\n", "\n  ")))
}

// print prints what the steps cost, and the run.
func (d *drill) print(w io.Writer, o *chaos.Outcome) error {
	if d.json {
		return o.WriteJSON(w)
	}
	if err := report.Text(w, o.Result); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return o.WriteText(w)
}

// given reports whether a flag was on the command line.
func given(f *flag.FlagSet, name string) (found bool) {
	f.Visit(func(flag *flag.Flag) { found = found || flag.Name == name })
	return found
}
