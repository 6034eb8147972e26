package origin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

func isGet(r *http.Request) bool {
	return r.Method == http.MethodGet && !r.URL.Query().Has("list-type")
}

// wantNothingHeld checks that reads have given everything back.
func wantNothingHeld(t *testing.T, s *origin.S3) {
	t.Helper()
	if st := s.Stats(); st.InFlight != 0 || st.Waiting != 0 {
		t.Errorf("requests are under way still: %+v", st)
	}
	if !s.MemoryIsFree() {
		t.Error("memory is held still")
	}
}

// Whatever a service says, a body that ends cleanly is the object.
func TestALyingServiceIsNotBelieved(t *testing.T) {
	small, large := anyBytes(100_000), anyBytes(12<<20)
	for name, spoil := range map[string]func(k s3test.Knobs) func(){
		"truncated at once":      func(k s3test.Knobs) func() { return k.Truncate(0) },
		"truncated in the midst": func(k s3test.Knobs) func() { return k.Truncate(50_000) },
		"another ETag":           func(k s3test.Knobs) func() { return k.Lie(s3test.LieETag) },
		"another object":         func(k s3test.Knobs) func() { return k.Lie(s3test.LieObject) },
		"another length":         func(k s3test.Knobs) func() { return k.Lie(s3test.LieLength) },
		"an error page": func(k s3test.Knobs) func() {
			return k.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", "text/html")
				io.WriteString(w, "<html>please log in</html>")
			})
		},
		"another range": func(k s3test.Knobs) func() {
			return k.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Set("Range", "bytes=1-99")
				next.ServeHTTP(w, r)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake := openFake(t)
			fake.PutObject("other", anyBytes(77_777), nil)
			for key, body := range map[object.Key][]byte{"small": small, "large": large} {
				info := putBytes(t, s, key, body, object.PutOptions{})
				for _, opt := range []object.GetOptions{{}, {IfMatch: object.MatchETag(info.ETag)}, {Range: object.From(60_000), IfMatch: object.MatchETag(info.ETag)}} {
					undo := spoil(fake.When(isGet).Times(1))
					got, err := read(t.Context(), s, key, opt)
					undo()
					want := body
					if opt.Range.IsSet() {
						want = body[60_000:]
					}
					switch {
					case err != nil:
						if !errors.Is(err, object.ErrUnavailable) && !errors.Is(err, object.ErrPrecondition) {
							t.Errorf("%s: %v", key, err)
						}
					case !bytes.Equal(got, want) && (opt.IfMatch.IsSet() || !strings.HasPrefix(name, "another")):
						// Without a version to ask for, another object is as good as this one.
						t.Errorf("%s: %d bytes that end cleanly, want %d", key, len(got), len(want))
					}
				}
			}
			wantNothingHeld(t, s)
		})
	}
}

// A part that comes after the object was replaced must not be put behind the
// parts of the old one.
func TestAnObjectThatIsReplacedMeanwhileIsNotMixed(t *testing.T) {
	s, fake := openFake(t, func(c *origin.S3Config) { c.Parallel = 1 })
	old := anyBytes(12 << 20)
	putBytes(t, s, "key", old, object.PutOptions{})
	obj, err := s.Get(t.Context(), "key", object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	first := make([]byte, 1<<20)
	if _, err := io.ReadFull(obj.Body, first); err != nil {
		t.Fatal(err)
	}
	fake.PutObject("key", anyBytes(13<<20), nil)
	rest, err := io.ReadAll(obj.Body)
	wantErr(t, err, object.ErrUnavailable)
	if got := append(first, rest...); !bytes.HasPrefix(old, got) {
		t.Errorf("%d bytes, not all of the object that was opened", len(got))
	}
}

func TestABodyThatStandsStillIsGivenUpAndASlowOneIsNot(t *testing.T) {
	s, fake := openFake(t, func(c *origin.S3Config) { c.Timeout = 300 * time.Millisecond })
	body := anyBytes(100_000)
	putBytes(t, s, "key", body, object.PutOptions{})
	undo := fake.When(isGet).Drip(80_000) // for longer than the wait for one answer
	if got, err := read(t.Context(), s, "key", object.GetOptions{}); err != nil || !bytes.Equal(got, body) {
		t.Errorf("slow: %d bytes, %v", len(got), err)
	}
	undo()
	stall := make(chan struct{})
	defer close(stall)
	fake.When(isGet).Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		select {
		case <-stall:
		case <-r.Context().Done():
		}
	})
	within(t, time.Minute, func(ctx context.Context) {
		_, err := read(ctx, s, "key", object.GetOptions{})
		wantErr(t, err, object.ErrUnavailable)
	})
	wantNothingHeld(t, s)
}

