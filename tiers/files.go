package tiers

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/object"
)

const (
	// copyLayout names the directory of this file format. Another version
	// leaves it alone and starts empty.
	copyLayout = "v1"

	// diskUnit is what file systems allocate in: copies are accounted in
	// whole units, so that the budget holds for what the disk really gives.
	diskUnit = 4 << 10

	// ssdObjectShare is the largest part of the budget one object may take,
	// so that none flushes the tier.
	ssdObjectShare = 2

	// descReserve is what is set aside for a copy's description before it is
	// known; publish corrects it to the true length.
	descReserve = 1 << 10

	// diskFaults failed operations in a row stop new copies for diskPause:
	// a full or dying disk is then asked seldom instead of on every miss.
	diskFaults = 3
	diskPause  = 30 * time.Second
)

// Files is an SSD tier of one file an object, bounded in bytes, that evicts
// what was used longest ago. Directories and the lock are not counted. The
// directory belongs to one process at a time.
type Files struct {
	root     *os.Root
	lock     *os.File
	log      *slog.Logger
	capacity int64

	damaged, errors, hits, misses, evictions atomic.Int64

	mu     sync.Mutex // guards the following
	items  map[copyID]*item
	order  list.List // of *item, most recently used first
	used   int64     // bytes of published, unfinished and not yet unlinked copies
	faults int       // failed operations in a row
	paused time.Time // no new copies before
	closed bool
}

// A copyID stands for a key in file names and in the index.
type copyID [sha256.Size]byte

// An item is the index entry of one copy.
type item struct {
	id     copyID
	name   string // of the file, unique among all copies of the key
	cost   int64  // bytes of budget
	el     *list.Element
	proven atomic.Bool
}

// OpenFiles opens the tier in dir, creating it if needed, with what an earlier
// process left there. It fails if dir cannot be used or another process uses
// it. A capacity of 0 or less is an error: that is what Off is for.
func OpenFiles(dir string, capacity int64, log *slog.Logger) (*Files, error) {
	if capacity <= 0 {
		return nil, errors.New("tiers: a disk tier needs a capacity")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("tiers: open %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("tiers: open %s: %w", dir, err)
	}
	f := &Files{root: root, log: log, capacity: capacity, items: make(map[copyID]*item)}
	if err := f.open(); err != nil {
		f.Close()
		return nil, fmt.Errorf("tiers: open %s: %w", dir, err)
	}
	return f, nil
}

func (f *Files) open() (err error) {
	if f.lock, err = f.root.OpenFile("lock", os.O_RDONLY|os.O_CREATE, 0o644); err != nil {
		return err
	}
	if err := unix.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errors.New("another process is using it as its cache")
		}
		return err
	}
	if err := f.root.RemoveAll(copyLayout + "/tmp"); err != nil {
		return err
	}
	if err := f.root.MkdirAll(copyLayout+"/tmp", 0o755); err != nil {
		return err
	}
	return f.scan()
}

// Close gives the directory free. It is idempotent.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	var err error
	if f.lock != nil {
		err = f.lock.Close() // and with it the flock
	}
	return errors.Join(err, f.root.Close())
}

func idOf(key object.Key) copyID { return sha256.Sum256([]byte(key)) }

func (id copyID) String() string { return hex.EncodeToString(id[:]) }

func (id copyID) dir() string { return copyLayout + "/" + hex.EncodeToString(id[:1]) + "/" }

func costOf(fileSize int64) int64 { return (fileSize + diskUnit - 1) / diskUnit * diskUnit }

// Has reports whether the index knows a copy of key.
func (f *Files) Has(key object.Key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.items[idOf(key)]
	return ok
}

// Get opens the copy of key. One that cannot be trusted is dropped.
func (f *Files) Get(key object.Key) (Stored, bool) {
	f.mu.Lock()
	it, ok := f.items[idOf(key)]
	if ok {
		f.order.MoveToFront(it.el)
	}
	f.mu.Unlock()
	if ok {
		if c := f.openCopy(it, key); c != nil {
			f.hits.Add(1)
			return c, true
		}
	}
	f.misses.Add(1)
	return nil, false
}

// openCopy opens a published copy, nil if it is gone or not what it should be.
func (f *Files) openCopy(it *item, key object.Key) *copyFile {
	file, err := f.root.Open(it.id.dir() + it.name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.failed(err)
		}
		if !exhausted(err) {
			f.remove(it) // evicted a moment ago, or taken away by somebody else
		}
		return nil
	}
	c := &copyFile{tier: f, item: it, file: file}
	meta, sums, err := c.trailer()
	if err == nil && meta.Key != key {
		err = fmt.Errorf("%w: it is another key's", ErrDamaged)
	}
	if err != nil {
		file.Close()
		if !errors.Is(err, ErrDamaged) {
			f.failed(err)
		}
		f.log.Warn("dropped a damaged copy", "file", it.name, "err", err)
		c.Drop()
		return nil
	}
	c.info, c.sums, c.born = meta.info(), sums, meta.Born
	return c
}

// exhausted reports whether an operation failed for want of something that has
// nothing to do with the disk, so that its copies are as good as ever.
func exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

