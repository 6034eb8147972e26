package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/report"
)

// parseFlags parses the arguments of a command that puts no load on anything.
func parseFlags(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{err}
}

// runReport is the command report.
func runReport(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("micelio-load report", flag.ContinueOnError)
	f.SetOutput(stderr)
	format := f.String("type", "text", "what to write: "+strings.Join(report.Formats(), ", ")+", or hist[0,1ms,10ms] with buckets of your own")
	name := f.String("o", "", "write to a `FILE` instead of the standard output")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	write, err := report.ByName(*format)
	if err != nil {
		return usageError{err}
	}
	files := f.Args()
	if len(files) == 0 {
		files = []string{"-"}
	}
	if len(files) > 1 && (*format == "html" || *format == "prom" || *format == "hdr") {
		return usageError{fmt.Errorf("%s is made of one run, %d are given", *format, len(files))}
	}
	var results []*loadtest.Result
	for _, file := range files {
		result, err := readResult(file)
		if err != nil {
			return err
		}
		results = append(results, result)
	}
	return output(*name, stdout, func(w io.Writer) error {
		for i, result := range results {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := write(w, result); err != nil {
				return err
			}
		}
		return nil
	})
}

// runEncode is the command encode.
func runEncode(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("micelio-load encode", flag.ContinueOnError)
	f.SetOutput(stderr)
	to := f.String("to", "vegeta", "what to write for: vegeta")
	format := f.String("format", string(report.VegetaCSV), "the encoding: csv or json")
	name := f.String("o", "", "write to a `FILE` instead of the standard output")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	if *to != "vegeta" {
		return usageError{fmt.Errorf("there is no encoding for %q", *to)}
	}
	if *format != string(report.VegetaCSV) && *format != string(report.VegetaJSON) {
		return usageError{fmt.Errorf("the encoding %q is neither csv nor json", *format)}
	}
	file := "-"
	switch f.NArg() {
	case 0:
	case 1:
		file = f.Arg(0)
	default:
		return usageError{fmt.Errorf("one run is encoded at a time, %d are given", f.NArg())}
	}
	result, err := readResult(file)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error { return report.Vegeta(w, result, report.VegetaFormat(*format)) }
	if *name == "" { // straight to the pipe: this can be gigabytes
		return write(stdout)
	}
	return output(*name, stdout, write)
}
