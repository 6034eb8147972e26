package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

var (
	modelOps  = flag.Int("ops", 50_000, "operations of each model test")
	modelSeed = flag.Uint64("seed", 1, "seed of the model tests")
)

// A model is what a Cache must look like from outside: a map, and faults that
// may break an answer but never make it a wrong one.
type model struct {
	*rig
	rnd        *rand.Rand
	hooks      *hookedSSD
	brokenDisk atomic.Bool
	keys       []object.Key
	bodies     map[object.Key][]byte // what each key of a fixed class can only be
	objects    map[object.Key][]byte // what the authority has
	cached     map[object.Key]bool   // deleted behind the cache's back: it may still have it
	reading    []reading
	faulty     bool // answers and bodies may break
	done       map[string]int
}

// A reading is a slow reader of one version.
type reading struct {
	*object.Object
	rest []byte
}

func TestACacheIsAMapWhateverBreaks(t *testing.T) {
	t.Parallel()
	m := &model{
		rnd: rand.New(rand.NewPCG(*modelSeed, 7)), bodies: map[object.Key][]byte{},
		objects: map[object.Key][]byte{}, cached: map[object.Key]bool{}, done: map[string]int{},
	}
	for i := range 30 {
		size := []int{0, 1, 500, 2000, 5000, 70_000}[i%6]
		if i >= 28 {
			size = []int{300_000, mib + 100_005}[i-28]
		}
		key, body := blob(uint64(1000+i), size)
		if i%3 == 0 {
			key, body = derived(uint64(i), size)
		}
		m.bodies[key] = body
		m.keys = append(m.keys, key, object.Key(fmt.Sprint("sessions/", i)))
	}
	m.start(t, new(authority), t.TempDir())
	for range *modelOps {
		m.step()
		if t.Failed() {
			t.Fatalf("seed %d, after %v", *modelSeed, m.done)
		}
	}
	m.closeReadings()
	m.stop()
	s := m.cache.Stats()
	for _, kind := range []string{"broken", "served", "missing", "unavailable", "restarted", "put", "deleted", "read on"} {
		if m.done[kind] == 0 {
			t.Errorf("nothing was ever %s: %v, %+v", kind, m.done, s)
		}
	}
}

func (m *model) start(t testing.TB, origin *authority, dir string) {
	m.hooks = &hookedSSD{SSD: openLog(t, dir, 6*mib)}
	m.rig = idleRig(t, origin, dir, tiers.Config{RAM: tiers.NewRAM(200_000), SSD: m.hooks})
	m.hooks.onWrite = func([]byte) error {
		if m.brokenDisk.Load() {
			return unix.EIO
		}
		return nil
	}
	m.run()
}

func (m *model) step() {
	key := m.keys[m.rnd.IntN(len(m.keys))]
	if len(m.bodies[key]) > 100_000 && m.rnd.IntN(4) > 0 {
		key = m.keys[m.rnd.IntN(len(m.keys))] // large ones are slow, and seldom
	}
	switch n := m.rnd.IntN(1000); {
	case n < 2:
		m.restartModel()
	case n < 10:
		m.breakSomething()
	case n < 30:
		m.mend()
	case n < 130:
		m.write(key)
	case n < 160:
		m.remove(key, m.rnd.IntN(2) == 0)
	case n < 260:
		m.readOn()
	default:
		m.read(key)
	}
}

func (m *model) breakSomething() {
	m.faulty = true
	switch m.rnd.IntN(3) {
	case 0:
		m.origin.down.Store(true)
	case 1:
		m.brokenDisk.Store(true)
	case 2:
		seed := m.rnd.Uint64()
		m.origin.wrapBodies(func(_ context.Context, o *object.Object) io.ReadCloser {
			at := int64(seed % uint64(o.Length+1))
			if seed%3 == 0 {
				return io.NopCloser(io.LimitReader(o.Body, at)) // a clean end, too early
			}
			return io.NopCloser(io.MultiReader(io.LimitReader(o.Body, at), errReader{}))
		})
	}
}

func (m *model) mend() {
	m.faulty = false
	m.origin.down.Store(false)
	m.brokenDisk.Store(false)
	m.origin.body.Store(nil)
}

func (m *model) restartModel() {
	m.closeReadings()
	m.settle()
	m.stop()
	m.start(m.TB, m.origin, m.dir)
	m.done["restarted"]++
}

