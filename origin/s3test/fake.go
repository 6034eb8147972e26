package s3test

import (
	"crypto/rand"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Fake is an S3 service in this process that keeps objects in memory, knows
// what origin.S3 uses of the protocol, and refuses the rest with 501. It checks
// signatures as S3 does, so a client that passes here signs correctly. What it
// adds to a real service are knobs: see Knobs. All methods may be called at
// once.
type Fake struct {
	*Server // where it is; its Client and NewBucket work too

	// Knobs without When spoil every request.
	Knobs

	quirks     []Quirk
	tls        bool
	publicRead bool
	now        func() time.Time
	minPart    int64
	closing    chan struct{} // closed when the test ends

	mu       sync.Mutex
	keys     map[string]secret // by access key
	buckets  map[string]*fakeBucket
	knobs    []*knob // the last is asked first
	requests []Request
	racing   map[string]*race // by bucket and key
	// What the service does with conditions.
	weak, racy, weakDelete, weakBatch bool
}

// A Quirk is how a provider's service differs from AWS's.
type Quirk int

// The quirks of providers.
const (
	// QuirkR2 refuses signed and unsigned chunked uploads with trailers, as
	// Cloudflare R2 does.
	QuirkR2 Quirk = iota

	// QuirkB2 refuses the headers that ask for checksums, as Backblaze B2 does.
	QuirkB2

	// QuirkNoURLEncoding lists names as they are, whatever encoding was asked
	// for, as Ceph, SeaweedFS and versitygw do.
	QuirkNoURLEncoding
)

// A FakeOption changes what a Fake is from its start on.
type FakeOption func(*Fake)

// FakeQuirks gives a Fake the quirks of a provider.
func FakeQuirks(quirks ...Quirk) FakeOption {
	return func(f *Fake) { f.quirks = append(f.quirks, quirks...) }
}

// FakeTLS serves https; see Server.CAFile.
func FakeTLS() FakeOption { return func(f *Fake) { f.tls = true } }

// FakePublicRead lets anybody read objects, as a CDN does.
func FakePublicRead() FakeOption { return func(f *Fake) { f.publicRead = true } }

// FakeClock gives a Fake another time, for what depends on it: signatures and
// Last-Modified.
func FakeClock(now func() time.Time) FakeOption { return func(f *Fake) { f.now = now } }

// FakeBucket gives the bucket of a Fake a name, instead of one of its own.
func FakeBucket(name string) FakeOption { return func(f *Fake) { f.Bucket = name } }

// FakeMinPart changes the least size of a part that is not the last, in bytes;
// it is that of S3, 5 MiB, otherwise.
func FakeMinPart(size int64) FakeOption { return func(f *Fake) { f.minPart = size } }

// A Request is an attempt that reached a Fake, whatever became of it.
type Request struct {
	Method string
	Path   string // decoded: /BUCKET/KEY
	Query  url.Values
	Header http.Header
	Time   time.Time // when its headers had arrived
}

// NewFake starts a Fake with one bucket, which ends with the test.
func NewFake(t testing.TB, opt ...FakeOption) *Fake {
	t.Helper()
	f := &Fake{
		Server:  &Server{AccessKey: "AKIAMICELIOFAKE", SecretKey: "a-secret-for-tests-only", Region: "us-east-1", Bucket: "fake-" + strings.ToLower(rand.Text())},
		now:     time.Now,
		minPart: 5 << 20,
		closing: make(chan struct{}),
		keys:    map[string]secret{},
		buckets: map[string]*fakeBucket{},
		racing:  map[string]*race{},
	}
	f.Knobs = Knobs{fake: f}
	for _, set := range opt {
		set(f)
	}
	f.buckets[f.Bucket] = newFakeBucket()
	f.AddKey(f.AccessKey, f.SecretKey, "")
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // connections break on purpose
	if f.tls {
		server.StartTLS()
		f.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		if err := os.WriteFile(f.CAFile, ca, 0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		server.Start()
	}
	f.Endpoint, f.client = server.URL, server.Client()
	t.Cleanup(func() {
		close(f.closing) // or Close would wait for what a knob holds
		server.CloseClientConnections()
		server.Close()
	})
	return f
}

// Requests returns every attempt so far in the order of arrival, also those that
// a knob answered.
func (f *Fake) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// Object returns what Server.Bucket holds under a name, past all knobs.
func (f *Fake) Object(name string) (body []byte, header http.Header, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, found := f.buckets[f.Bucket].objects[name]
	if !found {
		return nil, nil, false
	}
	return slices.Clone(o.body), o.describe(), true
}

// PutObject stores an object in Server.Bucket past all knobs, as another client
// would: header holds Content-Type and its like, and x-amz-meta-*.
func (f *Fake) PutObject(name string, body []byte, header http.Header) {
	o := newFakeObject(slices.Clone(body), header, f.now())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buckets[f.Bucket].objects[name] = o
}

// Names returns the names of what Server.Bucket holds, in the order of their
// bytes, past all knobs.
func (f *Fake) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.buckets[f.Bucket].objects))
}

// ServeHTTP implements http.Handler.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Time: time.Now(),
	})
	knobs := slices.Clone(f.knobs)
	f.mu.Unlock()
	h := w.Header()
	h.Set("X-Amz-Request-Id", rand.Text()[:16])
	h.Set("X-Amz-Id-2", rand.Text())
	h.Set("Server", "AmazonS3")
	var next http.Handler = http.HandlerFunc(f.serve)
	for _, k := range knobs {
		next = k.before(next)
	}
	next.ServeHTTP(w, r)
}

// serve answers as S3 would.
func (f *Fake) serve(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	c := &call{f: f, w: w, r: r, query: r.URL.Query(), bucket: bucket, key: key}
	if err := c.answer(); err != nil {
		c.fail(err)
	}
}

func (f *Fake) has(q Quirk) bool { return slices.Contains(f.quirks, q) }
