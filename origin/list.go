package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/micelio/micelio/object"
)

// List implements object.Store. It reads one directory at a time and keeps none
// open while the caller works. Entries have an ETag if a record fits their
// file; no body is read for one. An empty directory is no common prefix.
func (l *Local) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		s := &lister{local: l, ctx: ctx, opt: opt, yield: yield}
		if err := s.run(); err != nil && !errors.Is(err, errListed) {
			yield(object.Entry{}, fmt.Errorf("origin: list %q: %w", opt.Prefix, err))
		}
	}
}

// errListed ends a walk: the caller has what it wanted.
var errListed = errors.New("listed")

// A lister walks the plain files in the order of their keys and merges the odd
// objects into them.
type lister struct {
	local *Local
	ctx   context.Context
	opt   object.ListOptions
	yield func(object.Entry, error) bool

	odd     []object.Key // those that are still to come, in order
	folded  string       // the last common prefix that was yielded
	entries int          // how many were yielded
}

func (s *lister) run() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	// The odd objects are read before any directory. One that becomes plain
	// afterwards is still on the list, and a plain object does not become odd
	// without being gone in between: nothing that exists all the time is missed.
	err := s.local.oddKeys(func(key object.Key) {
		if s.selects(string(key)) {
			s.odd = append(s.odd, key)
		}
	})
	if err != nil {
		return ioError(err)
	}
	slices.Sort(s.odd)
	dir := s.opt.Prefix[:strings.LastIndexByte(s.opt.Prefix, '/')+1]
	if dir == "" || holdsKeys(dir) {
		if err := s.walk(dir); err != nil {
			return err
		}
	}
	if err := s.mergeOdd(""); err != nil {
		return err
	}
	return s.local.present() // what is gone lists nothing, and nothing is an answer
}

// isDir tells the two kinds of names that scan gives.
func isDir(name string) bool { return strings.HasSuffix(name, "/") }

// holdsKeys reports whether dir, with its slash, can be a directory of objects.
func holdsKeys(dir string) bool {
	_, err := object.ParseKey(strings.TrimSuffix(dir, "/"))
	return err == nil && dir != ownDir+"/" && !strings.HasPrefix(dir, ownDir+"/") && !strings.HasPrefix(dir, object.InternalPrefix)
}

// walk lists a directory, given as "" or with its slash.
func (s *lister) walk(dir string) error {
	var names []string
	err := s.scan(dir, func(name string) bool {
		if isDir(name) && s.mayHold(name) || !isDir(name) && s.selects(name) {
			names = append(names, name)
		}
		return true
	})
	if err != nil {
		return err
	}
	slices.Sort(names) // directories sort by their slash, as their keys do
	// Some file systems give a name twice if it is renamed to meanwhile.
	for _, name := range slices.Compact(names) {
		if err := s.mergeOdd(name); err != nil {
			return err
		}
		switch prefix, folds := s.fold(name); {
		case !isDir(name):
			if len(s.odd) > 0 && string(s.odd[0]) == name {
				s.odd = s.odd[1:] // the plain file counts
			}
			err = s.offer(object.Key(name))
		case folds:
			err = s.offerFolded(name, prefix)
		default:
			err = s.walk(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scan calls visit with the keys of the files in dir and the names of its
// directories, with their slash, in no order, until visit returns false. Names
// that are no part of a key, and what is neither file nor directory, are passed
// over; so is a directory that is gone.
func (s *lister) scan(dir string, visit func(name string) bool) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	err := s.local.entries(strings.TrimSuffix(dir, "/"), func(e fs.DirEntry) bool {
		name := dir + e.Name()
		if name == ownDir || name+"/" == object.InternalPrefix || !(e.IsDir() || e.Type().IsRegular()) {
			return true
		}
		if _, err := object.ParseKey(name); err != nil {
			return true
		}
		if e.IsDir() {
			name += "/"
		}
		return visit(name)
	})
	if err != nil && !isAbsent(err) {
		return ioError(err)
	}
	return nil
}

// selects reports whether a key is asked for, as itself or as part of a common
// prefix.
func (s *lister) selects(key string) bool {
	return key > s.opt.After && strings.HasPrefix(key, s.opt.Prefix)
}

// mayHold reports whether a key in dir can be selected.
func (s *lister) mayHold(dir string) bool {
	return (strings.HasPrefix(dir, s.opt.Prefix) || strings.HasPrefix(s.opt.Prefix, dir)) &&
		(dir > s.opt.After || strings.HasPrefix(s.opt.After, dir))
}

// fold returns the common prefix that everything named or begun by name is part
// of.
func (s *lister) fold(name string) (prefix string, ok bool) {
	rest, ok := strings.CutPrefix(name, s.opt.Prefix)
	if !ok || s.opt.Delimiter == "" {
		return "", false
	}
	i := strings.Index(rest, s.opt.Delimiter)
	if i < 0 {
		return "", false
	}
	return name[:len(s.opt.Prefix)+i+len(s.opt.Delimiter)], true
}

// mergeOdd offers the odd objects before name, all for "".
func (s *lister) mergeOdd(name string) error {
	for len(s.odd) > 0 && (name == "" || string(s.odd[0]) < name) {
		key := s.odd[0]
		s.odd = s.odd[1:]
		if err := s.offer(key); err != nil {
			return err
		}
	}
	return nil
}

// offer yields a selected key, or its common prefix.
func (s *lister) offer(key object.Key) error {
	if prefix, ok := s.fold(string(key)); ok {
		return s.emitPrefix(prefix)
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	fi, _, err := find(s.local, key, s.local.stat)
	if errors.Is(err, object.ErrNotFound) {
		return nil // deleted since its name was read
	}
	if err != nil {
		return err
	}
	r, _, err := s.local.load(key, identify(fi))
	if err != nil {
		return err
	}
	if r != nil {
		return s.emit(object.Entry{Info: r.info(key)})
	}
	id := identify(fi)
	return s.emit(object.Entry{Info: object.Info{
		Key: key, Size: id.size, Version: id.version(), Modified: fi.ModTime(), Tier: object.TierOrigin,
	}})
}

// offerFolded yields the common prefix of all that is in dir, unless there is
// nothing.
func (s *lister) offerFolded(dir, prefix string) error {
	if prefix == s.folded || prefix == s.opt.After {
		return nil
	}
	found, err := s.holdsObject(dir)
	if err != nil || !found {
		return err
	}
	return s.emitPrefix(prefix)
}

// holdsObject reports whether any plain object in dir, at any depth, is
// selected. It stops at the first one.
func (s *lister) holdsObject(dir string) (bool, error) {
	found := false
	var below []string
	err := s.scan(dir, func(name string) bool {
		if !isDir(name) {
			found = s.selects(name)
		} else if s.mayHold(name) {
			below = append(below, name)
		}
		return !found
	})
	for _, name := range below {
		if found || err != nil {
			break
		}
		found, err = s.holdsObject(name)
	}
	return found, err
}

func (s *lister) emitPrefix(prefix string) error {
	if prefix == s.folded || prefix == s.opt.After {
		return nil
	}
	s.folded = prefix
	return s.emit(object.Entry{CommonPrefix: prefix})
}

func (s *lister) emit(e object.Entry) error {
	s.entries++
	if !s.yield(e, nil) || s.entries == s.opt.Limit {
		return errListed
	}
	return nil
}
