package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/dgraph-io/badger/v4"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// An engine keeps objects on a disk. It is safe for concurrent use.
type engine interface {
	// Put stores an object of size bytes: content, over and over.
	Put(key string, size int64) error

	// Get reads the object to its end through buf, of readSize bytes, and
	// returns how many bytes there were.
	Get(key string, buf []byte) (int64, error)

	// Settle brings to the files what is still in memory only, and ends what
	// the engine does behind the caller's back. It is part of the cost of Put.
	Settle() error

	Close() error
}

const (
	// maxValue is the largest value that a database gets; a larger object is
	// several of them, as in ours.
	maxValue = 4 << 20

	readSize  = 256 << 10
	writeSize = 256 << 10
)

// content is the bytes of all objects.
func content() []byte {
	b := make([]byte, maxValue)
	x := uint64(1)
	for i := 0; i < len(b); i += 8 {
		x = x*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	return b
}

// pieces calls write for the bytes of an object, at most n at once.
func pieces(content []byte, size, n int64, write func(p []byte) error) error {
	for at := int64(0); at < size; {
		from := at % int64(len(content))
		p := content[from:min(from+n, int64(len(content)), from+size-at)]
		if err := write(p); err != nil {
			return err
		}
		at += int64(len(p))
	}
	return nil
}

// A contender opens engines in an empty directory.
type contender struct {
	name string
	Open func(dir string, content []byte) (engine, error)
}

const oursName = "micelio SSD tier"

func contenders() []contender {
	return []contender{
		{oursName, openOurs},
		{"file per object, renamed", func(dir string, c []byte) (engine, error) { return files{dir, c, true}, nil }},
		{"file per object, in place", func(dir string, c []byte) (engine, error) { return files{dir, c, false}, nil }},
		{"pebble v2.1.7", openPebble},
		{"badger v4.9.6", openBadger},
		{"one file, pwrite and pread (floor)", openFloor},
	}
}

// ours is our SSD tier, with the description that a node keeps of each object.
type ours struct {
	*tiers.Log
	dir     string
	content []byte
	stop    func()
}

// oursCapacity gives segments of 64 MiB.
const oursCapacity = 4 << 30

func openOurs(dir string, content []byte) (engine, error) {
	o := &ours{dir: dir, content: content}
	return o, o.open()
}

func (o *ours) open() (err error) {
	if o.Log, err = tiers.OpenLog(o.dir, tiers.LogOptions{Capacity: oursCapacity}); err != nil {
		return err
	}
	o.stop = running(o.Log.Run)
	return nil
}

// running starts what runs until stop is called.
func running(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = run(ctx) }) // it ends because it is told to
	return func() { cancel(); done.Wait() }
}

func infoOf(key string, size int64) object.Info {
	return object.Info{Key: object.Key(key), Size: size, ETag: "0123456789abcdef0123456789abcdef"}
}

var errDeclined = errors.New("declined")

func (o *ours) Put(key string, size int64) error {
	info := infoOf(key, size)
	if size <= tiers.MaxPut {
		if !o.Log.Put(&tiers.Entry{Info: info, Bytes: o.content[:size]}) {
			return errDeclined
		}
		return nil
	}
	w, ok := o.Create(info)
	if !ok {
		return errDeclined
	}
	defer w.Abort()
	if err := pieces(o.content, size, writeSize, w.Write); err != nil {
		return err
	}
	return w.Commit(info)
}

func (o *ours) Get(key string, buf []byte) (int64, error) {
	s, ok := o.Log.Get(object.Key(key))
	if !ok {
		return 0, os.ErrNotExist
	}
	defer s.Close()
	var at int64
	for size := s.Info().Size; at < size; {
		n, err := s.ReadAt(buf, at)
		if err != nil {
			return at, err
		}
		at += int64(n)
	}
	return at, nil
}

// Settle starts again: a full segment is synced sooner or later, and this is the
// way to have all of it now.
func (o *ours) Settle() error { return errors.Join(o.Close(), o.open()) }
func (o *ours) Close() error  { o.stop(); return o.Log.Close() }