// body returns what key may be written with.
func (m *model) body(key object.Key) []byte {
	if b, ok := m.bodies[key]; ok {
		return b
	}
	return random(m.rnd.Uint64(), []int{0, 10, 4000, 10_000}[m.rnd.IntN(4)])
}

func (m *model) write(key object.Key) {
	body := m.body(key)
	_, fixed := m.bodies[key]
	var err error
	if m.rnd.IntN(4) == 0 && !fixed { // through another node
		_, err = m.origin.Put(m.Context(), key, object.BytesSource(body), object.PutOptions{})
	} else {
		src := object.ReaderSource(bytes.NewReader(body), int64(len(body)))
		_, err = m.cache.Put(m.Context(), key, src, object.PutOptions{})
	}
	if err != nil {
		m.Errorf("put %s: %v", key, err)
	}
	m.objects[key] = body
	delete(m.cached, key)
	m.done["put"]++
}

func (m *model) remove(key object.Key, elsewhere bool) {
	var store object.Store = m.cache
	if elsewhere {
		store = m.origin
	}
	if err := store.Delete(m.Context(), key, object.DeleteOptions{}); err != nil {
		m.Errorf("delete %s: %v", key, err)
	}
	if _, there := m.objects[key]; there {
		m.cached[key] = elsewhere
	} else if !elsewhere {
		delete(m.cached, key)
	}
	delete(m.objects, key)
	m.done["deleted"]++
}

// read opens an object, or a part of it, reads it or leaves it open.
func (m *model) read(key object.Key) {
	want, there := m.objects[key]
	_, fixed := m.bodies[key]
	var part object.Range
	if len(want) > 0 && m.rnd.IntN(3) == 0 {
		part = object.Bytes(m.rnd.Int64N(int64(len(want))), 1+m.rnd.Int64N(int64(len(want))))
	}
	obj, err := m.cache.Get(m.Context(), key, object.GetOptions{Range: part})
	switch {
	case err == nil && !there && fixed && m.cached[key]:
		want = m.bodies[key]
	case err == nil && !there:
		m.Errorf("%s was deleted and is served from %s", key, obj.Tier)
	case errors.Is(err, object.ErrNotFound):
		if there {
			m.Errorf("%s is reported missing", key)
		}
		m.done["missing"]++
	case err != nil:
		if !m.faulty {
			m.Errorf("%s: %v, and nothing is broken", key, err)
		}
		m.done["unavailable"]++
	}
	if err != nil {
		return
	}
	offset, length, _ := part.Resolve(int64(len(want)))
	if obj.Offset != offset || obj.Length != length || obj.Size != int64(len(want)) {
		m.Errorf("%s %v: %d bytes from %d of %d", key, part, obj.Length, obj.Offset, obj.Size)
	}
	m.reading = append(m.reading, reading{obj, want[offset : offset+length]})
	if len(m.reading) > 4 || m.rnd.IntN(3) > 0 {
		m.advance(m.rnd.IntN(len(m.reading)), mib*4)
	}
}

func (m *model) readOn() {
	if len(m.reading) > 0 {
		m.advance(m.rnd.IntN(len(m.reading)), 1+m.rnd.IntN(100_000))
		m.done["read on"]++
	}
}

// advance reads n bytes of an open body, and its end if it has no more.
func (m *model) advance(i, n int) {
	r := &m.reading[i]
	want := r.rest[:min(n, len(r.rest))]
	got := make([]byte, len(want))
	n, err := io.ReadFull(r.Body, got)
	if !bytes.Equal(got[:n], want[:n]) {
		m.Errorf("%s from %s: other bytes", r.Key, r.Tier)
	}
	r.rest = r.rest[n:]
	if err == nil && len(r.rest) > 0 {
		return
	}
	if err == nil {
		if _, err = r.Body.Read(got[:min(1, cap(got))]); len(want) > 0 && err != io.EOF {
			m.Errorf("%s from %s: %v at its end", r.Key, r.Tier, err)
		}
		m.done["served"]++
	} else {
		if err == io.EOF {
			m.Errorf("%s from %s ends cleanly %d bytes too early", r.Key, r.Tier, len(r.rest))
		}
		m.done["broken"]++
	}
	r.Body.Close()
	m.reading = append(m.reading[:i], m.reading[i+1:]...)
}

func (m *model) closeReadings() {
	for _, r := range m.reading {
		r.Body.Close()
	}
	m.reading = nil
}
