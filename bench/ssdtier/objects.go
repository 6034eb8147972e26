package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/report"
)

// A load is objects of one size that are stored and then read.
type load struct {
	title   string
	size    int64
	objects int
	readers int // goroutines that store, and read
}

func loads() []load {
	return []load{
		{"4 KiB", 4 << 10, 8000, 1},
		{"4 KiB, 16 goroutines at once", 4 << 10, 8000, 16},
		{"1 MiB", 1 << 20, 128, 1},
		{"64 MiB", 64 << 20, 4, 1},
	}
}

// key returns a key of the class whose bytes need no proof.
func key(n int) string { return fmt.Sprintf("derivations/sha256:%064x", uint64(n)*0x9e3779b97f4a7c15) }

// A pair is what the objects of a load took.
type pair struct{ put, get measure.Cost }

// play stores all objects with an engine of an empty directory, and reads each
// twice, in another order.
func (l load) play(e engine) (p pair, err error) {
	bytes := l.size * int64(l.objects)
	p.put = measure.Of(int64(l.objects), bytes, func() {
		err = l.each(l.objects, func(i int, _ []byte) error { return e.Put(key(i), l.size) })
		err = errors.Join(err, e.Settle())
	})
	if err != nil {
		return p, err
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(l.objects)
	p.get = measure.Of(2*int64(l.objects), 2*bytes, func() {
		err = l.each(2*l.objects, func(i int, buf []byte) error {
			n, err := e.Get(key(order[i%l.objects]), buf)
			if err == nil && n != l.size {
				err = fmt.Errorf("%d bytes of %d", n, l.size)
			}
			return err
		})
	})
	return p, err
}

// each calls do for 0 to n-1, from as many goroutines as the load has.
func (l load) each(n int, do func(i int, buf []byte) error) error {
	errs := make([]error, l.readers)
	var all sync.WaitGroup
	for r := range l.readers {
		all.Go(func() {
			buf := make([]byte, readSize)
			for i := r; i < n && errs[r] == nil; i += l.readers {
				errs[r] = do(i, buf)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// playIn plays a load with a contender in a directory of its own.
func (l load) playIn(dir string, c contender, content []byte) (p pair, err error) {
	dir, err = os.MkdirTemp(dir, "engine-")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	e, err := c.Open(dir, content)
	if err != nil {
		return p, fmt.Errorf("%s: %w", c.name, err)
	}
	defer e.Close()
	if p, err = l.play(e); err != nil {
		return p, fmt.Errorf("%s, %s: %w", c.name, l.title, err)
	}
	return p, nil
}

// compareObjects returns a table for each load.
func compareObjects(dir string, loads []load, rounds int) (string, error) {
	all, bytes := contenders(), content()
	var text string
	for _, l := range loads {
		pairs := make([][]pair, len(all))
		for range rounds {
			for i, c := range all {
				p, err := l.playIn(dir, c, bytes)
				if err != nil {
					return "", err
				}
				pairs[i] = append(pairs[i], p)
			}
		}
		table := report.Table{
			Title:   fmt.Sprintf("**%s**, %d objects:", l.title, l.objects),
			Columns: []string{"engine", "put: CPU µs", "of that system", "CPU s/GiB", "MB/s", "get: CPU µs", "of that system", "CPU s/GiB", "MB/s"},
		}
		for i, c := range all {
			row := append([]string{c.name}, columns(pairs[i], func(p pair) measure.Cost { return p.put })...)
			table.Add(append(row, columns(pairs[i], func(p pair) measure.Cost { return p.get })...)...)
		}
		text += table.String()
	}
	return text, nil
}

func columns(pairs []pair, of func(pair) measure.Cost) []string {
	var cells []string
	for _, figure := range []func(measure.Cost) float64{
		func(c measure.Cost) float64 { return c.PerOp() / 1e3 },
		func(c measure.Cost) float64 { return float64(c.System.Microseconds()) / float64(c.Ops) },
		measure.Cost.PerGiB, measure.Cost.MBps,
	} {
		cells = append(cells, report.Number(measure.Median(pairs, func(p pair) float64 { return figure(of(p)) })))
	}
	return cells
}
