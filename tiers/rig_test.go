package tiers_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/tiers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

// An authority is a memory Store that counts its reads and can be made to
// stall, break or lie.
type authority struct {
	objecttest.Memory
	gets, heads atomic.Int32
	cancelled   atomic.Int32 // reads whose context ended while their body was held
	down        atomic.Bool
	aged        atomic.Int64                                             // age of what a peer answers, in nanoseconds; 0: no peer does
	body        atomic.Pointer[wrapper]                                  // of the next bodies
	answered    atomic.Pointer[func(context.Context, object.GetOptions)] // runs between an answer and its delivery
}

type wrapper func(context.Context, *object.Object) io.ReadCloser

func (a *authority) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	a.gets.Add(1)
	if a.down.Load() {
		return nil, object.ErrUnavailable
	}
	obj, err := a.Memory.Get(ctx, key, opt)
	if hook := a.answered.Load(); hook != nil {
		(*hook)(ctx, opt)
	}
	if age := time.Duration(a.aged.Load()); err == nil && age > 0 {
		obj.Age, obj.Node, obj.Tier = age, "node-7", object.TierPeer
	}
	if err == nil {
		if wrap := a.body.Load(); wrap != nil {
			obj.Body = (*wrap)(ctx, obj)
		}
	}
	return obj, err
}

func (a *authority) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	a.heads.Add(1)
	if a.down.Load() {
		return object.Info{}, object.ErrUnavailable
	}
	return a.Memory.Head(ctx, key, opt)
}

func (a *authority) wrapBodies(wrap wrapper) { a.body.Store(&wrap) }

func (a *authority) onAnswer(hook func(context.Context, object.GetOptions)) { a.answered.Store(&hook) }

// holdBodies lets the first n bytes of every body through, and the rest when
// the returned function is called.
func (a *authority) holdBodies(n int64) (release func()) {
	gate := make(chan struct{})
	a.wrapBodies(func(ctx context.Context, o *object.Object) io.ReadCloser {
		return &heldBody{ctx: ctx, Reader: o.Body, free: n, gate: gate, cancelled: &a.cancelled}
	})
	return sync.OnceFunc(func() { close(gate) })
}

type heldBody struct {
	io.Reader
	ctx       context.Context
	free      int64
	gate      <-chan struct{}
	cancelled *atomic.Int32
}

func (h *heldBody) Read(p []byte) (int, error) {
	if h.free > 0 {
		n, err := h.Reader.Read(p[:min(int64(len(p)), h.free)])
		h.free -= int64(n)
		return n, err
	}
	select {
	case <-h.gate:
		return h.Reader.Read(p)
	case <-h.ctx.Done():
		h.cancelled.Add(1)
		return 0, h.ctx.Err()
	}
}

func (h *heldBody) Close() error { return nil }

// A rig is a Cache over an authority. What every test must leave behind, a rig
// checks when it stops: no memory held, no record of a write, and a budget that
// is the sum of the files.
type rig struct {
	testing.TB
	origin *authority
	cache  *tiers.Cache
	ssd    tiers.SSD
	dir    string
	run    func() // starts Run
	stop   func() // ends Run and waits for it, and for readers

	readers sync.WaitGroup // that the end of Run breaks
}

// newRig starts a cache with so many bytes of RAM and SSD; 0 turns a tier off.
func newRig(t testing.TB, ram, ssd int64) *rig {
	t.Helper()
	return newRigIn(t, new(authority), t.TempDir(), ram, ssd)
}

func newRigIn(t testing.TB, origin *authority, dir string, ram, ssd int64) *rig {
	t.Helper()
	r := idleRig(t, origin, dir, tiers.Config{RAM: tiers.NewRAM(ram), SSD: openLog(t, dir, ssd)})
	r.run()
	return r
}

// openLog opens a disk tier of at least the smallest size; 0 is none.
func openLog(t testing.TB, dir string, capacity int64) tiers.SSD {
	t.Helper()
	if capacity <= 0 {
		return tiers.Off{}
	}
	log, err := tiers.OpenLog(dir, tiers.LogOptions{Capacity: max(capacity, tiers.MinLogCapacity), Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// newRigWith starts a cache of these tiers, which the rig closes. The SSD tier
// is in dir.
func newRigWith(t testing.TB, dir string, cfg tiers.Config) *rig {
	t.Helper()
	r := idleRig(t, new(authority), dir, cfg)
	r.run()
	return r
}

func idleRig(t testing.TB, origin *authority, dir string, cfg tiers.Config) *rig {
	t.Helper()
	return idleRigOver(t, origin, origin, dir, cfg)
}

// idleRigOver is idleRig with something between the cache and the authority.
func idleRigOver(t testing.TB, upstream object.Store, origin *authority, dir string, cfg tiers.Config) *rig {
	t.Helper()
	r := &rig{TB: t, origin: origin, dir: dir, ssd: cfg.SSD}
	if r.ssd == nil {
		r.ssd = tiers.Off{}
	}
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Upstream, cfg.Classes = upstream, classes
	r.cache = tiers.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	r.run = func() { running.Go(func() { r.cache.Run(ctx) }) }
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		r.readers.Wait()
		r.checkClean()
		r.ssd.Close()
	})
	t.Cleanup(r.stop)
	return r
}

func (r *rig) checkClean() {
	r.Helper()
	if !r.cache.MemoryFree() {
		r.Error("memory is still held when all flights and readers have gone")
	}
	if n := r.cache.Stats().Waiting; n != 0 {
		r.Errorf("%d readers are said to wait when all have gone", n)
	}
	if n := r.cache.WriteRecords(); n != 0 {
		r.Errorf("%d keys are still being written", n)
	}
	if _, ok := r.ssd.(*tiers.Log); !ok {
		return
	}
	if s, disk := r.ssd.Stats(), r.onDisk(); s.Bytes != disk || s.Bytes > s.Capacity {
		r.Errorf("the SSD tier counts %d bytes of %d, its directory has %d", s.Bytes, s.Capacity, disk)
	}
}

// onDisk returns the bytes of the files of the SSD tier.
func (r *rig) onDisk() (bytes int64) {
	filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "lock" {
			return nil // taken away under our eyes
		}
		if st, err := e.Info(); err == nil {
			bytes += st.Size()
		}
		return nil
	})
	return bytes
}

