package hotset

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

const (
	// MaxLife is the longest time from the moment at which a copy was asked for
	// to the last answer with it. It bounds how long a deleted object may still be
	// answered by nodes that did not see the delete.
	MaxLife = 5 * time.Second

	// minLife is the shortest. Lives differ, so that the nodes of a cluster do not
	// renew theirs in step.
	minLife = 4 * time.Second

	// MaxObject is the largest object that is copied, in bytes, if the capacity
	// allows: an eighth of it at most, or a few large objects would be all copies
	// that there are. What is larger is copied from disk to network by its owner
	// as fast as anybody can.
	MaxObject      = 4 << 20
	maxObjectShare = 8

	// DefaultMinRate is how many reads a second make a key hot. A copy costs two
	// reads of the owner in MaxLife, and so saves 98 of 100 of them.
	DefaultMinRate = 32

	// DefaultMinShare is which part of all reads of this node a key must have besides,
	// because an owner is not outgrown by one of thousands of keys that are all
	// read as often. It bounds the hot keys to 256, and is four times the error of
	// the sketch.
	DefaultMinShare = 1.0 / 256

	// keepFactor times the thresholds is what keeps a key hot: less, so that one
	// near a threshold does not come and go.
	keepFactor = 0.5
)

// Config says what a Store is over and what it may take. What comes before Memory
// is required.
type Config struct {
	Below object.Store // the cluster

	// Class returns the class of a key and, of a verified one, its digest.
	Class func(object.Key) (object.Class, object.Digest)

	// Elsewhere reports whether another node owns the key. It is asked of hot
	// keys only.
	Elsewhere func(object.Key) bool

	// Capacity bounds the bytes that copies take, all that belongs to them
	// included. One that was dropped, replaced or has ended is not counted any more,
	// though the readers that it was given to hold its bytes for as long as they
	// take to send them.
	Capacity int64

	// Memory lends what copies take; see Lender. nil: nobody has to do without it.
	Memory Lender

	// MinRate, in reads a second, and MinShare of all reads through this node make
	// a key hot, both together. 0: DefaultMinRate, DefaultMinShare.
	MinRate, MinShare float64
}

// A Lender has memory that others use while copies do not need it. It is safe for
// concurrent use, and neither waits nor calls back.
type Lender interface {
	// Borrow takes n bytes. It reports false if there are not so many.
	Borrow(n int64) bool

	// GiveBack ends what Borrow began, in any pieces.
	GiveBack(n int64)
}

// A Store answers reads of hot keys with copies, and passes everything else on. It
// is safe for concurrent use. Without Run it makes no copies.
type Store struct {
	cfg       Config
	maxObject int64
	sketch    *sketch
	copies    copies
	jobs      chan *fill
	hits      lanes
	counters  counts

	mu          sync.Mutex // guards the following, and changes of copies
	fills       map[object.Key]*fill
	kept        int64     // number of copies
	held        int64     // bytes of copies, and of fills under way
	squeezed    time.Time // when copies were last weighed against one,
	squeezedFor float64   // which was read so often
}

var _ object.Store = (*Store)(nil)

// New returns a Store. It does nothing by itself; see Run.
func New(cfg Config) *Store {
	cfg.MinRate, cfg.MinShare = cmp.Or(cfg.MinRate, DefaultMinRate), cmp.Or(cfg.MinShare, DefaultMinShare)
	s := &Store{
		cfg: cfg, maxObject: min(MaxObject, cfg.Capacity/maxObjectShare), sketch: newSketch(),
		jobs: make(chan *fill, maxFills), fills: make(map[object.Key]*fill),
	}
	s.copies.seed = maphash.MakeSeed()
	return s
}

// Get answers from a copy, if there is one. ctx ends a read also then.
func (s *Store) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	hash := s.copies.hash(key)
	hot := s.note(hash, key)
	if c, now := s.find(hash, key); c != nil {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return c.open(now, opt)
	}
	obj, err := s.cfg.Below.Get(ctx, key, opt)
	if hot {
		if obj != nil {
			s.consider(hash, obj.Info)
		} else {
			s.considerUnchanged(hash, err)
		}
	}
	return obj, err
}

// Head answers from a copy, if there is one.
func (s *Store) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	hash := s.copies.hash(key)
	hot := s.note(hash, key)
	if c, now := s.find(hash, key); c != nil {
		if err := ctx.Err(); err != nil {
			return object.Info{}, err
		}
		info := c.describe(now)
		return info, object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch)
	}
	info, err := s.cfg.Below.Head(ctx, key, opt)
	switch {
	case !hot:
	case err == nil:
		s.consider(hash, info)
	default:
		s.considerUnchanged(hash, err)
	}
	return info, err
}

