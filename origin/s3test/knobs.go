package s3test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Knobs spoil the answers of a Fake. What was turned last sees a request first,
// and each method returns what turns its knob back; see Intercept for all at once.
// A knob holds for requests that arrive after it was turned.
type Knobs struct {
	fake *Fake
	when func(*http.Request) bool // nil: always
	left *atomic.Int64            // requests still to spoil; nil: no end
}

// An Interceptor answers a request instead of S3, or lets it have it: next.
// Panicking with http.ErrAbortHandler breaks the connection.
type Interceptor func(w http.ResponseWriter, r *http.Request, next http.Handler)

type knob struct {
	Knobs
	spoil Interceptor
}

// before returns the handler of a knob in front of another.
func (k *knob) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k.when != nil && !k.when(r) || k.left != nil && k.left.Add(-1) < 0 {
			next.ServeHTTP(w, r)
			return
		}
		k.spoil(w, r, next)
	})
}

// When returns the knobs for some requests only. The function may be called at
// once for several, and must not read the body.
func (k Knobs) When(which func(*http.Request) bool) Knobs {
	if before := k.when; before != nil {
		k.when = func(r *http.Request) bool { return before(r) && which(r) }
	} else {
		k.when = which
	}
	return k
}

// Methods returns the knobs for requests with one of the methods.
func (k Knobs) Methods(methods ...string) Knobs {
	return k.When(func(r *http.Request) bool { return slices.Contains(methods, r.Method) })
}

// Key returns the knobs for requests about one object, by its full name.
func (k Knobs) Key(name string) Knobs {
	return k.When(func(r *http.Request) bool {
		_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		return key == name
	})
}

// Times returns the knobs for the next n requests of those that they are for.
func (k Knobs) Times(n int) Knobs {
	k.left = new(atomic.Int64)
	k.left.Store(int64(n))
	return k
}

// Intercept is the general knob. nil turns all interceptions back, whoever made
// them, but not what WeakConditions and its like do.
func (k Knobs) Intercept(spoil Interceptor) (undo func()) {
	f := k.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	if spoil == nil {
		f.knobs = nil
		return func() {}
	}
	mine := &knob{k, spoil}
	f.knobs = append(f.knobs, mine)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.knobs = slices.DeleteFunc(slices.Clone(f.knobs), func(o *knob) bool { return o == mine })
	}
}

// FailWith answers a part of the requests, 1 for all, with an error of S3 and
// carries none of those out. Which ones is drawn, the same in every run.
func (k Knobs) FailWith(status int, code string, ratio float64) (undo func()) {
	var mu sync.Mutex
	draw := rand.New(rand.NewPCG(1, 2))
	return k.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		fails := draw.Float64() < ratio
		mu.Unlock()
		if !fails {
			next.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // or a client that still sends may see no answer
		sendRefusal(w, r, refuse(status, code, "a test asked for this"), k.fake.Region)
	})
}

// Blackhole takes requests in and answers none, until it is undone: then those
// that wait are cut off.
func (k Knobs) Blackhole() (undo func()) {
	released := make(chan struct{})
	back := k.Intercept(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the end of the connection is seen
		select {
		case <-released:
		case <-r.Context().Done():
		case <-k.fake.closing:
		}
		panic(http.ErrAbortHandler)
	})
	return sync.OnceFunc(func() {
		back()
		close(released)
	})
}

// LoseAnswer carries requests with a method out and breaks the connection
// instead of an answer.
func (k Knobs) LoseAnswer(method string) (undo func()) {
	return k.Methods(method).Intercept(func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

// A Late holds requests that are carried out when the test says so, by when
// their clients may have left.
type Late struct {
	// Arrived yields once for each request that is held, when all of it is
	// there.
	Arrived <-chan struct{}

	undo func()
	mu   sync.Mutex
	held []func()
	gone chan struct{}
}

// Late takes in requests with a method and holds them until Apply. Their clients
// get no answer, then or later: the connection breaks.
func (k Knobs) Late(method string) *Late {
	arrived := make(chan struct{}, 1<<10)
	l := &Late{Arrived: arrived, gone: make(chan struct{})}
	l.undo = k.Methods(method).Intercept(func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		later := r.Clone(context.WithoutCancel(r.Context()))
		later.Body = io.NopCloser(bytes.NewReader(body))
		l.mu.Lock()
		l.held = append(l.held, func() { next.ServeHTTP(httptest.NewRecorder(), later) })
		l.mu.Unlock()
		arrived <- struct{}{}
		select {
		case <-l.gone:
		case <-r.Context().Done():
		case <-k.fake.closing:
		}
		panic(http.ErrAbortHandler)
	})
	return l
}

// Apply carries out what is held, in the order of arrival, and returns how many
// requests that were. Later ones pass unhindered.
func (l *Late) Apply() int {
	l.undo()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, carryOut := range l.held {
		carryOut()
	}
	n := len(l.held)
	l.held = nil
	select {
	case <-l.gone:
	default:
		close(l.gone)
	}
	return n
}

// Drip sends the bodies of answers at a speed, in bytes per second.
func (k Knobs) Drip(speed int) (undo func()) {
	const steps = 20 // a second
	return k.answers(func(w http.ResponseWriter, r *http.Request, full *httptest.ResponseRecorder) {
		tick := time.NewTicker(time.Second / steps)
		defer tick.Stop()
		send(w, full)
		for piece := range slices.Chunk(full.Body.Bytes(), max(speed/steps, 1)) {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			case <-k.fake.closing:
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(piece) // the context ends if nobody reads
			flush(w)
		}
	})
}

// Truncate declares the whole body of an answer and sends n bytes of it.
// Answers that are not longer pass.
func (k Knobs) Truncate(n int) (undo func()) {
	return k.answers(func(w http.ResponseWriter, _ *http.Request, full *httptest.ResponseRecorder) {
		send(w, full)
		if full.Body.Len() <= n {
			_, _ = w.Write(full.Body.Bytes())
			return
		}
		_, _ = w.Write(full.Body.Bytes()[:n])
		flush(w)
		panic(http.ErrAbortHandler)
	})
}

// Redirect answers with another URL: the path of the request behind base.
func (k Knobs) Redirect(base string, status int) (undo func()) {
	return k.Intercept(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", base+r.URL.RequestURI())
		w.Header().Set("X-Amz-Bucket-Region", k.fake.Region)
		sendRefusal(w, r, refuse(status, "TemporaryRedirect", "Please re-send this request to the specified temporary endpoint."), k.fake.Region)
	})
}

// answers intercepts GETs that S3 answers with an object or a part of one.
func (k Knobs) answers(spoil func(w http.ResponseWriter, r *http.Request, full *httptest.ResponseRecorder)) (undo func()) {
	return k.Methods(http.MethodGet).Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		full := httptest.NewRecorder()
		for name, values := range w.Header() {
			full.Header()[name] = values
		}
		next.ServeHTTP(full, r)
		if full.Code != http.StatusOK && full.Code != http.StatusPartialContent {
			send(w, full)
			_, _ = w.Write(full.Body.Bytes())
			return
		}
		spoil(w, r, full)
	})
}

// send sends the head of a recorded answer.
func send(w http.ResponseWriter, full *httptest.ResponseRecorder) {
	for name, values := range full.Header() {
		w.Header()[name] = values
	}
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(full.Body.Len()))
	}
	w.WriteHeader(full.Code)
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() } // fails if nobody reads
