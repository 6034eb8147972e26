package hotset

import (
	"bytes"
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
)

// holds checks that a Store's account is that of its copies and its lender's.
func (r *rig) holds() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, held := int64(0), int64(0)
	r.copies.each(func(_ *place, c *hotCopy) {
		kept++
		held += c.cost
	})
	if len(r.fills) == 0 && (kept != r.kept || held != r.held || held != r.lender.now()) {
		r.t.Errorf("%d copies of %d bytes, on account are %d of %d, and %d are lent", kept, held, r.kept, r.held, r.lender.now())
	}
}

// With more hot keys than there is room for, of all sizes, written, deleted and
// read at once, copies never take more than they may, and in the end nothing.
func TestCopiesTakeNoMoreThanTheyMay(t *testing.T) {
	for _, limit := range []int64{1 << 40, 300 << 10} { // of the lender
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 512<<10)
			r.lender.limit = limit
			r.cfg.MinRate, r.cfg.MinShare = 2, 0
			stop := r.start()
			const keys = 60
			content := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, n*n*20) } // up to 70 KB
			for n := range keys {
				r.stored(immutable(n), content(n))
			}
			var clients sync.WaitGroup
			for c := range 8 {
				rng := rand.New(rand.NewPCG(uint64(c), uint64(limit)))
				clients.Go(func() {
					for range 600 {
						n := min(rng.IntN(keys), rng.IntN(keys))
						switch rng.IntN(200) {
						case 0:
							_ = r.Delete(t.Context(), immutable(n), object.DeleteOptions{})
						case 1, 2:
							_, _ = r.Put(t.Context(), immutable(n), object.BytesSource(content(n)), object.PutOptions{})
						default:
							if _, got, err := r.read(immutable(n)); err == nil && !bytes.Equal(got, content(n)) {
								t.Errorf("key %d: %d wrong bytes", n, len(got))
							}
						}
						pass(time.Duration(rng.Int64N(int64(10 * time.Millisecond))))
						if rng.IntN(100) == 0 {
							r.holds()
						}
					}
				})
			}
			clients.Wait()
			synctest.Wait()
			r.holds()
			most := min(limit, 512<<10)
			if s := r.Stats(); r.lender.most > most || s.Bytes > most || s.Kept < 20 || s.Declined == 0 || s.Hits == 0 {
				t.Errorf("%+v, at most %d bytes were lent, of %d", s, r.lender.most, most)
			}
			pass(MaxLife + sweepInterval)
			synctest.Wait()
			if s := r.Stats(); s.Copies != 0 || s.Bytes != 0 || r.lender.now() != 0 {
				t.Errorf("in the end %+v, and %d bytes are lent", s, r.lender.now())
			}
			stop()
		})
	}
}

// A key that is read more than those that have all the room takes it.
func TestAHotterKeyPushesColderOnesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 64<<10)
		r.cfg.MinShare = 0
		defer r.start()()
		content := make([]byte, 7<<10)
		for n := range 20 {
			r.stored(immutable(n), content)
		}
		for range 200 { // 12 keys, each 50 times a second: more than fit
			for n := range 12 {
				_, _, _ = r.read(immutable(n))
			}
			pass(20 * time.Millisecond)
		}
		synctest.Wait()
		if s := r.Stats(); s.Copies < 5 || s.Copies > 8 {
			t.Fatalf("%+v: want room for some of twelve", s)
		}
		renewed := r.Stats().Kept
		for range 100 {
			for n := range 12 {
				_, _, _ = r.read(immutable(n))
			}
			for range 10 {
				_, _, _ = r.read(immutable(19))
			}
			pass(20 * time.Millisecond)
		}
		synctest.Wait()
		r.want(immutable(19), content, object.TierHot)
		r.holds()
		if kept := r.Stats().Kept - renewed; kept > 8 {
			t.Errorf("%d copies were fetched: keys of the same rate push each other out", kept)
		}
	})
}

// What a copy is charged is what it takes.
func TestTheCostOfACopyIsCounted(t *testing.T) {
	for _, size := range []int{0, 100, 4097, 40_000} {
		const n = 1000
		below := &cluster{}
		s := New(Config{
			Below: below, Capacity: 1 << 40, Elsewhere: func(object.Key) bool { return true },
			Class: func(object.Key) (object.Class, object.Digest) { return object.Immutable, object.Digest{} },
		})
		content := make([]byte, size)
		_, err := below.Put(context.Background(), "k", object.BytesSource(content), object.PutOptions{Attrs: object.Attrs{
			ContentType: "application/octet-stream", User: map[string]string{"name": "value", "other": "value"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		all, charged := make([]*hotCopy, n), int64(0)
		before := heap()
		for i := range all {
			c, err := s.read(context.Background(), &fill{key: "k", room: 1 << 40})
			if err != nil {
				t.Fatal(err)
			}
			all[i] = c
			charged += c.cost
		}
		took := heap() - before
		runtime.KeepAlive(all)
		if took > charged || took < charged/2 {
			t.Errorf("%d copies of %d bytes take %d bytes of memory, and are charged %d", n, size, took, charged)
		}
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