// GetAtOnce returns what Get answers a read of a key from a copy with, if there is
// one: what describes the object, and all of its bytes, which nobody may change. If
// there is none it has counted nothing. It neither waits nor allocates, and keeps
// nothing of the key.
func (s *Store) GetAtOnce(key object.Key) (info object.Info, bytes []byte, ok bool) {
	hash := s.copies.hash(key)
	c, now := s.find(hash, key)
	if c == nil {
		return object.Info{}, nil, false
	}
	s.note(hash, key)
	return c.describe(now), c.bytes, true
}

// Saw counts a read that was answered past the Store with this Info, as Get does
// for one that it passes on. It keeps nothing of what info refers to.
func (s *Store) Saw(info *object.Info) {
	hash := s.copies.hash(info.Key)
	if s.note(hash, info.Key) {
		kept := *info
		kept.Key = object.Key(strings.Clone(string(info.Key)))
		s.consider(hash, kept)
	}
}

// find returns the copy of a key that may be answered now, nil if there is none,
// and sees to its successor in time.
func (s *Store) find(hash uint64, key object.Key) (*hotCopy, time.Time) {
	c := s.copies.find(hash, key)
	if c == nil {
		return nil, time.Time{}
	}
	now := time.Now()
	if !now.Before(c.ends) {
		return nil, now
	}
	s.hits.add()
	// While no other fill can wait, not one of all readers takes the lock to see so.
	if !now.Before(c.renew) && len(s.jobs) < cap(s.jobs) && !c.renewing.Load() && c.renewing.CompareAndSwap(false, true) {
		s.begin(&fill{key: c.info.Key, hash: hash, old: c})
	}
	return c, now
}

// note counts a read, or passes over it, and reports whether its key is hot and
// another node's.
func (s *Store) note(hash uint64, key object.Key) bool {
	reads, ok := s.sketch.draw()
	if !ok {
		return false
	}
	if class, _ := s.cfg.Class(key); class == object.Mutable {
		s.sketch.pass(reads)
		return false
	}
	return s.hot(s.sketch.note(hash, key, reads), 1) && s.cfg.Elsewhere(key)
}

// hot reports whether a key passes the thresholds, times factor. Only what is
// surely its own counts.
func (s *Store) hot(e estimate, factor float64) bool {
	return e.rate >= s.cfg.MinRate*factor && e.rate >= e.total*s.cfg.MinShare*factor
}

// consider begins a fill of a hot key, of which a read has brought this Info. What
// this node answered itself, because the owner cannot be reached, is its own
// tiers' already.
func (s *Store) consider(hash uint64, info object.Info) {
	if info.Node == "" || info.Size > s.maxObject {
		return
	}
	s.begin(&fill{key: info.Key, hash: hash, room: roomFor(info)})
}

// considerUnchanged is consider for a read that was answered with an error, which
// may be that the reader has the object already.
func (s *Store) considerUnchanged(hash uint64, err error) {
	if nm := (*object.NotModifiedError)(nil); errors.As(err, &nm) {
		s.consider(hash, nm.Info)
	}
}

// Put writes below. No copy from before it is answered after it.
func (s *Store) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	defer s.written(key)()
	return s.cfg.Below.Put(ctx, key, src, opt)
}

// Delete deletes below. No copy from before it is answered after it.
func (s *Store) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	defer s.written(key)()
	return s.cfg.Below.Delete(ctx, key, opt)
}

// written drops the copy of a key that is about to be written, and returns what
// does so again when it has been: a copy that was asked for meanwhile may be from
// before the write.
func (s *Store) written(key object.Key) (after func()) {
	if class, _ := s.cfg.Class(key); class == object.Mutable {
		return func() {}
	}
	hash := s.copies.hash(key)
	s.drop(hash, key)
	return func() { s.drop(hash, key) }
}

// List is that of the Store below: copies say nothing about what exists.
func (s *Store) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return s.cfg.Below.List(ctx, opt)
}

// lanes count what happens on all cores at once, each in a line of its own of the
// processor's cache.
type lanes [8]struct {
	n atomic.Int64
	_ [56]byte
}

func (l *lanes) add() { l[rand.Uint32()%uint32(len(l))].n.Add(1) }

func (l *lanes) sum() (n int64) {
	for i := range l {
		n += l[i].n.Load()
	}
	return n
}