func (c *copyFile) trailer() (copyMeta, []uint32, error) {
	st, err := c.file.Stat()
	if err != nil {
		return copyMeta{}, nil, err
	}
	return decodeTrailer(c.file, st.Size())
}

// Create makes room and opens a file for a new copy.
func (f *Files) Create(info object.Info) (Spool, bool) {
	cost := costOf(info.Size + 4*blocks(info.Size) + descReserve + footerSize)
	if cost > f.capacity/ssdObjectShare || !f.reserve(cost) {
		return nil, false
	}
	it := &item{id: idOf(info.Key), cost: cost}
	it.name = it.id.String() + "." + rand.Text()
	temp := copyLayout + "/tmp/" + it.name
	file, err := f.root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		f.failed(err)
		f.unreserve(cost)
		return nil, false
	}
	it.proven.Store(true) // what this process wrote came from a checked stream
	return &copyFile{
		tier: f, item: it, file: file, info: info, temp: temp,
		sums: make([]uint32, blocks(info.Size)), born: time.Now().Add(-info.Age),
	}, true
}

// resize changes what an unfinished copy takes off the budget.
func (f *Files) resize(it *item, cost int64) error {
	if more := cost - it.cost; more > 0 && !f.reserve(more) {
		return errors.New("tiers: no room for the description")
	} else if more < 0 {
		f.unreserve(-more)
	}
	it.cost = cost
	return nil
}

// publish makes a complete copy visible, in place of an older one.
func (f *Files) publish(c *copyFile) error {
	dir := c.item.id.dir()
	err := f.root.Rename(c.temp, dir+c.item.name)
	if errors.Is(err, fs.ErrNotExist) { // the first copy in this directory
		if err = f.root.Mkdir(strings.TrimSuffix(dir, "/"), 0o755); err == nil || errors.Is(err, fs.ErrExist) {
			err = f.root.Rename(c.temp, dir+c.item.name)
		}
	}
	if err != nil {
		f.failed(err)
		return err
	}
	c.once.Do(func() {}) // nothing is left to abort
	f.mu.Lock()
	old := f.items[c.item.id]
	if old != nil {
		f.forgetLocked(old)
	}
	f.items[c.item.id] = c.item
	c.item.el = f.order.PushFront(c.item)
	f.faults = 0
	f.mu.Unlock()
	if old != nil {
		f.unlink(old)
	}
	return nil
}

// giveUp removes an unfinished copy.
func (f *Files) giveUp(c *copyFile) {
	f.removeFile(c.temp, c.item.cost)
}

// Delete drops the copy of key.
func (f *Files) Delete(key object.Key) {
	f.mu.Lock()
	it := f.items[idOf(key)]
	f.mu.Unlock()
	if it != nil {
		f.remove(it)
	}
}

// remove takes a copy out of the index and off the disk, once. It returns false
// if somebody else has.
func (f *Files) remove(it *item) bool {
	f.mu.Lock()
	mine := f.items[it.id] == it
	if mine {
		f.forgetLocked(it)
	}
	f.mu.Unlock()
	if mine {
		f.unlink(it)
	}
	return mine
}

// forgetLocked takes a copy out of the index. Its bytes stay accounted until
// they are unlinked.
func (f *Files) forgetLocked(it *item) {
	delete(f.items, it.id)
	f.order.Remove(it.el)
}

// unlink removes the file of a forgotten copy and frees its bytes.
func (f *Files) unlink(it *item) { f.removeFile(it.id.dir()+it.name, it.cost) }

// removeFile removes a file that takes cost bytes. One that cannot be removed
// goes on taking them.
func (f *Files) removeFile(name string, cost int64) {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.failed(err)
		return
	}
	f.unreserve(cost)
}

// reserve takes bytes off the budget, evicting until they are free. It returns
// false if they cannot be had without waiting, or while the disk misbehaves.
func (f *Files) reserve(n int64) bool {
	for {
		f.mu.Lock()
		if f.closed || time.Now().Before(f.paused) {
			f.mu.Unlock()
			return false
		}
		if f.used+n <= f.capacity {
			f.used += n
			f.mu.Unlock()
			return true
		}
		last := f.order.Back()
		if last == nil {
			f.mu.Unlock()
			return false
		}
		victim := last.Value.(*item)
		f.forgetLocked(victim)
		f.mu.Unlock()
		f.evictions.Add(1)
		f.unlink(victim)
	}
}

func (f *Files) unreserve(n int64) {
	f.mu.Lock()
	f.used -= n
	f.mu.Unlock()
}

// failed counts a failed disk operation and pauses new copies after several.
func (f *Files) failed(err error) {
	f.errors.Add(1)
	f.mu.Lock()
	f.faults++
	pause := f.faults >= diskFaults
	if pause {
		f.faults, f.paused = 0, time.Now().Add(diskPause)
	}
	f.mu.Unlock()
	if pause {
		f.log.Error("the cache disk fails; no new copies for a while", "pause", diskPause, "err", err)
	}
}

// Stats returns what the tier holds and did.
func (f *Files) Stats() TierStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return TierStats{
		Entries: int64(len(f.items)), Bytes: f.used, Capacity: f.capacity,
		Hits: f.hits.Load(), Misses: f.misses.Load(), Evictions: f.evictions.Load(),
		Damaged: f.damaged.Load(), Errors: f.errors.Load(),
	}
}
