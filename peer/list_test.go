package peer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func entry(name string) object.Entry { return object.Entry{Info: object.Info{Key: object.Key(name)}} }

// pageOf writes a page of these entries, with its end.
func pageOf(entries ...object.Entry) string {
	var b []byte
	for _, e := range entries {
		b = append(b, encodeEntry(e)...)
	}
	return string(append(b, encodeEnd(len(entries))...))
}

func TestAPageSurvivesTheWire(t *testing.T) {
	want := []object.Entry{{CommonPrefix: "a\n%/"}, {Info: fullInfo()}, {Info: object.Info{Key: "ü"}}}
	slices.SortFunc(want, func(a, b object.Entry) int { return strings.Compare(a.Name(), b.Name()) })
	got, err := decodePage(iotest.OneByteReader(strings.NewReader(pageOf(want...))), object.ListOptions{Limit: 3})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestAPageThatIsCutAnywhereIsAnError(t *testing.T) {
	page := pageOf(entry("a"), object.Entry{CommonPrefix: "b/"}, entry("c"))
	for n := range len(page) {
		if got, err := decodePage(strings.NewReader(page[:n]), object.ListOptions{Limit: 5}); err == nil {
			t.Fatalf("%q was read as %d entries", page[:n], len(got))
		}
	}
}

func TestAMalformedPageIsAnError(t *testing.T) {
	long := entry("long")
	long.Version = strings.Repeat("v", maxLine)
	for name, page := range map[string]string{
		"a wrong count":            "object key=a&size=1\nend 2\n",
		"a garbled count":          "end 0x0\n",
		"more after the end":       pageOf() + "\n",
		"an unknown line":          "folder a\nend 1\n",
		"an empty line":            "\nend 0\n",
		"an empty prefix":          "prefix \nend 1\n",
		"a garbled prefix":         "prefix %z\nend 1\n",
		"a garbled object":         "object key=a\nend 1\n",
		"an invalid key":           "object key=a//b&size=1\nend 1\n",
		"descending names":         pageOf(entry("b"), entry("a")),
		"a name twice":             pageOf(entry("a"), entry("a")),
		"more than the limit":      pageOf(entry("p1"), entry("p2"), entry("p3"), entry("p4")),
		"an endless line":          pageOf(long),
		"an unknown error":         "error tired \n",
		"an error without meaning": "error not-modified \n",
		"a garbled error":          "error internal %z\n",
	} {
		if got, err := decodePage(strings.NewReader(page), object.ListOptions{Limit: 3}); !errors.Is(err, errStranger) {
			t.Errorf("%s: %d entries, %v", name, len(got), err)
		}
	}
	for name, opt := range map[string]object.ListOptions{
		"a name that was passed":  {Limit: 3, After: "a/1"},
		"another prefix":          {Limit: 3, Prefix: "b"},
		"a fold of another after": {Limit: 3, After: "b/1", Delimiter: "/"},
		"a prefix that was after": {Limit: 3, After: "a/", Delimiter: "/"},
	} {
		for _, e := range []object.Entry{entry("a"), {CommonPrefix: "a/"}} {
			if got, err := decodePage(strings.NewReader(pageOf(e)), opt); !errors.Is(err, errStranger) {
				t.Errorf("%s: %d entries, %v", name, len(got), err)
			}
		}
	}
}

// listing is a Store with n objects that counts what it was asked for, and
// fails after fail of them if that is set.
type listing struct {
	object.Store
	n, fail int
	err     error
	pages   []int
}

func (l *listing) List(_ context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		l.pages = append(l.pages, opt.Limit)
		for i := range l.n {
			if i == l.fail && l.err != nil {
				yield(object.Entry{}, l.err)
				return
			}
			if e := entry(fmt.Sprintf("key/%06d", i)); e.Name() > opt.After && !yield(e, nil) {
				return
			}
		}
	}
}

