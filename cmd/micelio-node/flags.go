package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// A given is what the arguments of a command say.
type given struct {
	raw      map[string][]string // texts by the name of the flag, in order
	operands []string            // arguments that are no flags and no flag's value
	problems []string
	help     bool
}

// A recorder is a flag that notes its texts; load judges them, together with
// those of the other sources.
type recorder struct {
	raw      map[string][]string
	name     string
	isSwitch bool
}

func (r recorder) Set(text string) error {
	r.raw[r.name] = append(r.raw[r.name], text)
	return nil
}
func (r recorder) String() string   { return "" }
func (r recorder) IsBoolFlag() bool { return r.isSwitch }

// parseFlags reads all arguments, also those behind a mistake, so that all
// mistakes are reported together. own, if not nil, declares further flags.
// Flags and operands may be mixed.
func parseFlags(args []string, own func(*flag.FlagSet)) given {
	g := given{raw: map[string][]string{}}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	for _, s := range settings {
		for _, name := range s.names() {
			fs.Var(recorder{g.raw, name, s.isSwitch()}, name, "")
		}
	}
	if own != nil {
		own(fs)
	}
	for len(args) > 0 {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			g.help = true
			return g
		}
		rest := fs.Args()
		if err == nil && len(rest) > 0 {
			g.operands = append(g.operands, rest[0])
			rest = rest[1:]
		}
		if err != nil {
			rest = g.mistake(fs, args, rest, err)
		}
		args = rest
	}
	return g
}

// mistake notes why parsing args stopped with err and returns the arguments to
// go on with.
func (g *given) mistake(fs *flag.FlagSet, args, rest []string, err error) []string {
	if strings.HasPrefix(err.Error(), "bad flag syntax") { // --=x: the only mistake that is left unread
		g.problems = append(g.problems, err.Error())
		return rest[1:]
	}
	word := args[len(args)-len(rest)-1]
	name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if !strings.HasPrefix(word, "-") || fs.Lookup(name) != nil { // it has no value, or a bad one
		g.problems = append(g.problems, err.Error())
		return rest
	}
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, "--"+f.Name) })
	g.problems = append(g.problems, fmt.Sprintf("--%s: no such flag%s", name, didYouMean("--"+name, names)))
	if !hasValue && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		rest = rest[1:] // most likely its value
	}
	return rest
}
