package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// An FS is the directory that a Store lives in. Names are plain file names.
// It is a seam for tests: what a disk does when it fails or loses power.
type FS interface {
	// Open opens a file for reading and writing, and makes it if needed.
	Open(name string) (File, error)

	// Names returns the names of all files.
	Names() ([]string, error)

	// Remove removes a file.
	Remove(name string) error

	// Close gives the directory free, and with it the lock on it.
	Close() error
}

// A File is an open file. It is safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt

	// Size returns the file's length in bytes.
	Size() (int64, error)

	// Allocate makes the file exactly size bytes long, with disk space behind
	// all of them where the file system can. If it fails, the file is empty.
	Allocate(size int64) error

	// Sync waits until what was written is on the disk.
	Sync() error

	// Close gives the file free.
	Close() error
}

// A dirFS is a directory of the operating system, locked against other
// processes.
type dirFS struct {
	root *os.Root
	lock *os.File
}

// lockName is the file whose flock says that the directory is in use. It is
// empty, so it costs nothing of the budget.
const lockName = "lock"

// OpenDir opens a directory, making it if needed, and locks it.
func OpenDir(dir string) (FS, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	lock, err := root.OpenFile(lockName, os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		root.Close()
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		root.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.New("another process is using it as its cache")
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return &dirFS{root, lock}, nil
}

func (d *dirFS) Open(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil && d.isNoFile(name) {
		// A directory, or a link to elsewhere: none of ours.
		if err := d.root.RemoveAll(name); err != nil {
			return nil, err
		}
		f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *dirFS) isNoFile(name string) bool {
	st, err := d.root.Lstat(name)
	return err == nil && !st.Mode().IsRegular()
}

func (d *dirFS) Names() ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d *dirFS) Remove(name string) error { return d.root.RemoveAll(name) }

func (d *dirFS) Close() error { return errors.Join(d.lock.Close(), d.root.Close()) }

// An osFile is a file of the operating system.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f osFile) Allocate(size int64) error {
	err := f.Truncate(size) // shorter than it was, or longer by a hole
	if err == nil {
		err = allocate(f.File, size)
	}
	if err != nil {
		// A fallocate that failed for want of space keeps what it got.
		return errors.Join(err, f.Truncate(0))
	}
	return nil
}
