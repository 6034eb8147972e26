package origin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
	"github.com/micelio/micelio/tiers"
)

// cached puts the tiers of a node in front of a bucket.
func cached(t *testing.T, s *origin.S3, ssd int64) *tiers.Cache {
	t.Helper()
	log, err := tiers.OpenLog(t.TempDir(), tiers.LogOptions{Capacity: ssd})
	if err != nil {
		t.Fatal(err)
	}
	cache := tiers.New(tiers.Config{Upstream: s, Classes: defaultClasses(t), RAM: tiers.NewRAM(1 << 20), SSD: log})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { cache.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		log.Close()
	})
	return cache
}

// A cold large object comes in parts, several at once, and every part but the
// first, which finds out what there is, is pinned to its version.
func TestACacheFillsALargeObjectInPartsOfOneVersion(t *testing.T) {
	t.Parallel()
	const parts = 4
	s, fake := openFake(t, func(c *origin.S3Config) { c.Parallel = 3 })
	body := anyBytes(parts * 5 << 20)
	key := object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(body)))
	info := putBytes(t, s, key, body, object.PutOptions{})
	before := len(fake.Requests())

	// The second part is held until the third is asked for: no fill that asks for
	// one after the other gets past that.
	var asked atomic.Int32
	third := make(chan struct{})
	defer fake.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isGet(r) {
			switch asked.Add(1) {
			case 2:
				<-third
			case 3:
				close(third)
			}
		}
		next.ServeHTTP(w, r)
	})()
	cache := cached(t, s, 64<<20)
	obj, err := cache.Get(t.Context(), key, object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(obj.Body)
	obj.Body.Close()
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(body), err)
	}
	ranges := map[string]bool{}
	for i, r := range fake.Requests()[before:] {
		if r.Method != http.MethodGet {
			continue
		}
		ranges[r.Header.Get("Range")] = true
		if pin := r.Header.Get("If-Match"); i > 0 && strings.Trim(pin, `"`) != string(info.ETag) {
			t.Errorf("%s is pinned to %q, want %q", r.Header.Get("Range"), pin, info.ETag)
		}
	}
	if len(ranges) != parts {
		t.Errorf("read as %v, want %d parts", ranges, parts)
	}
}

// A part of a large object that nobody has read costs about that part: the units
// around it, and not the object.
func TestACacheReadsAPartOfALargeObjectInABucketAsAPart(t *testing.T) {
	t.Parallel()
	s, fake := openFake(t)
	body := anyBytes(24 << 20)
	const key = "derivations/sha256:large"
	putBytes(t, s, key, body, object.PutOptions{})
	cache := cached(t, s, 64<<20)
	before := len(fake.Requests())
	for range 2 { // the second time from the disk
		for _, at := range []int64{10<<20 + 7, 17 << 20} {
			obj, err := cache.Get(t.Context(), key, object.GetOptions{Range: object.Bytes(at, 1000)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(obj.Body)
			obj.Body.Close()
			if err != nil || !bytes.Equal(got, body[at:at+1000]) || obj.Size != int64(len(body)) {
				t.Fatalf("at %d: %d bytes of an object of %d, %v", at, len(got), obj.Size, err)
			}
			for cache.Stats().InFlight > 0 { // what comes with it goes to the disk
				runtime.Gosched()
			}
		}
	}
	if n := count(fake, func(r s3test.Request) bool { return r.Method == http.MethodGet }); n != 2 {
		t.Errorf("%d reads of the bucket for two parts, want 2", n)
	}
	for _, r := range fake.Requests()[before:] {
		var first, last int64
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil || last-first+1 > 8<<20 {
			t.Errorf("%s %s asks for %q", r.Method, r.Path, r.Header.Get("Range"))
		}
	}
}
