package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/report"
)

// A writeMode is a way to bring bytes to a segment of the log. What is compared
// is system calls on plain files, with the sizes and offsets that the log has.
type writeMode struct {
	name  string
	flags int // of open, besides those that all need

	// after is called after every write, nil: nothing is to be done.
	after func(f *os.File, off, n int64) error
}

const modeSegment = 256 << 20

func writeModes() []writeMode {
	return []writeMode{
		{name: "buffered"},
		{name: "buffered, written back and dropped every 8 MiB", after: writeBack},
		{name: "O_DIRECT", flags: unix.O_DIRECT},
	}
}

// writeBack starts to write every 8 MiB to the disk when they are complete, and
// drops those before them from the page cache, when they are written.
func writeBack(f *os.File, off, n int64) error {
	const unit = 8 << 20
	end := off + n
	if off/unit == end/unit {
		return nil
	}
	fd, done := int(f.Fd()), end/unit*unit
	err := unix.SyncFileRange(fd, done-unit, unit, unix.SYNC_FILE_RANGE_WRITE)
	if err == nil && done >= 2*unit {
		err = unix.SyncFileRange(fd, done-2*unit, unit, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		err = errors.Join(err, unix.Fadvise(fd, done-2*unit, unit, unix.FADV_DONTNEED))
	}
	return err
}

// A modePattern is what is written: pieces of a fixed size, one behind the other,
// each followed by a page as a chunk has it, if its size says so.
type modePattern struct {
	name  string
	piece int64 // of one write, in bytes
	chunk int64 // a page of 4 KiB is written before so many bytes, when they are there; 0: never
	total int64
}

func modePatterns(total int64) []modePattern {
	return []modePattern{
		{"chunks of 4 MiB in writes of 256 KiB", 256 << 10, 4 << 20, total},
		{"batches of small records, 128 KiB", 128<<10 + 2320, 0, total / 2},
		{"single small records, 4.3 KiB", 4<<10 + 304, 0, total / 16},
	}
}

const modePage = 4 << 10

// write brings the pattern to files of preallocated segments.
func (p modePattern) write(files []*os.File, mode writeMode) error {
	buf := aligned(int(p.piece + modePage))
	size := p.piece
	if mode.flags&unix.O_DIRECT != 0 {
		size = (size + modePage - 1) / modePage * modePage // what it takes on the disk too
	}
	put := func(f *os.File, off, n int64) error {
		if _, err := f.WriteAt(buf[:n], off); err != nil {
			return err
		}
		if mode.after != nil {
			return mode.after(f, off, n)
		}
		return nil
	}
	file, off, begin := 0, int64(modePage), int64(0)
	for done := int64(0); done < p.total; done += p.piece {
		if need := max(size, p.chunk+modePage); off+need > modeSegment {
			file, off = file+1, modePage
		}
		if p.chunk > 0 && done%p.chunk == 0 {
			begin, off = off, off+modePage
		}
		if err := put(files[file%len(files)], off, size); err != nil {
			return err
		}
		off += size
		if p.chunk > 0 && (done+p.piece)%p.chunk == 0 {
			if err := put(files[file%len(files)], begin, modePage); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads about as many bytes as were written, as readers of the log do.
func (p modePattern) read(files []*os.File) error {
	buf := aligned(int(p.piece))
	file, off := 0, int64(modePage)
	for done := int64(0); done < p.total; done += p.piece {
		if off+p.piece > modeSegment {
			file, off = file+1, modePage
		}
		if _, err := files[file%len(files)].ReadAt(buf, off); err != nil {
			return err
		}
		off += p.piece
	}
	return nil
}

// aligned returns memory as O_DIRECT wants it.
func aligned(n int) []byte {
	b := make([]byte, n+modePage)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (modePage - 1)
	b = b[skip : skip+n]
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// A modeCost is what one mode took for one pattern.
type modeCost struct{ write, sync, read measure.Cost }

// measureMode writes the pattern into files of dir that are there already if
// again is set, and reads it at once.
func measureMode(dir string, p modePattern, mode writeMode, again bool) (c modeCost, err error) {
	var files, readers []*os.File
	defer func() {
		for _, f := range append(files, readers...) {
			f.Close()
		}
	}()
	for i := range (p.total*11/10)/modeSegment + 1 {
		name := filepath.Join(dir, fmt.Sprintf("segment-%d", i))
		if !again {
			os.Remove(name)
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|mode.flags, 0o644)
		if err != nil {
			return c, err
		}
		files = append(files, f)
		if err := unix.Fallocate(int(f.Fd()), 0, 0, modeSegment); err != nil {
			return c, os.NewSyscallError("fallocate", err)
		}
		r, err := os.Open(name)
		if err != nil {
			return c, err
		}
		readers = append(readers, r)
	}
	n := p.total / p.piece
	c.write = measure.Of(n, p.total, func() { err = p.write(files, mode) })
	if err != nil {
		return c, err
	}
	c.sync = measure.Of(1, p.total, func() {
		for _, f := range files {
			err = errors.Join(err, f.Sync())
		}
	})
	if err != nil {
		return c, err
	}
	c.read = measure.Of(n, p.total, func() { err = p.read(readers) })
	return c, err
}

// compareModes returns the table of how the log could be written.
func compareModes(dir string, total int64, rounds int) (string, error) {
	var text string
	for _, p := range modePatterns(total) {
		costs := make(map[string][]modeCost)
		for range rounds {
			for _, mode := range writeModes() {
				for _, again := range []bool{false, true} {
					c, err := measureMode(dir, p, mode, again)
					if err != nil {
						return "", fmt.Errorf("%s: %w", mode.name, err)
					}
					key := fmt.Sprint(mode.name, again)
					costs[key] = append(costs[key], c)
				}
			}
		}
		table := report.Table{
			Title:   fmt.Sprintf("**%s**, %d MiB:", p.name, p.total>>20),
			Columns: []string{"written", "into a segment that", "CPU s/GiB", "and to sync", "MB/s", "MB/s with sync", "read at once, CPU s/GiB", "MB/s"},
		}
		for _, mode := range writeModes() {
			for _, again := range []bool{false, true} {
				table.Add(modeRow(mode.name, again, costs[fmt.Sprint(mode.name, again)])...)
			}
		}
		text += table.String()
	}
	return text, nil
}

func modeRow(name string, again bool, costs []modeCost) []string {
	median := func(figure func(modeCost) float64) string {
		return report.Number(measure.Median(costs, figure))
	}
	state := "is new"
	if again {
		state = "was full"
	}
	return []string{
		name, state,
		median(func(c modeCost) float64 { return c.write.PerGiB() }),
		median(func(c modeCost) float64 { return c.sync.PerGiB() }),
		median(func(c modeCost) float64 { return c.write.MBps() }),
		median(func(c modeCost) float64 {
			return float64(c.write.Bytes) / (c.write.Wall + c.sync.Wall).Seconds() / 1e6
		}),
		median(func(c modeCost) float64 { return c.read.PerGiB() }),
		median(func(c modeCost) float64 { return c.read.MBps() }),
	}
}
