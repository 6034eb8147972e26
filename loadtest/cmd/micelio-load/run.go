package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/report"
)

// runRun is the command run.
func runRun(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	var output string
	f := newRunFlags("micelio-load run", stderr, &o, &output)
	setUsage(f, rateNotes()+runNotes)
	if err := o.parse(f, args); err != nil {
		return err
	}
	// A file that cannot be written is found out before the run, not after it.
	file, err := create(output)
	if err != nil {
		return err
	}
	o.cfg.Status = terminal(stderr)
	result, err := loadtest.Run(ctx, o.cfg)
	if err != nil {
		return errors.Join(err, file.abandon())
	}
	// The file first: a pipe that nobody reads any more must not cost the run.
	if err := errors.Join(file.write(result), report.Text(stdout, result)); err != nil {
		return err
	}
	if result.Self.Verdict == loadtest.Invalid {
		return errInvalid
	}
	return nil
}

// runPrepare is the command prepare.
func runPrepare(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	if err := o.parse(newFlags("micelio-load prepare", stderr, &o), args); err != nil {
		return err
	}
	o.cfg.Status = terminal(stderr)
	result, err := loadtest.Prepare(ctx, o.cfg)
	if result != nil {
		t := &result.Totals
		fmt.Fprintf(stdout, "%d of %d objects stored at the first attempt, %d bytes, in %v\n", t.Done-t.Errors[loadtest.ErrorStatus], t.Scheduled, t.BytesOut, result.Took)
	}
	return err
}

// A resultFile is written under another name until it is whole.
type resultFile struct {
	name string
	file *os.File // nil if none is wanted
}

func create(name string) (*resultFile, error) {
	if name == "" {
		return &resultFile{}, nil
	}
	file, err := os.Create(name + ".part")
	return &resultFile{name, file}, err
}

func (f *resultFile) write(result *loadtest.Result) error {
	if f.file == nil {
		return nil
	}
	if err := loadtest.WriteResult(f.file, result); err != nil {
		return errors.Join(err, f.abandon())
	}
	if err := f.file.Close(); err != nil {
		return err
	}
	return os.Rename(f.file.Name(), f.name)
}

// abandon removes what was begun.
func (f *resultFile) abandon() error {
	if f.file == nil {
		return nil
	}
	return errors.Join(f.file.Close(), os.Remove(f.file.Name()))
}

// terminal returns w if it is a terminal, nil otherwise: what overwrites itself
// has no place in a file.
func terminal(w io.Writer) io.Writer {
	file, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return w
}
