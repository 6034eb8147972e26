package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/micelio/micelio/object"
)

// stored returns a Store with one object "k" of ten digits, modified at then.
func stored(t *testing.T, attrs object.Attrs) (*memStore, object.Info) {
	t.Helper()
	m := newMemStore()
	info, err := m.Put(t.Context(), "k", object.BytesSource([]byte("0123456789")), object.PutOptions{Attrs: attrs})
	if err != nil {
		t.Fatal(err)
	}
	m.modified(then)
	return m, info
}

// then is no whole second, as real times are not.
var then = time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)

const (
	thenHTTP    = "Wed, 04 Mar 2026 05:06:07 GMT"
	earlierHTTP = "Wed, 04 Mar 2026 05:06:06 GMT"
	laterHTTP   = "Wed, 04 Mar 2026 05:06:08 GMT"
	etag        = `"781e5e245d69b566979b86e28d23f2c7"` // MD5 of ten digits
)

func TestReadsAnswerConditionsAndRangesAsHTTPWantsThem(t *testing.T) {
	type header map[string]string
	store, _ := stored(t, object.Attrs{})
	url := serve(t, Config{Store: store}).URL + "/micelio/k"
	for _, c := range []struct {
		header header
		status int
		body   string
		rng    string // Content-Range
	}{
		{header{}, 200, "0123456789", ""},
		{header{"Range": "bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{header{"Range": "bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{header{"Range": "bytes=-2"}, 206, "89", "bytes 8-9/10"},
		{header{"Range": "bytes=0-99"}, 206, "0123456789", "bytes 0-9/10"},
		{header{"Range": "bytes=10-"}, 416, "InvalidRange", "bytes */10"},
		{header{"Range": "bytes=-0"}, 416, "InvalidRange", "bytes */10"},
		{header{"Range": "bytes=1-2,4-5"}, 200, "0123456789", ""},
		{header{"Range": "bytes=5-2"}, 200, "0123456789", ""},
		{header{"Range": "bytes=a-b"}, 200, "0123456789", ""},
		{header{"Range": "lines=1-2"}, 200, "0123456789", ""},

		{header{"If-Match": etag}, 200, "0123456789", ""},
		{header{"If-Match": `"x", ` + etag, "Range": "bytes=0-0"}, 206, "0", "bytes 0-0/10"},
		{header{"If-Match": `"x"`}, 412, "PreconditionFailed", ""},
		{header{"If-Match": "W/" + etag}, 412, "PreconditionFailed", ""},
		{header{"If-None-Match": etag}, 304, "", ""},
		{header{"If-None-Match": "W/" + etag}, 304, "", ""},
		{header{"If-None-Match": "*"}, 304, "", ""},
		{header{"If-None-Match": `"x"`}, 200, "0123456789", ""},
		{header{"If-None-Match": `"x`}, 400, "InvalidArgument", ""},

		{header{"If-Modified-Since": thenHTTP}, 304, "", ""},
		{header{"If-Modified-Since": earlierHTTP}, 200, "0123456789", ""},
		{header{"If-Modified-Since": "yesterday"}, 200, "0123456789", ""},
		{header{"If-Unmodified-Since": thenHTTP}, 200, "0123456789", ""},
		{header{"If-Unmodified-Since": earlierHTTP}, 412, "PreconditionFailed", ""},
		// Conditions on tags overrule those on dates, and failures come first.
		{header{"If-Match": etag, "If-Unmodified-Since": earlierHTTP}, 200, "0123456789", ""},
		{header{"If-None-Match": `"x"`, "If-Modified-Since": laterHTTP}, 200, "0123456789", ""},
		{header{"If-None-Match": etag, "If-Unmodified-Since": earlierHTTP}, 412, "PreconditionFailed", ""},
		{header{"If-None-Match": etag, "If-Modified-Since": earlierHTTP}, 304, "", ""},
		// Conditions come before the range.
		{header{"If-None-Match": etag, "Range": "bytes=10-"}, 304, "", ""},
		{header{"If-Match": `"x"`, "Range": "bytes=10-"}, 412, "PreconditionFailed", ""},
		{header{"If-Modified-Since": thenHTTP, "Range": "bytes=10-"}, 304, "", ""},
		{header{"If-Unmodified-Since": earlierHTTP, "Range": "bytes=10-"}, 412, "PreconditionFailed", ""},

		{header{"If-Range": etag, "Range": "bytes=1-1"}, 206, "1", "bytes 1-1/10"},
		{header{"If-Range": `"x"`, "Range": "bytes=1-1"}, 200, "0123456789", ""},
		{header{"If-Range": "W/" + etag, "Range": "bytes=1-1"}, 200, "0123456789", ""},
		{header{"If-Range": thenHTTP, "Range": "bytes=1-1"}, 206, "1", "bytes 1-1/10"},
		{header{"If-Range": earlierHTTP, "Range": "bytes=1-1"}, 200, "0123456789", ""},
		{header{"If-Range": laterHTTP, "Range": "bytes=1-1"}, 200, "0123456789", ""},
		{header{"If-Range": `"x"`, "Range": "bytes=10-"}, 200, "0123456789", ""},
		{header{"If-Range": earlierHTTP, "Range": "bytes=10-"}, 200, "0123456789", ""},
		{header{"If-Range": thenHTTP, "Range": "bytes=10-"}, 416, "InvalidRange", "bytes */10"},
		{header{"If-Range": etag, "Range": "bytes=10-"}, 416, "InvalidRange", "bytes */10"},
		{header{"If-Range": etag, "If-Match": `"x"`, "Range": "bytes=1-1"}, 412, "PreconditionFailed", ""},
		{header{"If-Range": etag, "If-Match": `"x", ` + etag, "Range": "bytes=1-1"}, 206, "1", "bytes 1-1/10"},
		{header{"If-Range": `"x"`, "If-Match": etag, "Range": "bytes=1-1"}, 200, "0123456789", ""},
		{header{"If-Range": `"x"`, "If-Match": `"x"`, "Range": "bytes=1-1"}, 412, "PreconditionFailed", ""},
		{header{"If-Range": etag, "If-None-Match": etag, "Range": "bytes=1-1"}, 304, "", ""},
		{header{"If-Range": etag}, 200, "0123456789", ""},
	} {
		h := http.Header{}
		for name, value := range c.header {
			h.Set(name, value)
		}
		get, body := send(t, "GET", url, h, nil)
		if code := codeOf(body); code != "" {
			body = code
		}
		if get.StatusCode != c.status || body != c.body || get.Header.Get("Content-Range") != c.rng {
			t.Errorf("GET %v: %d %q, Content-Range %q, want %d %q %q", c.header, get.StatusCode, body, get.Header.Get("Content-Range"), c.status, c.body, c.rng)
		}
		if c.status == 304 && (get.Header.Get("ETag") != etag || get.Header.Get("Last-Modified") != thenHTTP) {
			t.Errorf("GET %v: 304 with ETag %q, Last-Modified %q", c.header, get.Header.Get("ETag"), get.Header.Get("Last-Modified"))
		}
		head, body := send(t, "HEAD", url, h, nil)
		for _, resp := range []*http.Response{get, head} {
			resp.Header.Del("Date")
			resp.Header.Del("X-Amz-Request-Id")
		}
		if head.StatusCode != c.status || body != "" || !cmp.Equal(head.Header, get.Header) {
			t.Errorf("HEAD %v: %d, and the header differs from GET's: %s", c.header, head.StatusCode, cmp.Diff(get.Header, head.Header))
		}
	}
}

func TestAReadRepliesWithTheStoredHeaders(t *testing.T) {
	store, _ := stored(t, object.Attrs{
		ContentType: "text/plain", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: `attachment; filename="f"`,
		CacheControl: "no-cache", User: map[string]string{"name": "füchse & co", "mtime": "1.5"},
	})
	url := serve(t, Config{Store: store}).URL + "/micelio/k"
	resp, _ := send(t, "GET", url, http.Header{"Accept-Encoding": {"identity"}}, nil)
	for name, want := range map[string]string{
		"Content-Type": "text/plain", "Content-Encoding": "gzip", "Content-Language": "de", "Content-Length": "10",
		"Content-Disposition": `attachment; filename="f"`, "Cache-Control": "no-cache", "X-Amz-Meta-Name": "füchse & co",
		"X-Amz-Meta-Mtime": "1.5", "Accept-Ranges": "bytes", "Etag": etag, "Last-Modified": thenHTTP, "X-Cache": "ram",
		"Micelio-Node": "node-1", "Age": "90", "X-Content-Type-Options": "nosniff",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	store, _ = stored(t, object.Attrs{})
	store.describe = func(info *object.Info) { info.Tier, info.Node, info.Age = "", "node-7", -time.Second }
	resp, _ = send(t, "GET", serve(t, Config{Store: store}).URL+"/micelio/k", nil, nil)
	for name, want := range map[string]string{
		"Content-Type": "binary/octet-stream", "X-Cache": "origin", "Micelio-Node": "node-7", "Age": "0", "Content-Encoding": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A bodyStore answers Get with a body of the test's choice.
type bodyStore struct {
	*memStore
	length int64
	body   func() io.Reader
}

func (b bodyStore) Get(context.Context, object.Key, object.GetOptions) (*object.Object, error) {
	body := b.body()
	closer, ok := body.(io.ReadCloser)
	if !ok {
		closer = io.NopCloser(body)
	}
	return &object.Object{Info: object.Info{Key: "k", Size: b.length}, Length: b.length, Body: closer}, nil
}

// A viewedBody has some of the bytes of r in memory.
type viewedBody struct {
	r     io.Reader
	rnd   *rand.Rand
	views int
}

func viewed(r io.Reader) *viewedBody { return &viewedBody{r: r, rnd: rand.New(rand.NewPCG(1, 1))} }

func (v *viewedBody) Read(p []byte) (int, error) { return v.r.Read(p) }
func (v *viewedBody) Close() error               { return nil }

func (v *viewedBody) View(most int64) []byte {
	if v.rnd.IntN(3) == 0 {
		return nil
	}
	p := make([]byte, min(most, 1+v.rnd.Int64N(1<<20)))
	n, _ := io.ReadFull(v.r, p)
	v.views++
	return p[:n]
}

func TestABodyThatFailsBreaksTheConnection(t *testing.T) {
	fault := errors.New("the disk is gone")
	zeros := func(n int) io.Reader { return bytes.NewReader(make([]byte, n)) }
	fail := func(r io.Reader, err error) func() io.Reader {
		return func() io.Reader { return io.MultiReader(r, &failReader{err}) }
	}
	for name, c := range map[string]struct {
		length int64
		body   func() io.Reader
	}{
		"at once":                    {10, fail(zeros(0), fault)},
		"in a small body":            {10, fail(zeros(5), fault)},
		"in a large body":            {1 << 20, fail(zeros(500_000), fault)},
		"a clean but early end":      {1 << 20, func() io.Reader { return zeros(1<<20 - 1) }},
		"after the last byte":        {10, fail(zeros(10), fault)},
		"after the last large byte":  {1 << 20, fail(zeros(1<<20), fault)},
		"more bytes than announced":  {10, func() io.Reader { return zeros(11) }},
		"more, from memory":          {1 << 20, func() io.Reader { return zeros(1<<20 + 1) }},
		"more, in place":             {4 << 20, func() io.Reader { return viewed(zeros(4<<20 + 1)) }},
		"in place, early":            {4 << 20, func() io.Reader { return viewed(zeros(4<<20 - 1)) }},
		"in place, after the last":   {4 << 20, func() io.Reader { return viewed(io.MultiReader(zeros(4<<20), &failReader{fault})) }},
		"more, streamed":             {4 << 20, func() io.Reader { return streamed(zeros(4<<20 + 1)) }},
		"at the end of a stream":     {4 << 20, func() io.Reader { return streamed(io.MultiReader(zeros(4<<20), &failReader{fault})) }},
		"in a large stream":          {4 << 20, func() io.Reader { return streamed(io.MultiReader(zeros(3_000_000), &failReader{fault})) }},
		"nothing, and not even that": {0, fail(zeros(0), object.ErrDigest)},
	} {
		observed := make(chan Observation, 1)
		s := serve(t, Config{Store: bodyStore{newMemStore(), c.length, c.body}, Observe: func(o Observation) { observed <- o }})
		resp, err := http.Get(s.URL + "/micelio/k")
		var n int64
		if err == nil {
			n, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a clean end after %d bytes", name, n)
		}
		if o := <-observed; !o.Aborted || o.Op != OpGet || o.Status != 200 {
			t.Errorf("%s: observed %+v", name, o)
		}
	}
}

// streamed is a reader of which nothing is known but that it can be read.
func streamed(r io.Reader) io.Reader { return struct{ io.Reader }{r} }

func TestLargeBodiesArriveWhateverTheStoreGivesAtATime(t *testing.T) {
	want := make([]byte, 5<<20+123)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(want)
	rnd := rand.New(rand.NewPCG(1, 1))
	uneven := func() io.Reader { return &unevenReader{bytes.NewReader(want), rnd} }
	for name, body := range map[string]func() io.Reader{
		"from memory": func() io.Reader { return bytes.NewReader(want) },
		"all of it":   func() io.Reader { return streamed(bytes.NewReader(want)) },
		"in pieces":   uneven,
		"in place":    func() io.Reader { return viewed(bytes.NewReader(want)) },
		"in halves":   func() io.Reader { return streamed(iotest.HalfReader(bytes.NewReader(want))) },
		"end at once": func() io.Reader { return streamed(iotest.DataErrReader(bytes.NewReader(want))) },
	} {
		s := serve(t, Config{Store: bodyStore{newMemStore(), int64(len(want)), body}})
		resp, err := http.Get(s.URL + "/micelio/k")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
}

// An unevenReader gives a random part of what it is asked for, seldom little.
type unevenReader struct {
	r   io.Reader
	rnd *rand.Rand
}

func (u *unevenReader) Read(p []byte) (int, error) {
	switch u.rnd.IntN(4) {
	case 0:
		p = p[:min(len(p), 1+u.rnd.IntN(10_000))]
	case 1:
		p = p[:1+u.rnd.IntN(len(p))]
	}
	return u.r.Read(p)
}

type failReader struct{ err error }

func (f *failReader) Read([]byte) (int, error) { return 0, f.err }

// A reader that follows a fill gets each byte when the Store has it, not when
// a buffer is full.
func TestATricklingBodyIsSentAsItComes(t *testing.T) {
	r, w := io.Pipe()
	s := serve(t, Config{Store: bodyStore{newMemStore(), 3, func() io.Reader { return r }}})
	go w.Write([]byte("a"))
	resp, err := http.Get(s.URL + "/micelio/k")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i, c := range "abc" {
		got := make([]byte, 1)
		go func() {
			if i > 0 {
				w.Write([]byte(string(c)))
			}
			if i == 2 {
				w.Close() // the last byte waits for the end
			}
		}()
		if _, err := io.ReadFull(resp.Body, got); err != nil || got[0] != byte(c) {
			t.Fatalf("read %q, %v, want %q", got, err, c)
		}
	}
}

// A swapStore changes the object after each Get and Head that it answers.
type swapStore struct {
	*memStore
	next [][]byte
}

func (s *swapStore) swap() {
	if len(s.next) > 0 {
		_, _ = s.memStore.Put(context.Background(), "k", object.BytesSource(s.next[0]), object.PutOptions{})
		s.next = s.next[1:]
	}
}

func (s *swapStore) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	defer s.swap()
	return s.memStore.Get(ctx, key, opt)
}

func (s *swapStore) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	defer s.swap()
	return s.memStore.Head(ctx, key, opt)
}

func TestARangeIsNeverOfAnotherVersionThanItsValidator(t *testing.T) {
	store, _ := stored(t, object.Attrs{})
	swapping := &swapStore{memStore: store, next: [][]byte{[]byte("abcdefghij"), []byte("ABCDEFGHIJ")}}
	url := serve(t, Config{Store: swapping}).URL + "/micelio/k"
	// The first answer is of the version named. The second is whole, and of the
	// version that came while the first attempt at it failed.
	for _, want := range []string{"1", "ABCDEFGHIJ", "ABCDEFGHIJ"} {
		_, body := send(t, "GET", url, http.Header{"If-Range": {etag}, "Range": {"bytes=1-1"}}, nil)
		if body != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
	// A range that the object outgrows before its size is asked for.
	store, _ = stored(t, object.Attrs{})
	swapping = &swapStore{memStore: store, next: [][]byte{[]byte(strings.Repeat("x", 100))}}
	url = serve(t, Config{Store: swapping}).URL + "/micelio/k"
	resp, _ := send(t, "GET", url, http.Header{"Range": {"bytes=50-"}}, nil)
	if resp.StatusCode != 416 || resp.Header.Get("Content-Range") != "" {
		t.Errorf("%d, Content-Range %q, want 416 without", resp.StatusCode, resp.Header.Get("Content-Range"))
	}
}
