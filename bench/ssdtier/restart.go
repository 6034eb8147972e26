package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/report"
	"github.com/micelio/micelio/tiers"
)

// restartSize is the size of the objects that are there at a restart, in bytes.
const restartSize = 100

// A comeback is what a start took.
type comeback struct {
	measure.Cost
	heap int64 // bytes of what a cache must know of its objects
}

// comeBack measures open, which returns what a cache must know.
func comeBack(objects int, open func() (any, error)) (c comeback, known any, err error) {
	before := measure.Heap()
	c.Cost = measure.Of(int64(objects), 0, func() { known, err = open() })
	c.heap = measure.Heap() - before
	runtime.KeepAlive(known)
	return c, known, err
}

// restartOurs stores so many objects and starts again some times.
func restartOurs(dir string, objects, rounds int) (all []comeback, err error) {
	e, err := openOurs(dir, make([]byte, maxValue))
	if err != nil {
		return nil, err
	}
	l := load{readers: 16}
	err = l.each(objects, func(i int, _ []byte) error { return e.Put(key(i), restartSize) })
	if err = errors.Join(err, e.Close()); err != nil {
		return nil, err
	}
	for range rounds {
		c, known, err := comeBack(objects, func() (any, error) {
			return tiers.OpenLog(dir, tiers.LogOptions{Capacity: oursCapacity})
		})
		if err != nil {
			return nil, err
		}
		log := known.(*tiers.Log)
		entries := log.Stats().Entries
		if err := log.Close(); err != nil {
			return nil, err
		}
		if entries != int64(objects) {
			return nil, fmt.Errorf("%d of %d objects came back", entries, objects)
		}
		all = append(all, c)
	}
	return all, nil
}

// restartFiles does the same with a file for each object. Its start is what no
// such cache can do without: the name and size of each file.
func restartFiles(dir string, objects, rounds int) (all []comeback, err error) {
	f := files{dir, make([]byte, maxValue), false}
	l := load{readers: 4}
	if err := l.each(objects, func(i int, _ []byte) error { return f.Put(key(i), restartSize) }); err != nil {
		return nil, err
	}
	for range rounds {
		c, known, err := comeBack(objects, func() (any, error) { return scan(dir) })
		if err != nil {
			return nil, err
		}
		if n := len(known.(map[string]int64)); n != objects {
			return nil, fmt.Errorf("%d of %d files were found", n, objects)
		}
		all = append(all, c)
	}
	return all, nil
}

func scan(dir string) (map[string]int64, error) {
	sizes := make(map[string]int64)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sizes[d.Name()] = info.Size()
		}
		return err
	})
	return sizes, err
}

// compareRestarts returns the table of restarts.
func compareRestarts(dir string, ourObjects, fileObjects, rounds int) (string, error) {
	table := report.Table{
		Title:   fmt.Sprintf("**Restart** with objects of %d bytes, directory and files in the page cache:", restartSize),
		Columns: []string{"engine", "objects", "s", "CPU s", "CPU s for a million", "bytes of heap an object"},
	}
	for _, r := range []struct {
		name    string
		objects int
		restart func(dir string, objects, rounds int) ([]comeback, error)
	}{
		{oursName, ourObjects, restartOurs},
		{"file per object: readdir and lstat into a map", fileObjects, restartFiles},
	} {
		err := func() error {
			dir, err := os.MkdirTemp(dir, "restart-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			all, err := r.restart(dir, r.objects, rounds)
			if err != nil {
				return fmt.Errorf("restart of %s: %w", r.name, err)
			}
			figure := func(of func(comeback) float64) string { return report.Number(measure.Median(all, of)) }
			table.Add(r.name, fmt.Sprint(r.objects),
				figure(func(c comeback) float64 { return c.Wall.Seconds() }),
				figure(func(c comeback) float64 { return c.CPU().Seconds() }),
				figure(func(c comeback) float64 { return c.PerOp() / 1e3 }),
				figure(func(c comeback) float64 { return float64(c.heap) / float64(r.objects) }))
			return nil
		}()
		if err != nil {
			return "", err
		}
	}
	return table.String(), nil
}
