package tiers_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/tiers"
	"github.com/micelio/micelio/tiers/seglog"
)

// Faults strike one operation in so many; 0 is never.
type oneIn struct{ atomic.Uint32 }

func (o *oneIn) strikes() bool {
	n := o.Load()
	return n > 0 && rand.Uint32N(n) == 0
}

// A modelDisk is real files whose reads, writes, syncs and allocations fail now
// and then: with an error, after half of a write, or with a bit that has flipped.
type modelDisk struct {
	seglog.FS
	faults *oneIn
}

// openModelLog opens a disk tier on one.
func openModelLog(t testing.TB, dir string, capacity int64, faults *oneIn) tiers.SSD {
	t.Helper()
	disk, err := seglog.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	log, err := tiers.OpenLogOn(modelDisk{disk, faults}, dir, capacity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func (d modelDisk) Open(name string) (seglog.File, error) {
	if d.faults.strikes() {
		return nil, unix.EMFILE
	}
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return modelFile{f, d.faults}, nil
}

type modelFile struct {
	seglog.File
	faults *oneIn
}

func (f modelFile) ReadAt(p []byte, off int64) (int, error) {
	if !f.faults.strikes() {
		return f.File.ReadAt(p, off)
	}
	if rand.IntN(2) == 0 {
		return 0, unix.EIO
	}
	n, err := f.File.ReadAt(p, off)
	if n > 0 {
		p[rand.IntN(n)] ^= 1 << rand.IntN(8)
	}
	return n, err
}

func (f modelFile) WriteAt(p []byte, off int64) (int, error) {
	if !f.faults.strikes() {
		return f.File.WriteAt(p, off)
	}
	n, _ := f.File.WriteAt(p[:rand.IntN(len(p)+1)], off)
	return n, unix.EIO
}

func (f modelFile) Sync() error {
	if f.faults.strikes() {
		return unix.EIO
	}
	return f.File.Sync()
}

func (f modelFile) Allocate(size int64) error {
	if f.faults.strikes() {
		f.File.Allocate(0) // what failed leaves an empty file
		return unix.ENOSPC
	}
	return f.File.Allocate(size)
}

// A modelOrigin is an authority that remembers what each key was when, and that
// fails, breaks off and lies.
type modelOrigin struct {
	objecttest.Memory
	clock  atomic.Int64
	keys   map[object.Key]*modelKey
	faults oneIn
	slow   oneIn
	flips  atomic.Bool // faults include other bits
}

// A modelKey is the history of one key.
type modelKey struct {
	key   object.Key
	fixed []byte      // the only bytes it can have, nil for a mutable one
	etag  object.ETag // of fixed
	class object.Class

	mu     sync.Mutex // held while the authority changes it; guards the following
	states []modelState

	// Of a key of a fixed class: when its deletion through the cache was done, if
	// no write came in its way, 0 if it may be there. Then it must not be served.
	dead    int64
	writing int   // writes under way
	written int64 // when the last one began or ended
}

// A modelState is what a key was, from some moment of the clock not before from
// until another one not after to.
type modelState struct {
	there    bool
	version  string
	etag     object.ETag
	body     []byte
	from, to int64 // to is 0 for the state that lasts
}

// change notes what an authority has made of the key. The caller holds mu, and
// read the clock before the change.
func (k *modelKey) change(s modelState, now int64) {
	k.states[len(k.states)-1].to = now
	k.states = append(k.states, s)
}

// during returns the states that the key may have had between two moments.
func (k *modelKey) during(from, to int64) (states []modelState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.states {
		if s.from <= to && (s.to == 0 || s.to >= from) {
			states = append(states, s)
		}
	}
	return states
}

// last returns the state that the key has now.
func (k *modelKey) last() modelState {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.states[len(k.states)-1]
}

// settled forgets the history, when nothing is under way. A disk tier that was
// not there has not heard of deletions.
func (k *modelKey) settled(heard bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !heard {
		k.dead = 0
	}
	k.states = []modelState{k.states[len(k.states)-1]}
}

// dawdle lets others go first.
func (o *modelOrigin) dawdle() {
	if o.slow.strikes() {
		for range rand.IntN(30) {
			runtime.Gosched()
		}
	}
}

func (o *modelOrigin) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if o.faults.strikes() {
		return object.Info{}, object.ErrUnavailable
	}
	r, err := object.OpenExact(src)
	if err != nil {
		return object.Info{}, err
	}
	var b []byte
	if n := src.Size(); n >= 0 {
		b = make([]byte, n)
		_, err = io.ReadFull(r, b)
		if err == nil || err == io.EOF { // the end, which may be an error
			_, err = io.ReadFull(r, make([]byte, 1))
		}
		if err == io.EOF {
			err = nil
		}
	} else {
		b, err = io.ReadAll(r)
	}
	r.Close()
	if err != nil {
		return object.Info{}, fmt.Errorf("authority: %w", err)
	}
	o.dawdle()
	if o.faults.strikes() {
		return object.Info{}, object.ErrUnknownOutcome // and not applied
	}
	k := o.keys[key]
	k.mu.Lock()
	from := o.clock.Add(1)
	info, err := o.Memory.Put(ctx, key, object.BytesSource(b), opt)
	if err == nil {
		k.change(modelState{there: true, version: info.Version, etag: info.ETag, body: b, from: from}, o.clock.Add(1))
	}
	k.mu.Unlock()
	o.dawdle()
	if err == nil && o.faults.strikes() {
		return object.Info{}, object.ErrUnknownOutcome
	}
	return info, err
}

func (o *modelOrigin) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	o.dawdle()
	if o.faults.strikes() {
		return object.ErrUnavailable
	}
	k := o.keys[key]
	k.mu.Lock()
	from := o.clock.Add(1)
	err := o.Memory.Delete(ctx, key, opt)
	if err == nil {
		k.change(modelState{from: from}, o.clock.Add(1))
	}
	k.mu.Unlock()
	o.dawdle()
	if err == nil && o.faults.strikes() {
		return object.ErrUnknownOutcome
	}
	return err
}

