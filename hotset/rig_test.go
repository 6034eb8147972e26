package hotset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// A cluster is what a Store is over in these tests: objects that another node
// answers, or this one does if local is set.
type cluster struct {
	objecttest.Memory
	local       atomic.Bool // this node owns all keys
	fallback    atomic.Bool // it does not, but the owner cannot be reached
	gets, heads atomic.Int64
	down        atomic.Bool // nothing can be asked
	rng         *rand.Rand
	onGet       func(ctx context.Context, obj *object.Object, err error)         // before a Get returns; may be nil
	onDelete    func()                                                           // before an object is deleted; may be nil
	body        func(key object.Key, body io.ReadCloser) (spoiled io.ReadCloser) // may be nil
}

const ownersAge = 3 * time.Second

func (c *cluster) answered(info object.Info) object.Info {
	info.Tier, info.Age = object.TierRAM, ownersAge
	if !c.local.Load() && !c.fallback.Load() {
		info.Node = "owner"
	}
	return info
}

func (c *cluster) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	c.gets.Add(1)
	if c.down.Load() {
		return nil, object.ErrUnavailable
	}
	obj, err := c.Memory.Get(ctx, key, opt)
	if err == nil {
		obj.Info = c.answered(obj.Info)
		if c.body != nil {
			obj.Body = c.body(key, obj.Body)
		}
	}
	if nm := (*object.NotModifiedError)(nil); errors.As(err, &nm) {
		err = &object.NotModifiedError{Info: c.answered(nm.Info)}
	}
	if c.onGet != nil {
		c.onGet(ctx, obj, err)
	}
	return obj, err
}

func (c *cluster) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	c.heads.Add(1)
	if c.down.Load() {
		return object.Info{}, object.ErrUnavailable
	}
	info, err := c.Memory.Head(ctx, key, opt)
	if nm := (*object.NotModifiedError)(nil); errors.As(err, &nm) {
		err = &object.NotModifiedError{Info: c.answered(nm.Info)}
	}
	return c.answered(info), err
}

func (c *cluster) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if c.onDelete != nil {
		c.onDelete()
	}
	return c.Memory.Delete(ctx, key, opt)
}

// A lender is memory that keeps account.
type lender struct {
	mu         sync.Mutex
	lent, most int64
	limit      int64
}

func (l *lender) Borrow(n int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n <= 0 || l.lent+n > l.limit {
		return false
	}
	l.lent += n
	l.most = max(l.most, l.lent)
	return true
}

func (l *lender) GiveBack(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lent -= n
}

func (l *lender) now() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lent
}

// A rig is a Store over a cluster.
type rig struct {
	*Store
	t      *testing.T
	below  *cluster
	lender *lender
}

const rigCapacity = 8 << 20

// inBubble runs a test of a Store in virtual time.
func inBubble(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigCapacity)
		defer r.start()()
		test(r)
	})
}

func newRig(t *testing.T, capacity int64) *rig {
	t.Helper()
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, below: &cluster{rng: rand.New(rand.NewPCG(1, 1))}, lender: &lender{limit: 1 << 40}}
	r.Store = New(Config{
		Below: r.below, Class: classes.Of, Capacity: capacity, Memory: r.lender,
		Elsewhere: func(object.Key) bool { return !r.below.local.Load() },
	})
	return r
}

// start runs the Store until stop is called.
func (s *Store) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// immutable returns the n-th key of that class.
func immutable(n int) object.Key { return object.Key(fmt.Sprintf("cache/x/sha256:%d/out", n)) }

// verified returns the key of that class that names these bytes.
func verified(content []byte) object.Key {
	return object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(content)))
}

// stored puts an object into the cluster, past the Store.
func (r *rig) stored(key object.Key, content []byte) object.Key {
	r.t.Helper()
	opt := object.PutOptions{Attrs: object.Attrs{ContentType: "text/x", User: map[string]string{"a": "b"}}}
	if _, err := r.below.Memory.Put(r.t.Context(), key, object.BytesSource(content), opt); err != nil {
		r.t.Fatal(err)
	}
	return key
}

// read reads a key whole.
func (r *rig) read(key object.Key) (*object.Object, []byte, error) {
	obj, err := r.Get(r.t.Context(), key, object.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	defer obj.Body.Close()
	content, err := io.ReadAll(obj.Body)
	return obj, content, err
}

func (r *rig) want(key object.Key, content []byte, tier object.Tier) *object.Object {
	r.t.Helper()
	obj, got, err := r.read(key)
	if err != nil || !bytes.Equal(got, content) || obj.Tier != tier {
		r.t.Fatalf("%q: %d bytes of %v, %v; want %d of %s", key, len(got), obj, err, len(content), tier)
	}
	return obj
}

// readFor reads a key so many times a second for a while.
func (r *rig) readFor(key object.Key, perSecond int, d time.Duration) {
	r.t.Helper()
	for range int(d * time.Duration(perSecond) / time.Second) {
		if _, _, err := r.read(key); err != nil && !r.below.down.Load() {
			r.t.Fatalf("%q: %v", key, err)
		}
		pass(time.Second / time.Duration(perSecond))
	}
}

// heat reads a key until there is a copy.
func (r *rig) heat(key object.Key) {
	r.t.Helper()
	for range 20 {
		r.readFor(key, 200, 100*time.Millisecond)
		synctest.Wait()
		if r.copies.find(r.copies.hash(key), key) != nil {
			return
		}
	}
	r.t.Fatalf("after 400 reads in two seconds there is no copy of %q", key)
}

// pass lets the time of a bubble pass.
func pass(d time.Duration) { <-time.After(d) }
