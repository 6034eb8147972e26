package seglog

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
)

// A memFS is a disk in memory that can lose power and fail. What was not synced
// when the power goes is there or not, sector by sector.
type memFS struct {
	mu    sync.Mutex
	files map[string]*memFile
	fail  func(op, name string) error // nil: nothing fails
	space int64                       // bytes that can be allocated, 0: any
	shut  bool
}

const sector = 512

type memWrite struct {
	off  int64
	data []byte
}

// A memFile is both the file and an open handle to it.
type memFile struct {
	fs       *memFS
	name     string
	now      []byte     // what a reader sees
	durable  []byte     // what is on the disk for certain
	unsynced []memWrite // since
}

func newMemFS() *memFS { return &memFS{files: make(map[string]*memFile)} }

func (m *memFS) check(op, name string) error {
	if m.shut {
		return fs.ErrClosed
	}
	if m.fail != nil {
		return m.fail(op, name)
	}
	return nil
}

func (m *memFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("open", name); err != nil {
		return nil, err
	}
	f := m.files[name]
	if f == nil {
		f = &memFile{fs: m, name: name}
		m.files[name] = f
	}
	return f, nil
}

func (m *memFS) Names() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		names = append(names, name)
	}
	return names, nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("remove", name); err != nil {
		return err
	}
	delete(m.files, name)
	return nil
}

func (m *memFS) Close() error { return nil }

// setFail says what fails from now on.
func (m *memFS) setFail(fail func(op, name string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// crash returns the disk as a machine finds it that lost its power now. The old
// one fails from then on.
func (m *memFS) crash(rnd *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut = true
	after := newMemFS()
	after.space = m.space
	chance := rnd.Float64()
	for name, f := range m.files {
		image := append([]byte(nil), f.durable...)
		for _, w := range f.unsynced {
			for at := 0; at < len(w.data); {
				n := min(len(w.data)-at, sector-int((w.off+int64(at))%sector))
				if rnd.Float64() < chance && w.off+int64(at+n) <= int64(len(image)) {
					copy(image[w.off+int64(at):], w.data[at:at+n])
				}
				at += n
			}
		}
		after.files[name] = &memFile{fs: after, name: name, now: image, durable: append([]byte(nil), image...)}
	}
	return after
}

// kill returns the disk as another process finds it after this one was killed:
// every write that returned is there.
func (m *memFS) kill() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut = true
	after := newMemFS()
	after.space = m.space
	for name, f := range m.files {
		after.files[name] = &memFile{fs: after, name: name, now: append([]byte(nil), f.now...), durable: f.durable}
	}
	return after
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.check("read", f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.check("write", f.name); err != nil {
		return 0, err
	}
	if off+int64(len(p)) > int64(len(f.now)) {
		return 0, errors.New("write behind the end of a file of fixed size")
	}
	copy(f.now[off:], p)
	f.unsynced = append(f.unsynced, memWrite{off, append([]byte(nil), p...)})
	return len(p), nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.now)), f.fs.check("size", f.name)
}

// Allocate is durable at once: what a file system does with sizes is not what is
// tested here.
func (f *memFile) Allocate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.check("allocate", f.name); err != nil {
		return err
	}
	var used int64
	for _, other := range f.fs.files {
		if other != f {
			used += int64(len(other.now))
		}
	}
	if f.fs.space > 0 && used+size > f.fs.space {
		f.now, f.durable, f.unsynced = nil, nil, nil
		return errors.New("no space left on the device")
	}
	grown := make([]byte, size)
	copy(grown, f.now)
	f.now = grown
	durable := make([]byte, size)
	copy(durable, f.durable)
	f.durable = durable
	return nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.check("sync", f.name); err != nil {
		return err
	}
	for _, w := range f.unsynced {
		copy(f.durable[w.off:], w.data)
	}
	f.unsynced = nil
	return nil
}

func (f *memFile) Close() error { return nil }
