package objecttest

import (
	"fmt"
	"slices"

	"github.com/micelio/micelio/object"
)

// wantNames holds a listing to exactly these names, read at once and in pages.
func wantNames(k *kit, opt object.ListOptions, want []string) {
	k.Helper()
	if got := k.list(opt); !slices.Equal(got, want) {
		k.Errorf("List %+v:\n got %q\nwant %q", opt, got, want)
	}
	if opt.Limit != 0 {
		return
	}
	for _, limit := range []int{1, 3} {
		paged := []string{}
		for page := opt; ; page.After = paged[len(paged)-1] {
			page.Limit = limit
			names := k.list(page)
			paged = append(paged, names...)
			if len(names) < limit || len(paged) > 10*len(want)+10 {
				break
			}
		}
		if !slices.Equal(paged, want) {
			k.Errorf("List %+v in pages of %d:\n got %q\nwant %q", opt, limit, paged, want)
		}
	}
}

// putAll puts the keys that the authority can hold and returns a function that
// leaves the others out of what a listing should have.
func (k *kit) putAll(keys ...object.Key) (held func(want ...string) []string) {
	k.Helper()
	there := k.possible(keys)
	for _, key := range there {
		k.put(key, []byte(key), object.PutOptions{})
	}
	return func(want ...string) []string {
		return slices.DeleteFunc(slices.Clone(want), func(name string) bool {
			key := object.Key(name)
			return slices.Contains(keys, key) && !slices.Contains(there, key)
		})
	}
}

func testListOrder(k *kit) {
	wantNames(k, object.ListOptions{}, []string{})
	// "-" and "." sort before "/", digits and letters after it.
	want := []string{"B", "a", "a!", "a-b", "a.b", "a/b", "a/b-c", "a/b/c", "a0", "aa", "a\u00e9", "b", "日本"}
	held := k.putAll("aa", "日本", "a/b/c", "a-b", "b", "a0", "a/b", "a\u00e9", "a.b", "B", "a/b-c", "a", "a!")
	wantNames(k, object.ListOptions{}, held(want...))
}

func testListPrefix(k *kit) {
	k.putAll("sess", "sessions/1/files/.env", "sessions/1/files/a b", "sessions/1/meta", "sessions/12/meta", "set[1]/x", "set1/x", "other")
	for prefix, want := range map[string][]string{
		"sess":               {"sess", "sessions/1/files/.env", "sessions/1/files/a b", "sessions/1/meta", "sessions/12/meta"},
		"sessions/1":         {"sessions/1/files/.env", "sessions/1/files/a b", "sessions/1/meta", "sessions/12/meta"},
		"sessions/1/":        {"sessions/1/files/.env", "sessions/1/files/a b", "sessions/1/meta"},
		"sessions/1/files/a": {"sessions/1/files/a b"},
		"sessions/1/meta":    {"sessions/1/meta"},
		"set[1]":             {"set[1]/x"},
		"set*":               {},
		"sessions/1/meta/":   {},
		"nope/":              {},
		"../":                {},
		"/":                  {},
	} {
		wantNames(k, object.ListOptions{Prefix: prefix}, want)
	}
}

func testListAfter(k *kit) {
	held := k.putAll("a", "a/1", "a/2/x", "a/3", "b", "c/1")
	for after, want := range map[string][]string{
		"a":      {"a/1", "a/2/x", "a/3", "b", "c/1"},
		"a/":     {"a/1", "a/2/x", "a/3", "b", "c/1"},
		"a/2":    {"a/2/x", "a/3", "b", "c/1"},
		"a/2/x":  {"a/3", "b", "c/1"},
		"a/2/z":  {"a/3", "b", "c/1"},
		"a0":     {"b", "c/1"},
		"c/1":    {},
		"zz":     {},
		"A":      {"a", "a/1", "a/2/x", "a/3", "b", "c/1"},
		"a/2/x0": {"a/3", "b", "c/1"},
	} {
		wantNames(k, object.ListOptions{After: after}, held(want...))
	}
	wantNames(k, object.ListOptions{Prefix: "a/", After: "b"}, []string{})
	wantNames(k, object.ListOptions{Prefix: "b", After: "a/1"}, []string{"b"})
}

func testListDelimiter(k *kit) {
	held := k.putAll("top", "a", "a/1", "a/2", "a/b/3", "a-b/x", "c/d/e", "z")
	wantNames(k, object.ListOptions{Delimiter: "/"}, held("a", "a-b/", "a/", "c/", "top", "z"))
	wantNames(k, object.ListOptions{Delimiter: "/", Prefix: "a/"}, []string{"a/1", "a/2", "a/b/"})
	wantNames(k, object.ListOptions{Delimiter: "/", Prefix: "a"}, held("a", "a-b/", "a/"))
	wantNames(k, object.ListOptions{Delimiter: "-"}, held("a", "a-", "a/1", "a/2", "a/b/3", "c/d/e", "top", "z"))
	wantNames(k, object.ListOptions{Delimiter: "/", After: "a/"}, []string{"c/", "top", "z"})
	wantNames(k, object.ListOptions{Delimiter: "/", After: "a/1"}, []string{"a/", "c/", "top", "z"})
	wantNames(k, object.ListOptions{Delimiter: "/", After: "c/", Limit: 1}, []string{"top"})
	for e, err := range k.store.List(k.Context(), object.ListOptions{Delimiter: "/", Prefix: "a"}) {
		if err != nil {
			k.Fatal(err)
		}
		if isPrefix := e.Name() != "a"; isPrefix != (e.CommonPrefix != "") || isPrefix != (e.Key == "") {
			k.Errorf("entry %q: key %q, common prefix %q", e.Name(), e.Key, e.CommonPrefix)
		}
	}
}

func testListInfo(k *kit) {
	sizes := map[object.Key]object.Info{}
	for i := range 30 {
		key := object.Key(fmt.Sprintf("info/%02d", i))
		sizes[key] = k.put(key, random(uint64(i), 10*i), object.PutOptions{})
	}
	seen := 0
	for e, err := range k.store.List(k.Context(), object.ListOptions{Prefix: "info/"}) {
		if err != nil {
			k.Fatal(err)
		}
		want := sizes[e.Key]
		if e.Size != want.Size || (e.ETag != "" && e.ETag != want.ETag) || e.Modified.IsZero() {
			k.Errorf("%q is listed as %+v, was put as %+v", e.Key, e.Info, want)
		}
		if seen++; seen == 25 {
			break // a caller may stop early
		}
	}
	if seen != 25 {
		k.Errorf("%d entries seen", seen)
	}
}