func (o *modelOrigin) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	if o.faults.strikes() {
		return object.Info{}, object.ErrUnavailable
	}
	return o.Memory.Head(ctx, key, opt)
}

func (o *modelOrigin) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	o.dawdle()
	if o.faults.strikes() {
		return nil, object.ErrUnavailable
	}
	obj, err := o.Memory.Get(ctx, key, opt)
	o.dawdle()
	if err != nil {
		return nil, err
	}
	switch {
	case o.faults.strikes():
		o.spoil(obj, opt.Range.IsSet())
	case o.slow.strikes():
		obj.Body = io.NopCloser(&slowBody{ctx, obj.Body, int(obj.Length) / (1 + rand.IntN(20))})
	}
	return obj, nil
}

// spoil makes a body break off, end too early, be too long or not as long as it
// says, or have other bits. Nothing can prove a part: its bits are right.
func (o *modelOrigin) spoil(obj *object.Object, part bool) {
	at := rand.Int64N(obj.Length + 1)
	first := io.LimitReader(obj.Body, at)
	switch n := rand.IntN(5); {
	case n == 0:
		obj.Body = io.NopCloser(io.MultiReader(first, errReader{}))
	case n == 1:
		obj.Body = io.NopCloser(first)
	case n == 2:
		obj.Body = io.NopCloser(io.MultiReader(obj.Body, io.LimitReader(rattle{}, 1+at)))
	case n == 3 && part:
		obj.Length = max(obj.Length-1-at, 0)
	case n == 3:
		obj.Size, obj.Length = obj.Size+1+at, obj.Length+1+at
	case o.flips.Load() && !part && at < obj.Length:
		obj.Body = io.NopCloser(io.MultiReader(first, flipped{obj.Body}))
	}
}

// A slowBody comes in small pieces, while others run.
type slowBody struct {
	ctx context.Context
	io.Reader
	piece int
}

func (s *slowBody) Read(p []byte) (int, error) {
	for range rand.IntN(40) {
		runtime.Gosched()
	}
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Reader.Read(p[:min(len(p), 1+s.piece)])
}

// A flipped reader turns a bit of each piece.
type flipped struct{ io.Reader }

func (f flipped) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if n > 0 {
		p[0] ^= 1
	}
	return n, err
}

// rattle is bytes without end.
type rattle struct{}

func (rattle) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'r'
	}
	return len(p), nil
}
