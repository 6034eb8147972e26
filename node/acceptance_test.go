package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
)

// tierings are the ways to run a node with tiers. A restarted one has lost
// what was in memory.
var tierings = []struct {
	name    string
	edit    func(*Config)
	first   object.Tier // that answers for a small object
	restart object.Tier // that answers after a restart, "" if none
}{
	{"RAM and SSD", func(*Config) {}, object.TierRAM, object.TierSSD},
	{"RAM only", func(c *Config) { c.SSDBytes = 0 }, object.TierRAM, ""},
	{"SSD only", func(c *Config) { c.RAMBytes = 0 }, object.TierSSD, object.TierSSD},
}

// loseOrigin removes every object from a node's origin, and only the objects:
// the origin can still be asked, and says no.
func loseOrigin(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == ".micelio" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// outside puts a file into the origin as another program would.
func outside(t *testing.T, dir string, key object.Key, body []byte) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(string(key)))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
}

// files returns the files below dir, if there is one, without those that only
// hold a lock.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() && d.Name() != "lock" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// settled waits until what flights brought has been published.
func settled(n *running) {
	for n.cache.Stats().InFlight > 0 {
		runtime.Gosched()
	}
}

func wantMissing(t *testing.T, n *running, key object.Key) {
	t.Helper()
	if _, _, err := read(t.Context(), n, key); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("Get %q through %s: %v, want not found", key, n.ID(), err)
	}
	if _, err := n.Store().Head(t.Context(), key, object.HeadOptions{}); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("Head %q through %s: %v, want not found", key, n.ID(), err)
	}
}

// keep are keys that are served without the origin, of both classes.
func keep(body []byte) []object.Key {
	return []object.Key{
		object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(body))),
		"projects/1/blobs/ab/sha256:abc.bin",
	}
}

// What a node has a copy of outlives the object at the origin, with its ETag
// and its description, whichever tier holds it and however it came there.
func TestACopyOutlivesTheOriginsObject(t *testing.T) {
	body := []byte("the bytes of an object")
	for _, tiering := range tierings {
		for _, filled := range []string{"by a write", "by a read"} {
			t.Run(tiering.name+", filled "+filled, func(t *testing.T) {
				dir := t.TempDir()
				n := startNode(t, dir, tiering.edit)
				etags := map[object.Key]object.ETag{}
				for _, key := range keep(body) {
					if filled == "by a write" {
						put(t, n, key, body)
					} else {
						outside(t, n.cfg.LocalPath, key, body)
					}
					etags[key] = want(t, n, key, body).ETag
				}
				settled(n)
				if held := n.cache.Stats().SSD.Entries; (held > 0) != (n.ssd != nil) {
					t.Errorf("%d copies on disk", held)
				}
				loseOrigin(t, n.cfg.LocalPath)
				for key, etag := range etags {
					wantCopy(t, n, key, body, etag, tiering.first)
				}
				if err := n.drained(); err != nil {
					t.Fatal(err)
				}
				again := startNode(t, dir, tiering.edit)
				for key, etag := range etags {
					if tiering.restart == "" {
						wantMissing(t, again, key)
						continue
					}
					wantCopy(t, again, key, body, etag, tiering.restart)
				}
			})
		}
	}
}

// wantCopy reads, describes and ranges over a copy.
func wantCopy(t *testing.T, n *running, key object.Key, body []byte, etag object.ETag, from object.Tier) {
	t.Helper()
	info, err := n.Store().Head(t.Context(), key, object.HeadOptions{})
	if err != nil || info.ETag != etag || info.Size != int64(len(body)) {
		t.Errorf("Head %q: %+v, %v", key, info, err)
	}
	obj := want(t, n, key, body)
	if obj.ETag != etag || obj.Tier != from {
		t.Errorf("Get %q: ETag %q from %q, want %q from %q", key, obj.ETag, obj.Tier, etag, from)
	}
	_, err = n.Store().Get(t.Context(), key, object.GetOptions{IfNoneMatch: object.MatchETag(etag)})
	if !errors.Is(err, object.ErrNotModified) {
		t.Errorf("Get %q If-None-Match its ETag: %v", key, err)
	}
}

// Memory answers although the copy on disk is gone as well, and the disk
// answers when the copy is gone from memory.
func TestEachTierAnswersAlone(t *testing.T) {
	n := startNode(t, t.TempDir())
	key, body := object.Key("cache/x/sha256:1/out"), []byte("body")
	put(t, n, key, body)
	if held := n.cache.Holds(key); !slices.Equal(held, []object.Tier{object.TierRAM, object.TierSSD}) {
		t.Fatalf("held in %v", held)
	}
	loseOrigin(t, n.cfg.LocalPath)
	for _, name := range files(t, n.cfg.CachePath) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if obj := want(t, n, key, body); obj.Tier != object.TierRAM {
		t.Errorf("from %q", obj.Tier)
	}
}

// A node that never saw an object has nothing to say but what the origin says.
func TestTiersAreTheirNodesOwn(t *testing.T) {
	dir := t.TempDir()
	share := func(c *Config) { c.LocalPath = filepath.Join(dir, "origin") }
	one, two := startNode(t, filepath.Join(dir, "1"), share), startNode(t, filepath.Join(dir, "2"), share)
	key, body := object.Key("derivations/sha256:abc"), []byte("body")
	put(t, one, key, body)
	loseOrigin(t, filepath.Join(dir, "origin"))
	want(t, one, key, body)
	wantMissing(t, two, key)
}

