package origin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// openFake opens a bucket of a fake service.
func openFake(t *testing.T, change ...func(*origin.S3Config)) (*origin.S3, *s3test.Fake) {
	t.Helper()
	fake := s3test.NewFake(t)
	cfg := s3Config(t, fake.Server)
	for _, c := range change {
		c(&cfg)
	}
	return openS3(t, cfg), fake
}

// count returns how many requests reached the service.
func count(fake *s3test.Fake, which func(s3test.Request) bool) int {
	n := 0
	for _, r := range fake.Requests() {
		if which(r) {
			n++
		}
	}
	return n
}

func isPut(r s3test.Request) bool {
	return r.Method == http.MethodPut && !r.Query.Has("partNumber")
}

// uploads returns how many uploads in parts are neither done nor aborted.
func uploads(t *testing.T, server *s3test.Server) int {
	t.Helper()
	out, err := server.Client().ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &server.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Uploads)
}

func TestAWriteWhoseAnswerIsLostIsFoundToHaveHappened(t *testing.T) {
	small, large := anyBytes(1000), anyBytes(11<<20)
	for name, c := range map[string]struct {
		body []byte
		opt  object.PutOptions
		lost string // method of the request whose answer is lost
	}{
		"unconditional":  {small, object.PutOptions{}, http.MethodPut},
		"create":         {small, object.PutOptions{IfNoneMatch: object.MatchAny()}, http.MethodPut},
		"large":          {large, object.PutOptions{}, http.MethodPost},
		"create a large": {large, object.PutOptions{IfNoneMatch: object.MatchAny()}, http.MethodPost},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake := openFake(t)
			undo := fake.When(func(r *http.Request) bool {
				return r.Method == c.lost && (c.lost == http.MethodPut || r.URL.Query().Has("uploadId"))
			}).Times(1).LoseAnswer(c.lost)
			info, err := s.Put(t.Context(), "key", object.BytesSource(c.body), c.opt)
			undo()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := read(t.Context(), s, "key", object.GetOptions{}); err != nil || !bytes.Equal(got, c.body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if head, err := s.Head(t.Context(), "key", object.HeadOptions{}); err != nil || head.Version != info.Version || head.ETag != info.ETag {
				t.Errorf("Put answered %+v, the bucket has %+v, %v", info, head, err)
			}
			if st := s.Stats(); st.Settled == 0 || st.Unknown != 0 {
				t.Errorf("%+v", st)
			}
			if n := count(fake, isPut); c.lost == http.MethodPut && n > 1 {
				t.Errorf("it was sent %d times", n)
			}
			if n := uploads(t, fake.Server); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// A write whose fate is open is not sent again, whatever its condition: the first
// may be on its way, and then the write would take effect twice as soon as the
// object comes back to the state that both were made for. (It was repeated under
// a condition of the caller's once. A simulation found that a delete which was
// taken for done because the object was gone deleted what came after it.)
func TestAWriteThatMayYetHappenIsNotRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		opt   func(one object.ETag) object.PutOptions
		lands bool // nobody else wrote: it may
	}{
		"unconditional": {func(object.ETag) object.PutOptions { return object.PutOptions{} }, true},
		"conditional": {func(one object.ETag) object.PutOptions {
			return object.PutOptions{IfMatch: object.MatchETag(one)}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake := openFake(t, func(c *origin.S3Config) { c.Timeout = 200 * time.Millisecond })
			one := put(t, s, "key", "one", object.PutOptions{})
			before := count(fake, isPut)
			late := fake.When(func(r *http.Request) bool { return r.Method == http.MethodPut }).Times(1).Late(http.MethodPut)
			_, err := s.Put(t.Context(), "key", object.BytesSource([]byte("late")), c.opt(one.ETag))
			wantErr(t, err, object.ErrUnknownOutcome)
			if n := count(fake, isPut) - before; n != 1 {
				t.Errorf("it was sent %d times", n)
			}
			last := one
			if !c.lands {
				last = put(t, s, "key", "two", object.PutOptions{IfMatch: object.MatchETag(one.ETag)})
			}
			if late.Apply() != 1 {
				t.Error("nothing was held")
			}
			if got := headOf(t, s); (got.ETag != last.ETag) != c.lands {
				t.Errorf("the bucket has %+v", got)
			}
		})
	}
}

func headOf(t *testing.T, s object.Store) object.Info {
	t.Helper()
	info, err := s.Head(t.Context(), "key", object.HeadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestAConflictOfTwoConditionalWritesIsDecidedAgain(t *testing.T) {
	s, fake := openFake(t)
	fake.Methods(http.MethodPut).Times(2).FailWith(http.StatusConflict, "ConditionalRequestConflict", 1)
	if _, err := s.Put(t.Context(), "key", object.BytesSource([]byte("x")), object.PutOptions{IfNoneMatch: object.MatchAny()}); err != nil {
		t.Error(err)
	}
}

func TestARefusalBeforeAnythingHappenedIsTriedAgain(t *testing.T) {
	s, fake := openFake(t)
	fake.Methods(http.MethodPut).Times(2).FailWith(http.StatusServiceUnavailable, "SlowDown", 1)
	put(t, s, "key", "x", object.PutOptions{})
	if n := count(fake, isPut); n != 3 {
		t.Errorf("%d attempts", n)
	}
}

func TestAnErrorOfTheServiceLeavesTheOutcomeOpen(t *testing.T) {
	s, fake := openFake(t)
	undo := fake.Methods(http.MethodPut).FailWith(http.StatusInternalServerError, "InternalError", 1)
	_, err := s.Put(t.Context(), "key", object.BytesSource([]byte("x")), object.PutOptions{})
	wantErr(t, err, object.ErrUnknownOutcome)
	if n := count(fake, isPut); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	undo()
	wantMissing(t, s, "key")
}

func TestARedirectIsFollowedNowhere(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s went elsewhere with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s, fake := openFake(t)
		fake.Redirect(elsewhere.URL, status)
		_, err := read(t.Context(), s, "key", object.GetOptions{})
		wantErr(t, err, origin.ErrRefused)
		_, err = s.Put(t.Context(), "key", object.BytesSource([]byte("x")), object.PutOptions{})
		wantErr(t, err, object.ErrUnavailable)
		_, err = s.Probe(t.Context())
		wantErr(t, err, origin.ErrRefused)
	}
}

func TestALargeWriteThatFailsLeavesNothingBehind(t *testing.T) {
	server := s3test.VersityGW(t)
	s := openS3(t, s3Config(t, server))
	body := anyBytes(17 << 20)
	failure := errors.New("the client went away")
	for name, c := range map[string]struct {
		src  object.Source
		opt  object.PutOptions
		want error
	}{
		"a source that breaks in the third part": {
			object.ReaderSource(io.MultiReader(bytes.NewReader(body[:12<<20]), &failingReader{failure}), -1), object.PutOptions{}, failure},
		"a source that ends early": {object.ReaderSource(bytes.NewReader(body[:12<<20]), 17<<20), object.PutOptions{}, io.ErrUnexpectedEOF},
		"another SHA-256":          {object.BytesSource(body), object.PutOptions{SHA256: object.Digest{1}}, object.ErrDigest},
		"another MD5":              {object.BytesSource(body), object.PutOptions{MD5: make([]byte, 16)}, object.ErrDigest},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Put(t.Context(), "key", c.src, c.opt)
			wantErr(t, err, c.want)
			if errors.Is(err, object.ErrUnknownOutcome) {
				t.Errorf("nothing can have happened: %v", err)
			}
			wantMissing(t, s, "key")
			if n := uploads(t, server); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	src := object.ReaderSource(io.MultiReader(bytes.NewReader(body), &callingReader{cancel}), -1)
	_, err := s.Put(ctx, "key", src, object.PutOptions{})
	wantErr(t, err, context.Canceled)
	wantMissing(t, s, "key")
	if n := uploads(t, server); n != 0 {
		t.Errorf("a caller who left leaves %d uploads", n)
	}
}

// A part that is on its way when its caller leaves can be in the way of the
// removal: versitygw answered 500 once, and the upload stayed until the janitor
// came.
func TestARemovalThatFailsIsAskedForAgain(t *testing.T) {
	s, fake := openFake(t)
	fake.When(func(r *http.Request) bool { return r.Method == http.MethodDelete && r.URL.Query().Has("uploadId") }).Times(2).
		FailWith(http.StatusInternalServerError, "InternalError", 1)
	body := anyBytes(12 << 20)
	_, err := s.Put(t.Context(), "key", object.BytesSource(body), object.PutOptions{SHA256: object.Digest{1}})
	wantErr(t, err, object.ErrDigest)
	removals := count(fake, func(r s3test.Request) bool { return r.Method == http.MethodDelete && r.Query.Has("uploadId") })
	if removals != 3 {
		t.Errorf("the parts are removed with %d requests, 2 of which failed", removals)
	}
}

type failingReader struct{ err error }

func (r *failingReader) Read([]byte) (int, error) { return 0, r.err }

// A callingReader calls a function and then waits for its consequences: the
// reader around it looks at its context.
type callingReader struct{ call func() }

func (r *callingReader) Read(p []byte) (int, error) {
	r.call()
	return copy(p, "x"), nil
}

func TestAPartThatFailsIsSentAgain(t *testing.T) {
	s, fake := openFake(t)
	fake.When(func(r *http.Request) bool { return r.URL.Query().Has("partNumber") }).Times(2).FailWith(http.StatusInternalServerError, "InternalError", 1)
	body := anyBytes(12 << 20)
	putBytes(t, s, "key", body, object.PutOptions{})
	if got, err := read(t.Context(), s, "key", object.GetOptions{}); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	parts := count(fake, func(r s3test.Request) bool { return r.Method == http.MethodPut && r.Query.Has("partNumber") })
	if parts != 5 {
		t.Errorf("3 parts took %d requests, 2 of which failed", parts)
	}
}

// Services that are not AWS refuse most of what the SDK would add by itself.
func TestRequestsCarryOnlyTheChecksumsThatWereAskedFor(t *testing.T) {
	for mode, want := range map[string]bool{origin.ChecksumsAuto: false, origin.ChecksumsWhenRequired: false, origin.ChecksumsWhenSupported: true} {
		t.Run(mode, func(t *testing.T) {
			t.Setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "")
			s, fake := openFake(t, func(c *origin.S3Config) { c.Checksums = mode })
			put(t, s, "small", "x", object.PutOptions{})
			putBytes(t, s, "large", anyBytes(6<<20), object.PutOptions{})
			wantBytes(t, s, "small", "x")
			for _, r := range fake.Requests() {
				has := false
				for name := range r.Header {
					has = has || strings.HasPrefix(name, "X-Amz-Checksum-") || name == "X-Amz-Sdk-Checksum-Algorithm" || name == "X-Amz-Trailer"
				}
				if r.Method == http.MethodPut && has != want || r.Method == http.MethodGet && has {
					t.Errorf("%s %s?%s: checksums %v", r.Method, r.Path, r.Query.Encode(), has)
				}
			}
		})
	}
}

func wantBytes(t *testing.T, s object.Store, key object.Key, want string) {
	t.Helper()
	if got, err := read(t.Context(), s, key, object.GetOptions{}); err != nil || string(got) != want {
		t.Errorf("%q has %q, %v", key, got, err)
	}
}

func TestProvidersWithQuirksAreServed(t *testing.T) {
	for name, quirk := range map[string]s3test.Quirk{"R2": s3test.QuirkR2, "B2": s3test.QuirkB2, "no encoding of names": s3test.QuirkNoURLEncoding} {
		t.Run(name, func(t *testing.T) {
			fake := s3test.NewFake(t, s3test.FakeQuirks(quirk))
			s := openS3(t, s3Config(t, fake.Server))
			put(t, s, "a b/ü+%", "x", object.PutOptions{})
			putBytes(t, s, "large", anyBytes(6<<20), object.PutOptions{})
			wantBytes(t, s, "a b/ü+%", "x")
			wantNames(t, s, object.ListOptions{}, "a b/ü+%", "large")
			if err := s.Delete(t.Context(), "large", object.DeleteOptions{}); err != nil {
				t.Error(err)
			}
			if caps, err := s.Probe(t.Context()); err != nil || !caps.Strong() {
				t.Errorf("%+v, %v", caps, err)
			}
		})
	}
}

func TestEncryptionIsAskedForWithEveryWrite(t *testing.T) {
	s, fake := openFake(t, func(c *origin.S3Config) { c.SSE, c.SSEKMSKeyID = "aws:kms", "key-1" })
	put(t, s, "small", "x", object.PutOptions{})
	putBytes(t, s, "large", anyBytes(6<<20), object.PutOptions{})
	begun := 0
	for _, r := range fake.Requests() {
		if isPut(r) || r.Method == http.MethodPost && r.Query.Has("uploads") {
			begun++
			if r.Header.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "key-1" {
				t.Errorf("%s %s: %v", r.Method, r.Path, r.Header)
			}
		}
	}
	if begun != 2 {
		t.Errorf("%d writes began", begun)
	}
}

func TestAFullSpoolIsUnavailable(t *testing.T) {
	dir := t.TempDir()
	mountTmpfs(t, dir, 0, "size=1m")
	s, fake := openFake(t, func(c *origin.S3Config) { c.Memory, c.SpoolDir = 1, dir })
	for _, size := range []int{3 << 20, 12 << 20} {
		for _, announced := range []int64{int64(size), -1} {
			_, err := s.Put(t.Context(), "key", object.ReaderSource(bytes.NewReader(anyBytes(size)), announced), object.PutOptions{})
			wantErr(t, err, object.ErrUnavailable)
			if errors.Is(err, object.ErrUnknownOutcome) {
				t.Errorf("nothing was sent: %v", err)
			}
		}
	}
	if n := len(fake.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	put(t, s, "key", "small enough", object.PutOptions{})
}

// The error of a source once was lost to a variable of the same name, and the
// source was read on.
func TestASourceThatFailedIsNotReadOn(t *testing.T) {
	s, fake := openFake(t)
	failure := errors.New("a moment of weakness")
	src := io.MultiReader(bytes.NewReader(anyBytes(1000)), &onceFailing{err: failure}, bytes.NewReader(anyBytes(12<<20)))
	_, err := s.Put(t.Context(), "key", object.ReaderSource(src, -1), object.PutOptions{})
	wantErr(t, err, failure)
	if n := len(fake.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// A onceFailing fails the first time and is at its end then.
type onceFailing struct{ err error }

func (r *onceFailing) Read([]byte) (int, error) {
	if err := r.err; err != nil {
		r.err = nil
		return 0, err
	}
	return 0, io.EOF
}
