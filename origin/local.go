package origin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/micelio/micelio/object"
)

// The names of our own state under the root.
const (
	ownDir  = ".micelio"
	tmpDir  = ownDir + "/tmp"
	lockDir = ownDir + "/lock"
	metaDir = ownDir + "/meta"
	oddDir  = ownDir + "/odd"
)

const (
	// fileMode and dirMode let everybody read, as far as the umask allows:
	// other programs are meant to read the tree under their own user.
	fileMode = 0o644
	dirMode  = 0o755

	// staleAfter is how long a file in tmp must lie untouched before an open
	// removes it. Other processes may be receiving into theirs, and a write
	// moves the time; no client pauses for an hour inside one body.
	staleAfter = time.Hour

	// copySize is the buffer for receiving and hashing. 128 KiB amortises the
	// system calls; larger ones fall out of a core's L2 cache.
	copySize = 128 << 10

	// raceAttempts bounds how often an operation starts again because other
	// operations changed directories or files under it. Each turn needs another
	// operation to have finished in between, so more than a few are never seen.
	raceAttempts = 64
)

// A Local is an object.Store in a directory. Any number of processes may open
// the same directory: conditional writes are atomic between all of them. The
// package documentation describes the directory.
//
// ETags are the MD5 of the bytes in lower-case hexadecimal, as S3's are.
type Local struct {
	root    *os.Root
	keys    *stripes // in-process half of the lock of a key
	hashing *stripes // one recomputation of a file at a time
	buffers sync.Pool
}

// OpenLocal opens the directory dir, and makes it if it is missing. It fails if
// dir is not a directory, cannot be written, or does not tell upper from lower
// case, because then two keys could name one object. Everything the Local does
// stays inside dir, whatever symbolic links are in there.
func OpenLocal(dir string) (*Local, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("origin: open %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("origin: open %s: %w", dir, err)
	}
	l := &Local{root: root, keys: newStripes(), hashing: newStripes()}
	l.buffers.New = func() any { return new([copySize]byte) }
	if err := l.prepareOwn(); err != nil {
		root.Close()
		return nil, fmt.Errorf("origin: open %s: %w", dir, err)
	}
	return l, nil
}

// Close releases the directory. Bodies that are being read stay readable, every
// later call is object.ErrUnavailable.
func (l *Local) Close() error {
	if err := l.root.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("origin: close: %w", err)
	}
	return nil
}

// prepareOwn makes our own directories, proves that they can be written and
// cleans up after processes that died.
func (l *Local) prepareOwn() error {
	for _, dir := range []string{ownDir, tmpDir, lockDir, metaDir, oddDir} {
		err := l.root.Mkdir(dir, dirMode)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		fi, err := l.root.Lstat(dir)
		if err != nil {
			return err
		}
		if !fi.IsDir() {
			return fmt.Errorf("%s is in the way: it must be a directory", dir)
		}
	}
	for _, dir := range []string{ownDir, ""} {
		if err := l.syncDir(dir); err != nil {
			return err
		}
	}
	if err := l.probe(); err != nil {
		return err
	}
	return l.sweep(time.Now().Add(-staleAfter))
}

// probe writes a file and looks for it under a name of other case.
func (l *Local) probe() error {
	unique := randomName()
	lower, upper := tmpDir+"/case"+unique, tmpDir+"/CASE"+unique
	f, err := l.root.OpenFile(lower, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	defer l.root.Remove(lower)
	if err := f.Close(); err != nil {
		return err
	}
	if _, err := l.root.Lstat(upper); err == nil {
		return errors.New("the file system does not tell upper from lower case")
	}
	return nil
}

// sweep removes what was left in tmp by writers that died before the deadline.
func (l *Local) sweep(before time.Time) error {
	return l.entries(tmpDir, func(e fs.DirEntry) bool {
		name := tmpDir + "/" + e.Name()
		if fi, err := l.root.Lstat(name); err == nil && fi.Mode().IsRegular() && fi.ModTime().Before(before) {
			l.root.Remove(name) // another process may be faster
		}
		return true
	})
}

// ioError marks what the file system answered as the authority being
// unavailable. It keeps the cause, bare.
func ioError(err error) error { return fmt.Errorf("%w: %w", object.ErrUnavailable, bare(err)) }

// notDurable marks what the file system answered when a change that is there was to be
// made durable.
func notDurable(err error) error { return fmt.Errorf("%w: %w", object.ErrUnknownOutcome, bare(err)) }

// bare returns what the file system answered without the paths that it may name. They
// are forms of the key, which wrap says in the one way by which a log knows a key. What
// wraps such an answer has to wrap it bare.
func bare(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return fmt.Errorf("%s: %w", e.Op, bare(e.Err))
	case *os.LinkError:
		return fmt.Errorf("%s: %w", e.Op, bare(e.Err))
	}
	return err
}

// wrap names the operation and the key at the border of the package.
func wrap(op string, key object.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("origin: %s %q: %w", op, key, err)
}

// errContended ends an operation that lost raceAttempts races.
var errContended = errors.New("too many changes at the same time")

// errNoObject is what a name answers that something else than a regular file
// has.
var errNoObject = errors.New("not a regular file")

// isAbsent reports whether err says that there is no object at a name, in
// contrast to not being able to tell.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoObject) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENAMETOOLONG)
}