func TestAListingTravelsInPages(t *testing.T) {
	for _, c := range []struct {
		objects, limit, want int
		pages                []int
	}{
		{0, 0, 0, []int{1000}},
		{999, 0, 999, []int{1000}},
		{1000, 0, 1000, []int{1000, 1000}},
		{2500, 0, 2500, []int{1000, 1000, 1000}},
		{2500, 1, 1, []int{1}},
		{2500, 1000, 1000, []int{1000}},
		{2500, 1001, 1001, []int{1000, 1}},
		{2500, 9000, 2500, []int{1000, 1000, 1000}},
	} {
		store := &listing{n: c.objects}
		got := 0
		for _, err := range clientOf(t, store).List(t.Context(), object.ListOptions{Limit: c.limit}) {
			if err != nil {
				t.Fatal(err)
			}
			got++
		}
		if got != c.want || !slices.Equal(store.pages, c.pages) {
			t.Errorf("%d objects, limit %d: %d entries in pages of %v, want %d in %v", c.objects, c.limit, got, store.pages, c.want, c.pages)
		}
	}
}

func TestACallerThatStopsAsksForNoMore(t *testing.T) {
	store := &listing{n: 2500}
	for range clientOf(t, store).List(t.Context(), object.ListOptions{}) {
		break
	}
	if len(store.pages) != 1 {
		t.Errorf("%d pages were asked for", len(store.pages))
	}
}

func TestAnErrorInTheMiddleOfAListingEndsIt(t *testing.T) {
	store := &listing{n: 2500, fail: 1700, err: fmt.Errorf("shard 3: %w", object.ErrUnavailable)}
	var last error
	got := 0
	for _, err := range clientOf(t, store).List(t.Context(), object.ListOptions{}) {
		if last != nil {
			t.Fatal("goes on after its error")
		}
		if last = err; err == nil {
			got++
		}
	}
	wantErr(t, "list", last, object.ErrUnavailable)
	if got != 1000 || !strings.Contains(last.Error(), "shard 3") {
		t.Errorf("%d entries, then %v", got, last)
	}
}

func TestAListingCanBeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, last = range clientOf(t, &listing{n: 2500}).List(ctx, object.ListOptions{}) {
		cancel()
	}
	wantErr(t, "list", last, context.Canceled)
}

func TestAttributesTooLongForALineAreLeftOut(t *testing.T) {
	store := new(objecttest.Memory)
	c := clientOf(t, store)
	attrs := object.Attrs{ContentType: strings.Repeat("x", maxLine)}
	if _, err := c.Put(t.Context(), "key", object.BytesSource(nil), object.PutOptions{Attrs: attrs}); err != nil {
		t.Fatal(err)
	}
	for e, err := range c.List(t.Context(), object.ListOptions{}) {
		if err != nil || e.Key != "key" || e.ContentType != "" {
			t.Errorf("%q, %d bytes of content type, %v", e.Key, len(e.ContentType), err)
		}
	}
}

func FuzzPage(f *testing.F) {
	f.Add(pageOf(entry("a"), object.Entry{CommonPrefix: "b/"}, object.Entry{Info: fullInfo()}), "", "", "")
	f.Add(pageOf(object.Entry{CommonPrefix: "a/"}, entry("b")), "a/1", "/", "")
	f.Add("error unavailable shard%203\n", "", "", "")
	f.Fuzz(func(t *testing.T, page, after, delimiter, prefix string) {
		opt := object.ListOptions{After: after, Delimiter: delimiter, Prefix: prefix, Limit: 4}
		entries, err := decodePage(strings.NewReader(page), opt)
		if err != nil {
			if entries != nil {
				t.Fatal("entries of a page that is none")
			}
			return
		}
		last := ""
		for _, e := range entries {
			if e.Name() <= last || !strings.HasPrefix(e.Name(), prefix) {
				t.Fatalf("%q after %q", e.Name(), last)
			}
			last = e.Name()
		}
		again, err := decodePage(strings.NewReader(pageOf(entries...)), opt)
		if diff := cmp.Diff(entries, again); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}