func (r *rig) put(key object.Key, body []byte) object.Info {
	r.Helper()
	info, err := r.origin.Put(r.Context(), key, object.BytesSource(body), object.PutOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return info
}

// open starts to read through the cache. The body is closed with the test at
// the latest.
func (r *rig) open(ctx context.Context, key object.Key, part object.Range) *object.Object {
	r.Helper()
	obj, err := r.cache.Get(ctx, key, object.GetOptions{Range: part})
	if err != nil {
		r.Fatalf("%s: %v", key, err)
	}
	obj.Body = &closeOnce{ReadCloser: obj.Body}
	r.Cleanup(func() { obj.Body.Close() })
	return obj
}

type closeOnce struct {
	io.ReadCloser
	once sync.Once
}

func (c *closeOnce) Close() (err error) {
	c.once.Do(func() { err = c.ReadCloser.Close() })
	return err
}

// get reads a whole object through the cache.
func (r *rig) get(key object.Key) (body []byte, tier object.Tier, err error) {
	return r.getPart(key, object.Range{})
}

func (r *rig) getPart(key object.Key, part object.Range) (body []byte, tier object.Tier, err error) {
	obj, err := r.cache.Get(context.Background(), key, object.GetOptions{Range: part})
	if err != nil {
		return nil, "", err
	}
	defer obj.Body.Close()
	body = make([]byte, obj.Length)
	n, err := io.ReadFull(obj.Body, body)
	if err == nil {
		var more int
		if more, err = obj.Body.Read(make([]byte, 1)); more == 0 && err == io.EOF {
			err = nil
		} else {
			err = fmt.Errorf("%d bytes behind the end, %w", more, err)
		}
	}
	return body[:n], obj.Tier, err
}

func (r *rig) want(key object.Key, want []byte, from object.Tier) {
	r.Helper()
	obj, err := r.cache.Get(context.Background(), key, object.GetOptions{})
	if err != nil {
		r.Errorf("%s: %v", key, err)
		return
	}
	defer obj.Body.Close()
	if from != "" && obj.Tier != from {
		r.Errorf("%s is read from %q, want %q", key, obj.Tier, from)
	}
	r.wantNext(obj, want)
	r.wantEnd(obj)
}

// wantNext reads len(want) more bytes of an object.
func (r *rig) wantNext(obj *object.Object, want []byte) {
	r.Helper()
	var buf [32 << 10]byte
	for at := 0; at < len(want); {
		got := buf[:min(len(buf), len(want)-at)]
		n, err := io.ReadFull(obj.Body, got)
		if !bytes.Equal(got[:n], want[at:at+n]) {
			r.Errorf("%s: other bytes from %q around %d", obj.Key, obj.Tier, at)
			return
		}
		if at += n; err != nil {
			r.Errorf("%s: %d of %d bytes from %q, %v", obj.Key, at, len(want), obj.Tier, err)
			return
		}
	}
}

// wantEnd reads the clean end of an object.
func (r *rig) wantEnd(obj *object.Object) {
	r.Helper()
	if n, err := obj.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		r.Errorf("%s: %d more bytes, %v; want the end", obj.Key, n, err)
	}
}

// until waits for a state that is sure to come.
func until(reached func() bool) {
	for !reached() {
		runtime.Gosched()
	}
}

// settle waits until no flight is under way, so that what they brought is
// published.
func (r *rig) settle() { until(func() bool { return r.cache.Stats().InFlight == 0 }) }

func (r *rig) wantGets(n int32) {
	r.Helper()
	if got := r.origin.gets.Swap(0); got != n {
		r.Errorf("%d reads of the authority, want %d", got, n)
	}
}

func (r *rig) wantHeld(key object.Key, want ...object.Tier) {
	r.Helper()
	if got := r.cache.Holds(key); fmt.Sprint(got) != fmt.Sprint(want) {
		r.Errorf("%s is held in %v, want %v", key, got, want)
	}
}

// random returns n bytes, the same for the same seed, that nobody may change.
func random(seed uint64, n int) []byte {
	noise := noise()
	at := int(seed * 7919 % uint64(len(noise)-n))
	return noise[at : at+n : at+n]
}

// noise is what all random bodies are cut from: made once, because under the
// race detector fresh memory is what costs most.
var noise = sync.OnceValue(func() []byte {
	size := 72 * mib // for the benchmarks
	if raceEnabled {
		size = 16 * mib
	}
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{2}).Read(b)
	return b
})

// blob returns a key of the verified class and its bytes.
func blob(seed uint64, n int) (object.Key, []byte) {
	b := random(seed, n)
	return object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(b))), b
}

// derived returns a key of the immutable class, whose bytes it does not prove,
// and its bytes.
func derived(seed uint64, n int) (object.Key, []byte) {
	return object.Key(fmt.Sprintf("derivations/sha256:%d", seed)), random(seed, n)
}

var errReset = errors.New("connection reset")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errReset }
