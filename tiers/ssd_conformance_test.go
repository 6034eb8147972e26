package tiers_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

func TestTheDiskTierConforms(t *testing.T) {
	testSSD(t, func(t *testing.T) tiers.SSD { return openLog(t, t.TempDir(), 16*mib) })
}

func TestNoDiskTierConforms(t *testing.T) {
	testSSD(t, func(*testing.T) tiers.SSD { return tiers.Off{} })
}

// testSSD holds a disk tier of at least 16 MiB to what the interface says. A
// tier may hold nothing at all: then it says so, and every claim is about that.
func testSSD(t *testing.T, open func(*testing.T) tiers.SSD) {
	for name, claim := range map[string]func(*testing.T, tiers.SSD){
		"a copy comes back as it was":                ssdReturnsCopies,
		"a key has its last copy or none":            ssdReplacesCopies,
		"a copy is seen when it is whole":            ssdCommits,
		"a refused entry drops what there was":       ssdRefuses,
		"an object can be there in part":             ssdKeepsParts,
		"another version begins anew":                ssdKeepsVersionsApart,
		"an open copy has its own bytes or none":     ssdServesWhatIsOpen,
		"bytes are bounded, and readers see no more": ssdIsBounded,
		"counters add up":                            ssdCounts,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ssd := open(t)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				if err := ssd.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			claim(t, ssd)
			cancel()
			running.Wait() // Run ends with its context
			for range 2 {
				if err := ssd.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// stores puts body into a tier, the way its size asks for.
func stores(ssd tiers.SSD, info object.Info, body []byte) bool {
	info.Size = int64(len(body))
	if len(body) <= tiers.MaxPut {
		return ssd.Put(&tiers.Entry{Info: info, Bytes: body, Born: time.Now()})
	}
	spool, ok := ssd.Create(info)
	return ok && writes(spool, body) == nil && spool.Commit(info) == nil
}

// writes writes in pieces that are not those of the tier.
func writes(spool tiers.Spool, body []byte) error {
	for len(body) > 0 {
		n := min(3*tiers.BlockSize, len(body))
		if err := spool.Write(body[:n]); err != nil {
			spool.Abort()
			return err
		}
		body = body[n:]
	}
	return nil
}

// holds says whether a tier wants anything. One that does not answers as if it
// were empty.
func holds(ssd tiers.SSD) bool { return ssd.Stats().Capacity > 0 }

// fetched reads an open copy to its end.
func fetched(s interface {
	ReadAt([]byte, int64) (int, error)
}, from, to int64) ([]byte, error) {
	b := make([]byte, to-from)
	for at := from; at < to; {
		n, err := s.ReadAt(b[at-from:], at)
		if err != nil {
			return b[:at-from], err
		}
		at += int64(n)
	}
	return b, nil
}

func ssdReturnsCopies(t *testing.T, ssd tiers.SSD) {
	for i, size := range []int{0, 1, 4096, tiers.BlockSize, tiers.MaxPut, tiers.MaxPut + 1, 3*mib + 5} {
		info := object.Info{
			Key: object.Key(fmt.Sprint("key/", i)), Size: int64(size), ETag: "etag", Version: "version",
			Modified: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), SHA256: object.Digest{1, 31: 9},
			Attrs: object.Attrs{ContentType: "text/\xe9", User: map[string]string{"a": "1", "b": "2"}},
		}
		body := random(uint64(i), size)
		kept := stores(ssd, info, body)
		s, ok := ssd.Get(info.Key)
		if kept != holds(ssd) || ok != kept || ssd.Has(info.Key) != kept {
			t.Errorf("%d bytes: kept %t, found %t, there %t", size, kept, ok, ssd.Has(info.Key))
		}
		if !ok {
			continue
		}
		got, err := fetched(s, 0, int64(size))
		if err != nil || !bytes.Equal(got, body) || !s.Complete() {
			t.Errorf("%d bytes come back as %d, %v; complete: %t", size, len(got), err, s.Complete())
		}
		about := s.Info()
		if about.Tier != object.TierSSD || about.Age < 0 || about.Age > time.Hour {
			t.Errorf("%d bytes come from %q, %v old", size, about.Tier, about.Age)
		}
		about.Tier, about.Age = "", 0
		if diff := cmp.Diff(info, about); diff != "" {
			t.Errorf("%d bytes come back under another description (-put +got):\n%s", size, diff)
		}
		if !s.Proven() { // what this process wrote came from a checked stream
			t.Errorf("%d bytes are not proven", size)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func ssdReplacesCopies(t *testing.T, ssd tiers.SSD) {
	r := rand.New(rand.NewPCG(1, 1))
	last := map[object.Key]string{}
	for step := range 3000 {
		key := object.Key(fmt.Sprint(r.IntN(40)))
		switch r.IntN(4) {
		case 0:
			ssd.Delete(key)
			delete(last, key)
		case 1:
			size := r.IntN(5000)
			if r.IntN(40) == 0 {
				size = tiers.MaxPut + r.IntN(mib/4)
			}
			last[key] = fmt.Sprint(step)
			stores(ssd, object.Info{Key: key, Version: last[key]}, random(uint64(step), size))
		default:
			s, ok := ssd.Get(key)
			if !ok {
				continue
			}
			if info := s.Info(); info.Version != last[key] || info.Key != key {
				t.Fatalf("step %d: %q has version %q of %q, want %q", step, key, info.Version, info.Key, last[key])
			}
			s.Close()
		}
	}
}

func ssdCommits(t *testing.T, ssd tiers.SSD) {
	body := random(3, mib+77)
	info := object.Info{Key: "key", Size: int64(len(body)), ETag: "etag"}
	spool, ok := ssd.Create(info)
	if ok != holds(ssd) {
		t.Fatalf("wanted: %t", ok)
	}
	if !ok {
		return
	}
	if err := spool.Commit(info); err == nil {
		t.Error("an object without its bytes is committed")
	}
	if err := writes(spool, body[:mib]); err != nil {
		t.Fatal(err)
	}
	if _, found := ssd.Get("key"); found || ssd.Has("key") {
		t.Error("an object that is being written is found")
	}
	if got, err := fetched(spool, 2*tiers.BlockSize, mib); err != nil || !bytes.Equal(got, body[2*tiers.BlockSize:mib]) {
		t.Errorf("%d bytes of what was written, %v", len(got), err)
	}
	if err := spool.Write(body[mib:]); err != nil {
		t.Fatal(err)
	}
	other := info
	other.Size--
	if spool.Commit(other) == nil {
		t.Error("an object is committed under another size")
	}
	if err := spool.Commit(info); err != nil || !ssd.Has("key") {
		t.Errorf("committed: %v, there: %t", err, ssd.Has("key"))
	}
	spool.Abort()
	if !ssd.Has("key") {
		t.Error("gone by Abort after Commit")
	}

	spool, _ = ssd.Create(object.Info{Key: "given up", Size: int64(len(body))})
	if err := writes(spool, body); err != nil {
		t.Fatal(err)
	}
	spool.Abort()
	if err := spool.Commit(object.Info{Key: "given up", Size: int64(len(body))}); err == nil || ssd.Has("given up") {
		t.Errorf("committed after Abort: %v, there: %t", err, ssd.Has("given up"))
	}
}

func ssdRefuses(t *testing.T, ssd tiers.SSD) {
	info := object.Info{Key: "key", Size: 5}
	stores(ssd, info, []byte("first"))
	info.Size = 6
	if ssd.Put(&tiers.Entry{Info: info, Bytes: []byte("short")}) {
		t.Error("an entry of another size than it says is taken")
	}
	if s, ok := ssd.Get("key"); ok || ssd.Has("key") {
		t.Errorf("the key still has %+v", s.Info())
	}
	if spool, ok := ssd.Create(object.Info{Key: "huge", Size: 1 << 50}); ok {
		spool.Abort()
		t.Error("an object larger than the tier is wanted")
	}
}
