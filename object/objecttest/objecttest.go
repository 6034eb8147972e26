// Package objecttest is the conformance suite that every object.Store passes,
// whatever it keeps its objects in and however many nodes away that is.
package objecttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
)

// Test runs the suite. Each claim gets a Store of its own from open, empty,
// and whatever open starts must end with t.Cleanup.
func Test(t *testing.T, open func(t *testing.T) object.Store) {
	run(t, claims(), false, open)
}

// TestFileTree runs the suite on a Store whose authority keeps objects as the
// files of a tree, as some S3 services do: there no name is both an object and a
// directory of others, and no segment is longer than a file name may be. The
// claims are the same, made without such names.
func TestFileTree(t *testing.T, open func(t *testing.T) object.Store) {
	run(t, claims(), true, open)
}

// TestNames runs the claims about names and listings only, for an authority
// that holds any name and is careless about the rest.
func TestNames(t *testing.T, open func(t *testing.T) object.Store) {
	run(t, slices.DeleteFunc(claims(), func(c claim) bool { return !c.names }), false, open)
}

// A claim is a promise of every Store and how it is tested.
type claim struct {
	name  string
	test  func(k *kit)
	names bool // it is about names
}

func claims() []claim {
	return []claim{
		{name: "a missing object is not found", test: testMissing, names: true},
		{name: "what was put is read back", test: testRoundTrip},
		{name: "a source of unknown size is stored whole", test: testUnknownSize},
		{name: "attributes come back", test: testAttrs},
		{name: "an overwrite replaces bytes, attributes and version", test: testOverwrite},
		{name: "ranges select the bytes they name", test: testRanges},
		{name: "odd but legal keys work", test: testOddKeys, names: true},
		{name: "a name can be an object and a prefix", test: testNameAndPrefix, names: true},
		{name: "invalid keys are refused", test: testInvalidKeys, names: true},
		{name: "reads are conditional", test: testConditionalReads},
		{name: "writes are conditional", test: testConditionalWrites},
		{name: "deletes are conditional and idempotent", test: testDeletes},
		{name: "a belief about what is current changes nothing", test: testBases},
		{name: "of many creators exactly one wins", test: testOneCreatorWins},
		{name: "compare and swap loses no update", test: testCompareAndSwap},
		{name: "a wrong digest stores nothing", test: testDigests},
		{name: "a broken source stores nothing", test: testBrokenSources},
		{name: "a reader sees one version, never a mix", test: testNoTornReads},
		{name: "a cancelled call says so", test: testCancelled},
		{name: "a listing is ordered by bytes", test: testListOrder, names: true},
		{name: "a listing selects by plain prefix", test: testListPrefix, names: true},
		{name: "a listing continues after any name", test: testListAfter, names: true},
		{name: "a listing folds common prefixes", test: testListDelimiter, names: true},
		{name: "a listing describes objects", test: testListInfo, names: true},
	}
}

func run(t *testing.T, claims []claim, fileTree bool, open func(t *testing.T) object.Store) {
	for _, c := range claims {
		t.Run(c.name, func(t *testing.T) { c.test(&kit{T: t, store: open(t), fileTree: fileTree}) })
	}
}

// A kit is one claim's Store and the words the claims are written in.
type kit struct {
	*testing.T
	store    object.Store
	fileTree bool // see TestFileTree
}

// possible returns the keys that the authority can hold all together.
func (k *kit) possible(keys []object.Key) []object.Key {
	room := object.MaxKeyLen
	if u, part := k.store.(*under); part {
		room -= len(u.prefix)
	}
	return slices.DeleteFunc(slices.Clone(keys), func(key object.Key) bool {
		if len(key) > room || !k.fileTree {
			return len(key) > room
		}
		for segment := range strings.SplitSeq(string(key), "/") {
			if len(segment) > 255 {
				return true
			}
		}
		return slices.ContainsFunc(keys, func(other object.Key) bool { return strings.HasPrefix(string(other), string(key)+"/") })
	})
}

