package origin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/micelio/micelio/object"
	"golang.org/x/sys/unix"
)

// maxNameLen is the longest file name in bytes, on every file system in use.
const maxNameLen = 255

// scanBatch is how many directory entries are read at once.
const scanBatch = 512

// A place is where the file of an object can be.
type place struct {
	path string // under the root, slash-separated
	base string // the directory above which nothing belongs to the object: "" or oddDir
}

func (p place) dir() string { return parentDir(p.path) }

// parentDir returns the directory of a path under the root, "" for the root.
func parentDir(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// plainPlace returns the plain file of key; ok is false if its name alone rules
// that out.
func plainPlace(key object.Key) (p place, ok bool) {
	for i, segment := range strings.Split(string(key), "/") {
		if len(segment) > maxNameLen || (i == 0 && segment == ownDir) {
			return place{}, false
		}
	}
	return place{path: string(key)}, true
}

func oddPlace(key object.Key) place {
	return place{path: oddDir + "/" + encodeOdd(key), base: oddDir}
}

// find tries the places of key in the order in which they count and returns the
// first answer that is not absence. The plain place is tried again at the end:
// an odd object that becomes a plain one is never missed in between, and the
// other way round it can only go through not existing. Absence is believed only
// while the origin itself is there.
func find[T any](l *Local, key object.Key, try func(place) (T, error)) (T, place, error) {
	odd := oddPlace(key)
	order := [3]place{odd}
	places := order[:1]
	if plain, ok := plainPlace(key); ok {
		order = [3]place{plain, odd, plain}
		places = order[:]
	}
	for _, p := range places {
		if v, err := try(p); err == nil {
			return v, p, nil
		} else if !isAbsent(err) {
			return v, p, ioError(err)
		}
	}
	var none T
	if err := l.present(); err != nil {
		return none, place{}, err
	}
	return none, place{}, object.ErrNotFound
}

// present tells an empty origin from one that is gone. In a folder that was
// removed under a running process every name is absent, and that must not pass
// for an answer. Our own directory is there as long as the origin is.
func (l *Local) present() error {
	if _, err := l.root.Lstat(ownDir); err != nil {
		return ioError(fmt.Errorf("the origin is gone: %w", bare(err)))
	}
	return nil
}

// openDir opens a directory segment by segment and follows no symbolic link,
// not even one that stays inside the root: a second name for a directory would
// give its objects second names, with locks of their own. The caller leaves it.
func (l *Local) openDir(dir string) (*os.Root, error) {
	at := l.root
	if dir == "" {
		return at, nil
	}
	for segment := range strings.SplitSeq(dir, "/") {
		next, err := step(at, segment)
		l.leave(at)
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// step opens one directory below at.
func step(at *os.Root, segment string) (*os.Root, error) {
	for range raceAttempts {
		fi, err := at.Lstat(segment)
		if err != nil {
			return nil, err
		}
		if !fi.IsDir() {
			return nil, syscall.ENOTDIR
		}
		next, err := at.OpenRoot(segment)
		if err == nil {
			return next, nil
		}
		// What is no directory any more fails with an error of os.Root's own that
		// cannot be told by its kind, so it is looked at again.
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return nil, err
		}
	}
	return nil, errContended
}

// leave closes what openDir returned.
func (l *Local) leave(dir *os.Root) {
	if dir != l.root {
		dir.Close()
	}
}

// stat describes the object's file at p.
func (l *Local) stat(p place) (fs.FileInfo, error) {
	dir, err := l.openDir(p.dir())
	if err != nil {
		return nil, err
	}
	defer l.leave(dir)
	fi, err := dir.Lstat(path.Base(p.path))
	if err == nil && !fi.Mode().IsRegular() {
		err = errNoObject
	}
	return fi, err
}

// openFile opens the object's file at p for reading.
func (l *Local) openFile(p place) (*os.File, error) {
	dir, err := l.openDir(p.dir())
	if err != nil {
		return nil, err
	}
	defer l.leave(dir)
	name := path.Base(p.path)
	for range raceAttempts {
		before, err := dir.Lstat(name)
		if err != nil {
			return nil, err
		}
		if !before.Mode().IsRegular() {
			return nil, errNoObject
		}
		// The name may have become something else since: a pipe, hence O_NONBLOCK,
		// or a symbolic link, which os.Root follows inside the root.
		f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		after, err := f.Stat()
		if err == nil && os.SameFile(before, after) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, errContended
}

// prepare makes the directories of p, appends those it made to made, and
// reports with errNoObject that something else than a directory, or at p itself
// something else than a regular file, is in the way.
func (l *Local) prepare(p place, made *[]string) error {
	at := l.root
	defer func() { l.leave(at) }()
	for end := range len(p.path) {
		if p.path[end] != '/' {
			continue
		}
		dir := p.path[:end]
		next, err := step(at, path.Base(dir))
		if errors.Is(err, fs.ErrNotExist) {
			switch err = at.Mkdir(path.Base(dir), dirMode); {
			case err == nil:
				*made = append(*made, dir)
			case !errors.Is(err, fs.ErrExist):
				return err
			}
			next, err = step(at, path.Base(dir))
		}
		if errors.Is(err, syscall.ENOTDIR) {
			return errNoObject
		}
		if err != nil {
			return err
		}
		l.leave(at)
		at = next
	}
	fi, err := at.Lstat(path.Base(p.path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !fi.Mode().IsRegular() {
		return errNoObject
	}
	return err
}

// prune removes the directory dir and those above it up to base, as far as they
// are empty.
func (l *Local) prune(dir, base string) {
	for ; dir != base && dir != ""; dir = parentDir(dir) {
		if l.unlink(dir, unix.AT_REMOVEDIR, false) != nil {
			return
		}
	}
}

// unlink removes one name and, if sync is set, waits until that is durable. With
// AT_REMOVEDIR it removes only an empty directory, without it only what is no
// directory: os.Root.Remove would remove either, and a directory that was empty
// a moment ago may be an object now.
func (l *Local) unlink(name string, flags int, sync bool) error {
	dir, err := l.openDirFile(parentDir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Unlinkat(int(dir.Fd()), path.Base(name), flags); err != nil {
		return err
	}
	if sync {
		if err := dir.Sync(); err != nil {
			return notDurable(err)
		}
	}
	return nil
}

// openDirFile opens a directory for reading and syncing.
func (l *Local) openDirFile(dir string) (*os.File, error) {
	at, err := l.openDir(dir)
	if err != nil {
		return nil, err
	}
	defer l.leave(at)
	return at.Open(".")
}

// syncDir makes the names in dir durable.
func (l *Local) syncDir(dir string) error {
	f, err := l.openDirFile(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// entries calls visit with each entry of a directory, in no order, until it
// returns false.
func (l *Local) entries(dir string, visit func(fs.DirEntry) bool) error {
	f, err := l.openDirFile(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		batch, err := f.ReadDir(scanBatch)
		for _, e := range batch {
			if !visit(e) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