// A copy whose file was spoilt while the node was down is a miss: the origin
// answers, with the right bytes and the right ETag.
func TestSpoiltCopiesAreFetchedAgain(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	body := bytes.Repeat([]byte("0123456789"), 10_000)
	etags := map[object.Key]object.ETag{}
	for _, key := range append(keep(body), "sessions/1/files/main.ex", "sessions/1/files/mix.exs") {
		etags[key] = put(t, n, key, body).ETag
	}
	if err := n.drained(); err != nil {
		t.Fatal(err)
	}
	copies := files(t, filepath.Join(dir, "cache"))
	if len(copies) != len(etags) {
		t.Fatalf("%d copies of %d objects", len(copies), len(etags))
	}
	for i, file := range copies {
		b, err := os.ReadFile(file)
		if err == nil { // its first byte, its last one, half of it, all of it
			err = os.WriteFile(file, [][]byte{append([]byte{^b[0]}, b[1:]...), append(b[:len(b)-1:len(b)-1], ^b[len(b)-1]), b[:len(b)/2], {}}[i], 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	again := startNode(t, dir)
	for key, etag := range etags {
		if obj := want(t, again, key, body); obj.Tier != object.TierOrigin || obj.ETag != etag {
			t.Errorf("%q: ETag %q from %q, want %q from the origin", key, obj.ETag, obj.Tier, etag)
		}
	}
}

// The smallest budgets hold exactly what fits: two objects of 6 bytes do not
// share 10, and an object of exactly 10 replaces itself.
func TestTheOldestCopyMakesRoom(t *testing.T) {
	n := startNode(t, t.TempDir(), func(c *Config) { c.RAMBytes, c.SSDBytes = 10, 0 })
	first, second := object.Key("cache/x/sha256:1/out"), object.Key("cache/x/sha256:2/out")
	put(t, n, first, []byte("sixsix"))
	put(t, n, second, []byte("666666"))
	loseOrigin(t, n.cfg.LocalPath)
	wantMissing(t, n, first)
	want(t, n, second, []byte("666666"))

	for _, body := range []string{"0123456789", "abcdefghij"} {
		put(t, n, "sessions/1/state", []byte(body))
		if obj := want(t, n, "sessions/1/state", []byte(body)); obj.Tier != object.TierRAM {
			t.Errorf("%q from %q", body, obj.Tier)
		}
	}
	put(t, n, "sessions/1/large", []byte("more than the budget"))
	if obj := want(t, n, "sessions/1/state", []byte("abcdefghij")); obj.Tier != object.TierRAM {
		t.Errorf("an object larger than the budget emptied it: %q", obj.Tier)
	}
}

func TestAWriteThatWasRefusedLeavesNoCopy(t *testing.T) {
	n := startNode(t, t.TempDir())
	outside(t, n.cfg.LocalPath, "projects/1/head", []byte("theirs"))
	for name, opt := range map[string]object.PutOptions{
		"create":  {IfNoneMatch: object.MatchAny()},
		"replace": {IfMatch: object.MatchETag("0123")},
		"digest":  {SHA256: sha256.Sum256([]byte("other"))},
	} {
		_, err := n.Store().Put(t.Context(), "projects/1/head", object.BytesSource([]byte("ours")), opt)
		if !errors.Is(err, object.ErrPrecondition) && !errors.Is(err, object.ErrDigest) {
			t.Errorf("%s: %v", name, err)
		}
		if held := n.cache.Holds("projects/1/head"); len(held) > 0 {
			t.Errorf("%s: a copy in %v", name, held)
		}
	}
	if left := n.cache.Stats().SSD.Entries; left != 0 {
		t.Errorf("%d copies in the SSD tier", left)
	}
	want(t, n, "projects/1/head", []byte("theirs"))
}

// A write that was accepted is in the tiers: the next read asks the origin
// whether it is current, and for no byte of it.
func TestAWriteThatWasAcceptedIsInTheTiers(t *testing.T) {
	n := startNode(t, t.TempDir())
	info := put(t, n, "projects/1/head", []byte("one"))
	_, err := n.Store().Put(t.Context(), "projects/1/head", object.BytesSource([]byte("two")), object.PutOptions{IfMatch: object.MatchETag(info.ETag)})
	if err != nil {
		t.Fatal(err)
	}
	if obj := want(t, n, "projects/1/head", []byte("two")); obj.Tier != object.TierRAM {
		t.Errorf("from %q", obj.Tier)
	}
	loseOrigin(t, n.cfg.LocalPath)
	wantMissing(t, n, "projects/1/head") // the copy is no reason to say otherwise
}

func TestADeleteReachesTheOriginAndEveryTier(t *testing.T) {
	n := startNode(t, t.TempDir())
	body := []byte("body")
	for _, key := range append(keep(body), "sessions/1/state") {
		put(t, n, key, body)
		want(t, n, key, body)
		if len(n.cache.Holds(key)) != 2 {
			t.Errorf("%q is held in %v", key, n.cache.Holds(key))
		}
		if err := n.Store().Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if held := n.cache.Holds(key); len(held) > 0 {
			t.Errorf("%q is still held in %v", key, held)
		}
		wantMissing(t, n, key)
	}
	if left := n.cache.Stats().SSD.Entries; left != 0 {
		t.Errorf("%d copies left in the SSD tier", left)
	}
	for _, file := range files(t, n.cfg.LocalPath) {
		if !strings.Contains(file, "/.micelio/") {
			t.Errorf("left: %s", file)
		}
	}
}
