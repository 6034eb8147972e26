package origin_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// What a write that has no condition of its caller's does with the bucket.

const (
	smallBody = 1000
	largeBody = 6 << 20 // two parts
)

// writesOf returns the requests since a number of them, each by its method and
// the condition it has. Those that send parts are left out: each object needs
// them once.
func writesOf(fake *s3test.Fake, since int) (asked []string) {
	for _, r := range fake.Requests()[since:] {
		if r.Query.Has("uploads") || r.Query.Has("partNumber") {
			continue
		}
		cond := ""
		if m := r.Header.Get("If-Match"); m != "" {
			cond = " " + strings.Trim(m, `"`)
		}
		if r.Header.Get("If-None-Match") != "" {
			cond = " new"
		}
		asked = append(asked, r.Method+cond)
	}
	return asked
}

func wantRequests(t *testing.T, fake *s3test.Fake, since int, want ...string) {
	t.Helper()
	if got := writesOf(fake, since); !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

// stale is a version that no test stores.
const stale = "0123456789abcdef0123456789abcdef"

func TestAPutAsksNoMoreThanItMust(t *testing.T) {
	for _, size := range []int{smallBody, largeBody} {
		write := http.MethodPut
		if size == largeBody {
			write = http.MethodPost
		}
		for name, c := range map[string]struct {
			exists bool
			base   string // "right", or as it is
			want   []string
		}{
			"something new":               {false, "", []string{"HEAD", write + " new"}},
			"an overwrite":                {true, "", []string{"HEAD", write + " right"}},
			"a right base":                {true, "right", []string{write + " right"}},
			"a wrong base":                {true, stale, []string{write + " " + stale, "HEAD", write + " right"}},
			"a base that is gone already": {false, stale, []string{write + " " + stale, write + " new"}},
		} {
			t.Run(name+" of "+strconv.Itoa(size), func(t *testing.T) {
				s, fake := openFake(t)
				right := put(t, s, "other", "seen", object.PutOptions{}).ETag // the bucket is known to be there
				if c.exists {
					right = put(t, s, "key", "before", object.PutOptions{}).ETag
				}
				name := func(s string) string { return strings.ReplaceAll(s, "right", string(right)) }
				for i := range c.want {
					c.want[i] = name(c.want[i])
				}
				since := len(fake.Requests())
				info := putBytes(t, s, "key", anyBytes(size), object.PutOptions{Base: object.ETag(name(c.base))})
				wantRequests(t, fake, since, c.want...)
				if got, err := read(t.Context(), s, "key", object.GetOptions{}); err != nil || len(got) != size || headOf(t, s).Version != info.Version {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if st := s.Stats(); st.Retries != 0 || st.Settled != 0 {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

func TestADeleteAsksNoMoreThanItMust(t *testing.T) {
	for name, c := range map[string]struct {
		exists bool
		base   string
		want   []string
	}{
		"something":                   {true, "", []string{"HEAD", "DELETE right"}},
		"nothing":                     {false, "", []string{"HEAD"}},
		"a right base":                {true, "right", []string{"DELETE right"}},
		"a wrong base":                {true, stale, []string{"DELETE " + stale, "HEAD", "DELETE right"}},
		"a base that is gone already": {false, stale, []string{"DELETE " + stale}},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake := openFake(t)
			right := put(t, s, "other", "seen", object.PutOptions{}).ETag
			if c.exists {
				right = put(t, s, "key", "before", object.PutOptions{}).ETag
			}
			name := func(s string) string { return strings.ReplaceAll(s, "right", string(right)) }
			for i := range c.want {
				c.want[i] = name(c.want[i])
			}
			since := len(fake.Requests())
			must(t, s.Delete(t.Context(), "key", object.DeleteOptions{Base: object.ETag(name(c.base))}))
			wantRequests(t, fake, since, c.want...)
			wantMissing(t, s, "key")
		})
	}
}

func TestTheConditionOfACallerIsSentAsItIs(t *testing.T) {
	s, fake := openFake(t)
	one := put(t, s, "key", "one", object.PutOptions{}).ETag
	since := len(fake.Requests())
	_, err := s.Put(t.Context(), "key", object.BytesSource([]byte("x")), object.PutOptions{IfMatch: object.MatchETag(stale), Base: one})
	wantErr(t, err, object.ErrPrecondition)
	_, err = s.Put(t.Context(), "key", object.BytesSource([]byte("x")), object.PutOptions{IfNoneMatch: object.MatchAny(), Base: one})
	wantErr(t, err, object.ErrPrecondition)
	two := put(t, s, "key", "two", object.PutOptions{IfMatch: object.MatchETag(one), Base: stale}).ETag
	wantErr(t, s.Delete(t.Context(), "key", object.DeleteOptions{IfMatch: object.MatchETag(one), Base: two}), object.ErrPrecondition)
	wantRequests(t, fake, since, "PUT "+stale, "PUT new", "PUT "+string(one), "HEAD")
	wantBytes(t, s, "key", "two")
}

// writers are the ways in which "key" is written without a condition.
var writers = map[string]struct {
	method string
	size   int // of the body; 0 deletes
	write  func(ctx context.Context, s *origin.S3) error
}{
	"put": {http.MethodPut, smallBody, func(ctx context.Context, s *origin.S3) error {
		_, err := s.Put(ctx, "key", object.BytesSource(anyBytes(smallBody)), object.PutOptions{})
		return err
	}},
	"put in parts": {http.MethodPost, largeBody, func(ctx context.Context, s *origin.S3) error {
		_, err := s.Put(ctx, "key", object.BytesSource(anyBytes(largeBody)), object.PutOptions{})
		return err
	}},
	"delete": {http.MethodDelete, 0, func(ctx context.Context, s *origin.S3) error {
		return s.Delete(ctx, "key", object.DeleteOptions{})
	}},
}

// decides reports whether a request is the one of a write that changes the
// object.
func decides(method string) func(r *http.Request) bool {
	return func(r *http.Request) bool {
		q := r.URL.Query()
		return r.Method == method && !q.Has("partNumber") && !q.Has("uploads") && (method == http.MethodPost) == q.Has("uploadId")
	}
}

// abandon begins a write of "key", leaves it when its last request has been sent
// and before anybody has carried that out, and returns what holds it.
func abandon(t *testing.T, s *origin.S3, fake *s3test.Fake, method string, write func(ctx context.Context, s *origin.S3) error) *s3test.Late {
	t.Helper()
	// An upload that could be aborted would take its last request with it.
	undo := fake.When(func(r *http.Request) bool { return r.Method == http.MethodDelete && r.URL.Query().Has("uploadId") }).
		FailWith(http.StatusInternalServerError, "InternalError", 1)
	defer undo()
	late := fake.When(decides(method)).Times(1).Late(method)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go func() {
		<-late.Arrived
		leave()
	}()
	err := write(ctx, s)
	wantErr(t, err, object.ErrUnknownOutcome)
	wantErr(t, err, context.Canceled)
	return late
}

func TestAWriteThatComesLateBuriesNothing(t *testing.T) {
	for name, w := range writers {
		for weak, later := range map[bool]string{false: "later", true: ""} {
			t.Run(name+", weak "+strconv.FormatBool(weak), func(t *testing.T) {
				s, fake := openFake(t)
				if weak { // to see that the test can fail
					fake.WeakConditions()
					fake.IgnoreConditionalDelete()
				}
				for _, before := range []string{"", "before"} { // what is there when the write begins
					if fake.PutObject("key", []byte(before), nil); before == "" {
						must(t, s.Delete(t.Context(), "key", object.DeleteOptions{}))
						if w.size == 0 {
							continue // nothing is sent
						}
					}
					late := abandon(t, s, fake, w.method, w.write)
					put(t, s, "key", "later", object.PutOptions{})
					if late.Apply() != 1 {
						t.Fatal("nothing was held")
					}
					got, err := read(t.Context(), s, "key", object.GetOptions{})
					if later != "" && (err != nil || string(got) != later) {
						t.Errorf("a write that was given up shows after a later one: %.20q, %v", got, err)
					}
					if later == "" && err == nil && len(got) != w.size {
						t.Errorf("the late write did not come: %.20q", got)
					}
				}
			})
		}
	}
}

// It may also come while another write is on its way that was made for the same
// base.
func TestAWriteThatComesJustBeforeAnotherIsOverwritten(t *testing.T) {
	for name, w := range writers {
		t.Run(name, func(t *testing.T) {
			s, fake := openFake(t)
			base := put(t, s, "key", "before", object.PutOptions{}).ETag
			late := abandon(t, s, fake, w.method, w.write)
			if late.Apply() != 1 {
				t.Fatal("nothing was held")
			}
			put(t, s, "key", "later", object.PutOptions{Base: base})
			wantBytes(t, s, "key", "later")
		})
	}
}

func TestWritersWithStaleBasesAllSucceed(t *testing.T) {
	fake := s3test.NewFake(t)
	var nodes []*origin.S3
	for range 4 {
		nodes = append(nodes, openS3(t, s3Config(t, fake.Server)))
	}
	const rounds = 3
	base := put(t, nodes[0], "key", "before", object.PutOptions{}).ETag
	var all sync.WaitGroup
	for i, s := range nodes {
		all.Go(func() {
			for round := range rounds {
				body := strconv.Itoa(i) + "/" + strconv.Itoa(round)
				if info, err := s.Put(t.Context(), "key", object.BytesSource([]byte(body)), object.PutOptions{Base: base}); err != nil || info.Size != int64(len(body)) {
					t.Errorf("%s: %v", body, err)
				}
			}
		})
	}
	all.Wait()
	if got, err := read(t.Context(), nodes[0], "key", object.GetOptions{}); err != nil || !strings.HasSuffix(string(got), "/"+strconv.Itoa(rounds-1)) {
		t.Errorf("the last write is %q, %v", got, err)
	}
}

// otherwise lets somebody else write "key" right after the write that decides
// was carried out, or instead of it, and breaks the connection.
func otherwise(fake *s3test.Fake, method string, carriedOut bool, then func()) {
	fake.When(decides(method)).Times(1).Intercept(func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		if carriedOut {
			next.ServeHTTP(discard{http.Header{}}, r)
		}
		then()
		panic(http.ErrAbortHandler)
	})
}

// A discard is where an answer gets lost.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestAWriteWithoutAnAnswerIsSettledByWhatTheBucketHolds(t *testing.T) {
	for name, w := range writers {
		for fate, c := range map[string]struct {
			carriedOut, overwritten bool
			want                    error
		}{
			"carried out":                      {true, false, nil},
			"carried out and then overwritten": {true, true, object.ErrUnknownOutcome},
			"not carried out":                  {false, false, object.ErrUnknownOutcome}, // for all we know it may yet be
			"not, and somebody else wrote":     {false, true, object.ErrUnknownOutcome},
		} {
			if w.method == http.MethodDelete {
				c.want = object.ErrUnknownOutcome // nothing would tell whose delete it was
			}
			t.Run(name+", "+fate, func(t *testing.T) {
				s, fake := openFake(t)
				base := put(t, s, "key", "before", object.PutOptions{}).ETag
				since := len(fake.Requests())
				otherwise(fake, w.method, c.carriedOut, func() {
					if c.overwritten {
						fake.PutObject("key", []byte("somebody else's"), nil)
					}
				})
				err := w.write(t.Context(), s)
				if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				sent := 0
				for _, r := range writesOf(fake, since) {
					if r == w.method+" "+string(base) {
						sent++
					} else if strings.HasPrefix(r, w.method+" ") {
						t.Errorf("it was sent for another base: %s", r)
					}
				}
				if sent != 1 {
					t.Errorf("it was sent %d times: %q", sent, writesOf(fake, since))
				}
				if c.overwritten {
					wantBytes(t, s, "key", "somebody else's")
				}
				if st := s.Stats(); st.Settled != 1 || (st.Unknown == 1) != (c.want != nil) {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

// Of two who delete the same version only one may be told that he did.
func TestADeleteOfOneVersionWithoutAnAnswerStaysUnknown(t *testing.T) {
	s, fake := openFake(t)
	one := put(t, s, "key", "one", object.PutOptions{}).ETag
	otherwise(fake, http.MethodDelete, true, func() {})
	wantErr(t, s.Delete(t.Context(), "key", object.DeleteOptions{IfMatch: object.MatchETag(one)}), object.ErrUnknownOutcome)
}

func TestAServiceWithoutConditionsIsAskedForNone(t *testing.T) {
	for name, c := range map[string]struct {
		turn func(f *s3test.Fake)
		want []string
	}{
		"of writes":  {func(f *s3test.Fake) { f.WeakConditions() }, []string{"PUT", "PUT", "HEAD", "DELETE right"}},
		"of deletes": {func(f *s3test.Fake) { f.IgnoreConditionalDelete() }, []string{"HEAD", "PUT new", "PUT right", "DELETE"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake := openFake(t)
			c.turn(fake)
			if _, err := s.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			put(t, s, "other", "seen", object.PutOptions{})
			since := len(fake.Requests())
			right := put(t, s, "key", "same", object.PutOptions{}).ETag
			put(t, s, "key", "same", object.PutOptions{Base: right})
			must(t, s.Delete(t.Context(), "key", object.DeleteOptions{}))
			for i := range c.want {
				c.want[i] = strings.ReplaceAll(c.want[i], "right", string(right))
			}
			wantRequests(t, fake, since, c.want...)
			wantMissing(t, s, "key")
		})
	}
}

func TestAServiceThatRefusesConditionsGetsNone(t *testing.T) {
	s, fake := openFake(t)
	fake.When(func(r *http.Request) bool { return r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != "" }).
		FailWith(http.StatusNotImplemented, "NotImplemented", 1)
	for _, w := range writers { // in any order
		must(t, w.write(t.Context(), s))
	}
	fake.PutObject("key", []byte("x"), nil)
	must(t, s.Delete(t.Context(), "key", object.DeleteOptions{}))
	wantMissing(t, s, "key")
}

// Whoever never gets his turn is told so, and that nothing has changed.
func TestAWriteThatIsAlwaysTooLateEnds(t *testing.T) {
	for name, w := range writers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, fake := openFake(t)
			fake.PutObject("key", []byte("x"), nil)
			n := 0
			fake.When(decides(w.method)).Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				n++
				fake.PutObject("key", []byte(strconv.Itoa(n)), nil)
				next.ServeHTTP(rw, r)
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := w.write(ctx, s)
			wantErr(t, err, object.ErrUnavailable)
			if errors.Is(err, object.ErrUnknownOutcome) || errors.Is(err, object.ErrPrecondition) || n < 10 {
				t.Errorf("after %d attempts: %v", n, err)
			}
			wantBytes(t, s, "key", strconv.Itoa(n))
		})
	}
}
