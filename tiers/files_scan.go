package tiers

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// found is a copy that an earlier process left.
type found struct {
	it       *item
	modified time.Time
}

// scan builds the index from file names and sizes: nothing is opened, so a
// start costs one lstat a copy. Each copy's trailer is checked when it is
// first asked for. Files that are no copies are removed, so that they cannot
// eat the budget.
func (f *Files) scan() error {
	var all []found
	for i := range 256 {
		dir := fmt.Sprintf("%s/%02x", copyLayout, i)
		entries, err := fs.ReadDir(f.root.FS(), dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // made when there is something to put into it
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			st, err := e.Info()
			if err != nil {
				continue // taken away under our eyes
			}
			id, ok := parseCopyName(e.Name(), byte(i))
			if !ok || !st.Mode().IsRegular() || st.Size() < footerSize {
				if err := f.root.RemoveAll(dir + "/" + e.Name()); err != nil {
					return err
				}
				continue
			}
			it := &item{id: id, name: e.Name(), cost: costOf(st.Size())}
			all = append(all, found{it, st.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(a.modified.Compare(b.modified), cmp.Compare(a.it.name, b.it.name)) })
	for _, c := range all {
		f.adopt(c.it)
	}
	if !f.reserve(0) { // a smaller budget than last time: evict down to it
		return fmt.Errorf("cannot evict down to %d bytes", f.capacity)
	}
	return nil
}

// adopt indexes a copy that is newer than all adopted before.
func (f *Files) adopt(it *item) {
	f.mu.Lock()
	old := f.items[it.id]
	if old != nil {
		f.forgetLocked(old)
	}
	f.items[it.id] = it
	it.el = f.order.PushFront(it)
	f.used += it.cost
	f.mu.Unlock()
	if old != nil {
		f.unlink(old)
	}
}

// parseCopyName reads "<64 hex digits>.<unique>", which must be in the right
// directory.
func parseCopyName(name string, dir byte) (id copyID, ok bool) {
	digits, unique, ok := strings.Cut(name, ".")
	if !ok || unique == "" || len(digits) != 2*len(id) {
		return id, false
	}
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return id, false
	}
	return id, id[0] == dir && id.String() == digits // in lower case
}