func (k *kit) put(key object.Key, body []byte, opt object.PutOptions) object.Info {
	k.Helper()
	info, err := k.store.Put(k.Context(), key, object.BytesSource(body), opt)
	if err != nil {
		k.Fatalf("Put %q: %v", key, err)
	}
	if info.Key != key || info.Size != int64(len(body)) || info.ETag == "" {
		k.Fatalf("Put %q of %d bytes returned %+v", key, len(body), info)
	}
	return info
}

func (k *kit) get(key object.Key, opt object.GetOptions) (*object.Object, []byte) {
	k.Helper()
	obj, err := k.store.Get(k.Context(), key, opt)
	if err != nil {
		k.Fatalf("Get %q: %v", key, err)
	}
	return obj, k.drain(obj)
}

// drain reads and closes the body and holds the Store to its length.
func (k *kit) drain(obj *object.Object) []byte {
	k.Helper()
	body, err := io.ReadAll(obj.Body)
	if err != nil {
		k.Fatalf("reading %q: %v", obj.Key, err)
	}
	if err := obj.Body.Close(); err != nil {
		k.Errorf("closing %q: %v", obj.Key, err)
	}
	if int64(len(body)) != obj.Length {
		k.Errorf("body of %q has %d bytes, Length says %d", obj.Key, len(body), obj.Length)
	}
	return body
}

func (k *kit) wantBody(key object.Key, want []byte) *object.Object {
	k.Helper()
	obj, got := k.get(key, object.GetOptions{})
	if !bytes.Equal(got, want) {
		k.Fatalf("Get %q returned %d bytes (%.40q), want %d (%.40q)", key, len(got), got, len(want), want)
	}
	if obj.Key != key || obj.Size != int64(len(want)) || obj.Offset != 0 {
		k.Fatalf("Get %q: key %q, size %d, offset %d", key, obj.Key, obj.Size, obj.Offset)
	}
	return obj
}

func (k *kit) wantMissing(key object.Key) {
	k.Helper()
	_, err := k.getErr(key, object.GetOptions{})
	k.wantErr("Get "+string(key), err, object.ErrNotFound)
	_, err = k.store.Head(k.Context(), key, object.HeadOptions{})
	k.wantErr("Head "+string(key), err, object.ErrNotFound)
	for e, err := range k.store.List(k.Context(), object.ListOptions{Prefix: string(key)}) {
		if err != nil {
			k.Fatalf("List: %v", err)
		}
		if e.Key == key {
			k.Errorf("missing object %q is listed", key)
		}
	}
}

// getErr is Get for calls that should fail; it never leaks a body.
func (k *kit) getErr(key object.Key, opt object.GetOptions) (*object.Object, error) {
	obj, err := k.store.Get(k.Context(), key, opt)
	if err == nil {
		obj.Body.Close()
	}
	return obj, err
}

func (k *kit) wantErr(what string, got, want error) {
	k.Helper()
	if !errors.Is(got, want) {
		k.Fatalf("%s: error %v, want %v", what, got, want)
	}
}

// list returns the names that opt selects.
func (k *kit) list(opt object.ListOptions) []string {
	k.Helper()
	names := []string{}
	for e, err := range k.store.List(k.Context(), opt) {
		if err != nil {
			k.Fatalf("List %+v: %v", opt, err)
		}
		names = append(names, e.Name())
	}
	return names
}

// random returns n bytes that no compression or accident can fake, the same
// for the same seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
	r.Read(b)
	return b
}

// brokenSource yields some bytes and then an error, or a clean but early end.
type brokenSource struct {
	size  int64
	bytes []byte
	err   error // io.EOF for an early end
}

func (s brokenSource) Size() int64 { return s.size }
func (s brokenSource) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(s.bytes), errReader{s.err})), nil
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// cancelled returns a context that has ended.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
