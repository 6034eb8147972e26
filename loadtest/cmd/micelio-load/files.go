package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/micelio/micelio/loadtest"
)

// readResult reads a result file; "-" is the standard input.
func readResult(name string) (*loadtest.Result, error) {
	if name == "-" {
		return loadtest.ReadResult(os.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	result, err := loadtest.ReadResult(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return result, nil
}

// readResults reads all files of a list of names, patterns and directories, in
// the order in which the runs began.
func readResults(list string) ([]*loadtest.Result, error) {
	var results []*loadtest.Result
	for _, pattern := range splitList(list) {
		if info, err := os.Stat(pattern); err == nil && info.IsDir() {
			pattern = filepath.Join(pattern, "*")
		}
		names, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", pattern, err)
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("there is no file %s", pattern)
		}
		for _, name := range names {
			result, err := readResult(name)
			if err != nil {
				return nil, err
			}
			results = append(results, result)
		}
	}
	slices.SortStableFunc(results, func(a, b *loadtest.Result) int { return a.Start.Compare(b.Start) })
	return results, nil
}

// output writes what a command makes to a file, whole or not at all, or to
// stdout if name is "".
func output(name string, stdout io.Writer, write func(io.Writer) error) error {
	var text bytes.Buffer
	if name == "" {
		if err := write(&text); err != nil {
			return err
		}
		_, err := stdout.Write(text.Bytes())
		return err
	}
	file, err := os.Create(name + ".part")
	if err != nil {
		return err
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), name)
}