// files is a file for each object, the simplest cache on a disk.
type files struct {
	dir     string
	content []byte
	rename  bool // a file is written under another name first, so that nobody sees half of it
}

func (f files) path(key string) string {
	name := key[len(key)-64:]
	return filepath.Join(f.dir, name[:2], name)
}

func (f files) Put(key string, size int64) error {
	path := f.path(key)
	name := path
	if f.rename {
		name += ".tmp"
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			file, err = os.Create(name)
		}
	}
	if err != nil {
		return err
	}
	err = pieces(f.content, size, writeSize, func(p []byte) error { _, err := file.Write(p); return err })
	if err = errors.Join(err, file.Close()); err != nil || !f.rename {
		return err
	}
	return os.Rename(name, path)
}

func (f files) Get(key string, buf []byte) (n int64, err error) {
	file, err := os.Open(f.path(key))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for {
		m, err := file.Read(buf)
		n += int64(m)
		if err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

func (f files) Settle() error { return nil }
func (f files) Close() error  { return nil }

// A database is an engine of keys and values.
type database struct {
	set     func(key, value []byte) error
	get     func(key, buf []byte) (int, error)
	settle  func() error
	close   func() error
	content []byte
}

// part is the key of the n-th value of an object.
func part(key string, n int) []byte { return fmt.Appendf(nil, "%s/%d", key, n) }

func (d database) Put(key string, size int64) error {
	n := 0
	return pieces(d.content, size, maxValue, func(p []byte) error {
		n++
		return d.set(part(key, n-1), p)
	})
}

// Get reads values until one is shorter than it could be.
func (d database) Get(key string, buf []byte) (size int64, err error) {
	for n := 0; ; n++ {
		got, err := d.get(part(key, n), buf)
		if err != nil {
			if n > 0 && (errors.Is(err, pebble.ErrNotFound) || errors.Is(err, badger.ErrKeyNotFound)) {
				return size, nil
			}
			return size, err
		}
		size += int64(got)
		if got < maxValue {
			return size, nil
		}
	}
}

// through brings a value to the caller as reads of files do: a value that is only
// mapped into memory is not read yet.
func through(buf, value []byte) int {
	for at := 0; at < len(value); {
		at += copy(buf, value[at:])
	}
	return len(value)
}

func (d database) Settle() error { return d.settle() }
func (d database) Close() error  { return d.close() }

// openPebble opens pebble as a cache would: no log of writes, no sync, values
// apart from keys.
func openPebble(dir string, content []byte) (engine, error) {
	opt := &pebble.Options{DisableWAL: true, Logger: silent{}, FormatMajorVersion: pebble.FormatNewest}
	opt.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 1 << 10, MaxBlobReferenceDepth: 10}
	}
	db, err := pebble.Open(dir, opt)
	if err != nil {
		return nil, err
	}
	return database{
		set: func(key, value []byte) error { return db.Set(key, value, pebble.NoSync) },
		get: func(key, buf []byte) (int, error) {
			v, closer, err := db.Get(key)
			if err != nil {
				return 0, err
			}
			return through(buf, v), closer.Close()
		},
		settle: db.Flush, close: db.Close, content: content,
	}, nil
}

type silent struct{}

func (silent) Infof(string, ...any)             {}
func (silent) Errorf(string, ...any)            {}
func (silent) Fatalf(format string, arg ...any) { panic(fmt.Sprintf(format, arg...)) }

// openBadger opens badger with values in its value log, and no sync.
func openBadger(dir string, content []byte) (engine, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil).WithValueThreshold(1 << 10).WithCompression(0))
	if err != nil {
		return nil, err
	}
	return database{
		set: func(key, value []byte) error {
			return db.Update(func(t *badger.Txn) error { return t.Set(key, value) })
		},
		get: func(key, buf []byte) (n int, err error) {
			err = db.View(func(t *badger.Txn) error {
				item, err := t.Get(key)
				if err != nil {
					return err
				}
				return item.Value(func(v []byte) error { n = through(buf, v); return nil })
			})
			return n, err
		},
		settle: func() error { return nil }, // its value log has everything
		close:  db.Close, content: content,
	}, nil
}