func TestNoAnswerOfAServiceIsTakenForAMissingObject(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"403":                         {403, `<Error><Code>AccessDenied</Code></Error>`, origin.ErrRefused},
		"no bucket":                   {404, `<Error><Code>NoSuchBucket</Code></Error>`, origin.ErrRefused},
		"an unknown user":             {404, `<Error><Code>XAdminUserNotFound</Code></Error>`, object.ErrUnavailable},
		"a proxy without the service": {404, `<html>no such host</html>`, object.ErrUnavailable},
		"nothing":                     {404, ``, object.ErrUnavailable},
		"a redirect":                  {301, `<Error><Code>PermanentRedirect</Code></Error>`, origin.ErrRefused},
		"not implemented":             {501, ``, object.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake := openFake(t)
			fake.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			for op, err := range map[string]error{
				"get":  func() error { _, err := read(t.Context(), s, "key", object.GetOptions{}); return err }(),
				"head": func() error { _, err := s.Head(t.Context(), "key", object.HeadOptions{}); return err }(),
				"list": func() error {
					for _, err := range s.List(t.Context(), object.ListOptions{}) {
						return err
					}
					return nil
				}(),
			} {
				if errors.Is(err, object.ErrNotFound) || !errors.Is(err, object.ErrUnavailable) {
					t.Errorf("%s: %v", op, err)
				}
				if op == "get" && !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", op, err, c.want)
				}
			}
		})
	}
}

// Once it is known how fast the service usually is, a slow read gets a second
// request beside it.
func TestASlowReadIsOvertakenByItsSecondRequest(t *testing.T) {
	s, fake := openFake(t)
	put(t, s, "key", "bytes", object.PutOptions{})
	for range 100 {
		wantBytes(t, s, "key", "bytes")
	}
	released := make(chan struct{})
	undo := fake.When(isGet).Times(1).Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-released:
		case <-r.Context().Done():
		}
		next.ServeHTTP(w, r)
	})
	defer undo()
	defer close(released)
	within(t, 2*time.Second, func(ctx context.Context) { // the first request alone would take 3 s and then fail
		if got, err := read(ctx, s, "key", object.GetOptions{}); err != nil || string(got) != "bytes" {
			t.Errorf("%q, %v", got, err)
		}
	})
	if st := s.Stats(); st.HedgesWon != 1 || st.Retries != 0 {
		t.Errorf("%+v", st)
	}
}

func TestACloseInTheMiddleGivesEverythingBack(t *testing.T) {
	fake := s3test.NewFake(t)
	before := goleak.IgnoreCurrent()
	s, err := origin.OpenS3(t.Context(), s3Config(t, fake.Server))
	if err != nil {
		t.Fatal(err)
	}
	body := anyBytes(40 << 20)
	fake.PutObject("key", body, nil)
	for _, n := range []int64{0, 1, 5<<20 - 1, 5 << 20, 6 << 20, 21 << 20, 40 << 20} {
		obj, err := s.Get(t.Context(), "key", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.CopyN(io.Discard, obj.Body, n); err != nil {
			t.Fatalf("%d of %d bytes, %v", got, n, err)
		}
		if err := obj.Body.Close(); err != nil {
			t.Error(err)
		}
		if _, err := obj.Body.Read(make([]byte, 1)); err == nil {
			t.Error("a closed body can be read")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	obj, err := s.Get(ctx, "key", object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, obj.Body, 6<<20); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.Copy(io.Discard, obj.Body)
	wantErr(t, err, context.Canceled)
	obj.Body.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantNothingHeld(t, s)
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http.(*conn).serve")) // of the service
}

func TestALargeReadAsksForItsPartsAtOnceAndOnce(t *testing.T) {
	s, fake := openFake(t, func(c *origin.S3Config) { c.Parallel = 4 })
	body := anyBytes(22 << 20)
	fake.PutObject("key", body, nil)
	var now, most atomic.Int32
	fake.When(isGet).Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		next.ServeHTTP(w, r)
		now.Add(-1)
	})
	if got, err := read(t.Context(), s, "key", object.GetOptions{}); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	asked := map[string]int{}
	for _, r := range fake.Requests() {
		if r.Method == http.MethodGet {
			asked[r.Header.Get("Range")]++
			if r.Header.Get("Range") != fmt.Sprintf("bytes=0-%d", 5<<20-1) && r.Header.Get("If-Match") == "" {
				t.Errorf("a part without its version: %v", r.Header)
			}
		}
	}
	if len(asked) != 5 || most.Load() > 4 {
		t.Errorf("asked for %v, %d at once", asked, most.Load())
	}
	for part, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", part, n)
		}
	}
	wantNothingHeld(t, s)
}
