package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/report"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// An upstream holds objects of any size in 4 MiB of memory. It can be read only.
type upstream struct {
	object.Store // nil: nobody writes or lists
	content      []byte
	sizes        map[object.Key]int64
}

func (u upstream) Get(_ context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	size, ok := u.sizes[key]
	if !ok {
		return nil, object.ErrNotFound
	}
	off, n, err := opt.Range.Resolve(size)
	if err != nil {
		return nil, err
	}
	info := infoOf(string(key), size)
	info.Version = "1"
	return &object.Object{Info: info, Offset: off, Length: n, Body: &stream{u.content, off, off + n}}, nil
}

// A stream is a body that repeats the content.
type stream struct {
	content []byte
	at, end int64
}

func (s *stream) Read(p []byte) (int, error) {
	if s.at == s.end {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), s.end-s.at)], s.content[s.at%int64(len(s.content)):])
	s.at += int64(n)
	return n, nil
}

func (s *stream) Close() error { return nil }

// A fill is objects that a cold cache brings from its upstream to one reader.
type fill struct {
	size    int64
	objects int
	proven  bool // the keys are digests, so the bytes are hashed on their way
}

func (f fill) String() string {
	kind := ""
	if f.proven {
		kind = ", verified by SHA-256"
	}
	return fmt.Sprintf("%d objects of %d MiB%s", f.objects, f.size>>20, kind)
}

func fills() []fill {
	return []fill{{64 << 20, 4, false}, {1 << 30, 1, false}, {64 << 20, 4, true}, {1 << 30, 1, true}}
}

// keys returns the keys of the objects, of which verified ones of one size are
// one and the same.
func (f fill) keys(content []byte) []object.Key {
	keys := make([]object.Key, f.objects)
	for i := range keys {
		keys[i] = object.Key(key(i))
	}
	if f.proven {
		sum := sha256.New()
		_ = pieces(content, f.size, maxValue, func(p []byte) error { sum.Write(p); return nil })
		for i := range keys {
			keys[i] = object.Key(fmt.Sprintf("artifacts/sha256:%x", sum.Sum(nil)))
		}
	}
	return keys
}

// A setup is which tiers the cache has.
type setup struct {
	name     string
	ram, ssd int64
}

func setups() []setup {
	return []setup{{"RAM", 64 << 20, 0}, {"SSD", 0, oursCapacity}, {"both", 64 << 20, oursCapacity}}
}

// play fills a cold cache in a directory of its own.
func (f fill) play(dir string, s setup, content []byte) (cost measure.Cost, err error) {
	dir, err = os.MkdirTemp(dir, "fill-")
	if err != nil {
		return cost, err
	}
	defer os.RemoveAll(dir)
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		return cost, err
	}
	var ssd tiers.SSD = tiers.Off{}
	if s.ssd > 0 {
		if ssd, err = tiers.OpenLog(dir, tiers.LogOptions{Capacity: s.ssd}); err != nil {
			return cost, err
		}
	}
	defer ssd.Close()
	u := upstream{content: content, sizes: make(map[object.Key]int64)}
	keys := f.keys(content)
	for _, k := range keys {
		u.sizes[k] = f.size
	}
	cache := tiers.New(tiers.Config{Upstream: u, Classes: classes, RAM: tiers.NewRAM(s.ram), SSD: ssd})
	defer running(cache.Run)()
	buf := make([]byte, 64<<10)
	cost = measure.Of(int64(f.objects), f.size*int64(f.objects), func() {
		for _, k := range keys {
			if err = read(cache, k, f.size, buf); err != nil {
				return
			}
			for cache.Stats().InFlight > 0 {
				runtime.Gosched()
			}
			if s.ssd > 0 && !ssd.Has(k) {
				err = fmt.Errorf("%s: the SSD tier has not kept it", f)
				return
			}
			ssd.Delete(k) // a verified key comes again
		}
	})
	return cost, err
}

// read reads an object to its end.
func read(store object.Store, key object.Key, size int64, buf []byte) error {
	obj, err := store.Get(context.Background(), key, object.GetOptions{})
	if err != nil {
		return err
	}
	defer obj.Body.Close()
	var n int64
	for {
		m, err := obj.Body.Read(buf)
		n += int64(m)
		if err == io.EOF && n == size {
			return nil
		} else if err != nil {
			return fmt.Errorf("%d bytes of %d: %w", n, size, err)
		}
	}
}

// compareFills returns the table of fills.
func compareFills(dir string, fills []fill, rounds int) (string, error) {
	table := report.Table{
		Title:   "**Fills** of a cold cache from an upstream in memory, read by one reader while they come:",
		Columns: []string{"objects", "tiers", "CPU s/GiB", "of that system", "MB/s"},
	}
	bytes := content()
	for _, f := range fills {
		costs := make([][]measure.Cost, len(setups()))
		for range rounds {
			for i, s := range setups() {
				c, err := f.play(dir, s, bytes)
				if err != nil {
					return "", err
				}
				costs[i] = append(costs[i], c)
			}
		}
		for i, s := range setups() {
			system := func(c measure.Cost) float64 { return c.System.Seconds() / float64(c.Bytes) * (1 << 30) }
			table.Add(f.String(), s.name, report.Number(measure.Median(costs[i], measure.Cost.PerGiB)),
				report.Number(measure.Median(costs[i], system)), report.Number(measure.Median(costs[i], measure.Cost.MBps)))
		}
	}
	return table.String(), nil
}
