package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/micelio/micelio/loadtest/figure"
	"github.com/micelio/micelio/loadtest/profile"
)

// runProfiles is the command profiles.
func runProfiles(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("micelio-load profiles", flag.ContinueOnError)
	f.SetOutput(stderr)
	if err := parseFlags(f, args); err != nil {
		return err
	}
	if f.NArg() == 0 {
		for _, p := range profile.All() {
			fmt.Fprintf(stdout, "%-10s %s\n", p.Name, p.Summary)
		}
		fmt.Fprintln(stdout, "\nmicelio-load profiles NAME explains one.")
		return nil
	}
	for _, name := range f.Args() {
		p, err := profile.ByName(name)
		if err != nil {
			return usageError{err}
		}
		if err := explain(stdout, p); err != nil {
			return err
		}
	}
	return nil
}

// explain prints what a profile is and how to use it.
func explain(w io.Writer, p *profile.Profile) error {
	cfg := p.Config()
	mix, err := json.MarshalIndent(cfg.Mix, "", "  ")
	if err != nil {
		return err
	}
	objects, bytes := profile.Volume(&cfg)
	command := "micelio-load run -profile " + p.Name
	if p.Chaos {
		command = "micelio-load chaos -profile " + p.Name + " -node … -do kill:0@30s+10s"
	}
	_, err = fmt.Fprintf(w, "%s: %s\n\n%s\n\nRate %s for %v over %d connections; %d objects, about %s.\n\n  micelio-load prepare -profile %s\n  %s\n\n%s\n",
		p.Name, p.Summary, p.Doc, cfg.Rate, cfg.Duration, cfg.Connections, objects, figure.Bytes.Format(bytes), p.Name, command, mix)
	return err
}

// population are the flags that describe the one population of objects that a
// run has without a profile.
var population = []string{"part", "keys", "class", "sizes", "sizes-file", "ops", "access", "shift"}

// applyProfile takes from the profile what no flag was given for.
func (o *options) applyProfile(given map[string]bool) error {
	p, err := profile.ByName(o.profile)
	if err != nil {
		return err
	}
	for _, name := range population {
		if given[name] {
			return fmt.Errorf("-%s describes the objects of a run without a profile; -scale changes how many a profile has", name)
		}
	}
	// By the profile's own duration, which prepare has no flag for: both must mean the
	// same objects.
	from := p.Config()
	scaleErr := profile.Scale(&from, o.scale)
	o.cfg.Profile, o.cfg.Mix = from.Profile, from.Mix
	for name, take := range map[string]func(){
		"name":        func() { o.cfg.Name = from.Name },
		"rate":        func() { o.cfg.Rate = from.Rate },
		"duration":    func() { o.cfg.Duration = from.Duration },
		"connections": func() { o.cfg.Connections = from.Connections },
		"timeout":     func() { o.cfg.Timeout = from.Timeout },
		"grace":       func() { o.cfg.Grace = from.Grace },
		"check":       func() { o.cfg.CheckEvery = from.CheckEvery },
	} {
		if !given[name] {
			take()
		}
	}
	return scaleErr
}

// checkScale refuses what would be ignored.
func (o *options) checkScale(given map[string]bool) error {
	if o.profile == "" && given["scale"] {
		return errors.New("-scale changes how many objects a profile has; use -keys without one")
	}
	return nil
}

func profileNames() string {
	var names []string
	for _, p := range profile.All() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}
