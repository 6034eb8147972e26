// Package objecttest is the conformance suite that every object.Store passes,
// whatever it keeps its objects in and however many nodes away that is.
package objecttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/micelio/micelio/object"
)

// Test runs the suite. Each claim gets a Store of its own from open, empty,
// and whatever open starts must end with t.Cleanup.
func Test(t *testing.T, open func(t *testing.T) object.Store) {
	claims := []struct {
		name string
		test func(k *kit)
	}{
		{"a missing object is not found", testMissing},
		{"what was put is read back", testRoundTrip},
		{"a source of unknown size is stored whole", testUnknownSize},
		{"attributes come back", testAttrs},
		{"an overwrite replaces bytes, attributes and version", testOverwrite},
		{"ranges select the bytes they name", testRanges},
		{"odd but legal keys work", testOddKeys},
		{"a name can be an object and a prefix", testNameAndPrefix},
		{"invalid keys are refused", testInvalidKeys},
		{"reads are conditional", testConditionalReads},
		{"writes are conditional", testConditionalWrites},
		{"deletes are conditional and idempotent", testDeletes},
		{"of many creators exactly one wins", testOneCreatorWins},
		{"compare and swap loses no update", testCompareAndSwap},
		{"a wrong digest stores nothing", testDigests},
		{"a broken source stores nothing", testBrokenSources},
		{"a reader sees one version, never a mix", testNoTornReads},
		{"a cancelled call says so", testCancelled},
		{"a listing is ordered by bytes", testListOrder},
		{"a listing selects by plain prefix", testListPrefix},
		{"a listing continues after any name", testListAfter},
		{"a listing folds common prefixes", testListDelimiter},
		{"a listing describes objects", testListInfo},
	}
	for _, c := range claims {
		t.Run(c.name, func(t *testing.T) { c.test(&kit{t, open(t)}) })
	}
}

// A kit is one claim's Store and the words the claims are written in.
type kit struct {
	*testing.T
	store object.Store
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
