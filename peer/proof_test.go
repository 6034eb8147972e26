package peer

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

var (
	ourSecret   = []byte("the secret that our nodes share")
	otherSecret = []byte("a secret of somebody else's")
)

// secretly returns the configuration of a node with these secrets.
func secretly(secrets ...[]byte) Config {
	cfg := testConfig
	cfg.Secrets = secrets
	return cfg
}

// strict is a handler of store that asks for proofs, and counts refusals.
type strict struct {
	http.Handler
	mu      sync.Mutex
	refused map[string]int
}

func newStrict(store object.Store, secrets ...[]byte) *strict {
	s := &strict{refused: map[string]int{}}
	s.Handler = NewHandler(store, HandlerConfig{Node: "owner", Cluster: testConfig.Cluster, Secrets: secrets, Refused: func(code string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refused[code]++
	}})
	return s
}

func (s *strict) counted(code string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[code]
}

func TestConformanceWithASecret(t *testing.T) {
	objecttest.Test(t, func(t *testing.T) object.Store {
		return poolOf(t, secretly(ourSecret)).Client(serve(t, newStrict(new(objecttest.Memory), ourSecret)))
	})
}

func TestASecretIsChangedWithoutAStop(t *testing.T) {
	store := new(objecttest.Memory)
	h := newStrict(store, otherSecret, ourSecret)
	addr := serve(t, h)
	for _, secret := range [][]byte{ourSecret, otherSecret} {
		put(t, poolOf(t, secretly(secret)).Client(addr), "key", "body")
	}
	if len(h.refused) > 0 {
		t.Errorf("refused %v", h.refused)
	}
}

// strangers are clients that are not of the cluster, by what the handler calls
// them.
func strangers() map[string]struct {
	cfg  Config
	code string
} {
	elsewhere := secretly(ourSecret)
	elsewhere.Cluster = "staging"
	return map[string]struct {
		cfg  Config
		code string
	}{
		"no secret":       {secretly(), "unproven"},
		"another secret":  {secretly(otherSecret), "unproven"},
		"another cluster": {elsewhere, "wrong-cluster"},
	}
}

func TestStrangersChangeNothing(t *testing.T) {
	for name, c := range strangers() {
		t.Run(name, func(t *testing.T) {
			h := newStrict(untouchable{}, ourSecret)
			stranger := poolOf(t, c.cfg).Client(serve(t, h))
			asked := 0
			for op, err := range operations(t.Context(), stranger, object.BytesSource([]byte("body"))) {
				asked++
				switch op {
				case "put":
					wantErr(t, op, err, object.ErrUnavailable, ErrNotSent)
				case "delete":
					wantErr(t, op, err, object.ErrUnknownOutcome)
				default:
					wantErr(t, op, err, object.ErrUnavailable)
				}
				if c.code == "unproven" && !strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: the error does not say what is wrong: %v", op, err)
				}
			}
			if err := stranger.Alive(t.Context()); err == nil {
				t.Error("a stranger got a sign of life")
			}
			if n := h.counted(c.code); n != asked+1 {
				t.Errorf("%d of %d requests were counted as %q: %v", n, asked+1, c.code, h.refused)
			}
		})
	}
}

// recorded lets requests through and keeps what they were.
type recorded struct {
	http.Handler
	mu       sync.Mutex
	requests []*http.Request
}

func (r *recorded) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	again := httptest.NewRequest(req.Method, "/", nil)
	again.RequestURI, again.Header = req.RequestURI, req.Header.Clone()
	r.mu.Lock()
	r.requests = append(r.requests, again)
	r.mu.Unlock()
	r.Handler.ServeHTTP(w, req)
}

// recordedDelete returns a handler that has served a DELETE, and the request.
func recordedDelete(t *testing.T, store object.Store) (*strict, *http.Request) {
	t.Helper()
	h := newStrict(store, ourSecret)
	r := &recorded{Handler: h}
	c := poolOf(t, secretly(ourSecret)).Client(serve(t, r))
	put(t, c, "key", "body")
	if err := c.Delete(t.Context(), "key", object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	return h, r.requests[len(r.requests)-1]
}

func TestARecordedRequestIsWorthNothing(t *testing.T) {
	store := new(objecttest.Memory)
	h, request := recordedDelete(t, store)
	put(t, store, "key", "body")
	for name, handler := range map[string]http.Handler{
		"to the same handler": h,
		"to another one":      newStrict(store, ourSecret), // or the same node's next start
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request.Clone(t.Context()))
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, w.Code)
		}
	}
	if h.counted("replayed") != 1 {
		t.Errorf("refused %v", h.refused)
	}
	wantStored(t, store, "key", "body")
}

func TestAProofFitsOneRequest(t *testing.T) {
	for name, change := range map[string]func(r *http.Request){
		"method":       func(r *http.Request) { r.Method = http.MethodGet },
		"target":       func(r *http.Request) { r.RequestURI = "/o/other" },
		"options":      func(r *http.Request) { r.Header.Set(headerOptions, "if-match=*") },
		"sender":       func(r *http.Request) { r.Header.Set(headerFrom, "other") },
		"epoch":        func(r *http.Request) { r.Header.Set(headerEpoch, "1") },
		"a new header": func(r *http.Request) { r.Header.Set("Micelio-Whatever", "1") },
		"number": func(r *http.Request) {
			raw, _ := base64.RawURLEncoding.DecodeString(r.Header.Get(headerProof))
			raw[proofSize-macSize-1]++
			r.Header.Set(headerProof, base64.RawURLEncoding.EncodeToString(raw))
		},
		"junk":    func(r *http.Request) { r.Header.Set(headerProof, "junk") },
		"nothing": func(r *http.Request) { r.Header.Del(headerProof) },
		"twice":   func(r *http.Request) { r.Header.Add(headerProof, r.Header.Get(headerProof)) },
	} {
		h, request := recordedDelete(t, new(objecttest.Memory))
		change(request)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request)
		if w.Code != http.StatusUnauthorized || h.counted("unproven") != 1 {
			t.Errorf("%s: status %d, refused %v", name, w.Code, h.refused)
		}
	}
}

// An answer is believed if it is proven and to the very request.
func TestAnUnprovenAnswerIsNotBelieved(t *testing.T) {
	store := new(objecttest.Memory)
	put(t, store, "key", "body")
	good := newStrict(store, ourSecret)
	for name, spoil := range map[string]func(w *httptest.ResponseRecorder){
		"no proof":       func(w *httptest.ResponseRecorder) { w.Header().Del(headerProof) },
		"another status": func(w *httptest.ResponseRecorder) { w.Code = 404; w.Header().Set(headerError, "not-found") },
		"another object": func(w *httptest.ResponseRecorder) {
			w.Header().Set(headerInfo, strings.Replace(w.Header().Get(headerInfo), "size=4", "size=2", 1))
		},
		"junk": func(w *httptest.ResponseRecorder) { w.Header().Set(headerProof, "junk") },
	} {
		t.Run(name, func(t *testing.T) {
			c := poolOf(t, secretly(ourSecret)).Client(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				good.ServeHTTP(rec, r)
				if rec.Code == http.StatusOK {
					spoil(rec)
				}
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				w.WriteHeader(rec.Code)
				_, _ = w.Write(rec.Body.Bytes())
			})))
			_, err := c.Head(t.Context(), "key", object.HeadOptions{})
			wantErr(t, "head", err, object.ErrUnavailable)
			if !errors.Is(err, errStranger) {
				t.Errorf("not a stranger's: %v", err)
			}
		})
	}
}

func TestAnAnswerToAnotherRequestIsNotBelieved(t *testing.T) {
	store := new(objecttest.Memory)
	put(t, store, "key", "body")
	good := newStrict(store, ourSecret)
	var first *httptest.ResponseRecorder
	c := poolOf(t, secretly(ourSecret)).Client(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		good.ServeHTTP(rec, r)
		if rec.Code == http.StatusOK && first == nil {
			first = rec
		} else if rec.Code == http.StatusOK {
			rec = first // an answer that was right once
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
	})))
	if _, err := c.Head(t.Context(), "key", object.HeadOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Head(t.Context(), "key", object.HeadOptions{})
	wantErr(t, "head", err, object.ErrUnavailable)
}

func TestManyAtOnceAreNoReplays(t *testing.T) {
	store := new(objecttest.Memory)
	put(t, store, "key", "body")
	h := newStrict(store, ourSecret)
	c := poolOf(t, secretly(ourSecret)).Client(serve(t, h))
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for range 50 {
				if _, err := c.Head(t.Context(), "key", object.HeadOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if len(h.refused) > 0 {
		t.Errorf("refused %v", h.refused)
	}
}

// TestAWindowKnowsWhatWasUsed holds the window against a set.
func TestAWindowKnowsWhatWasUsed(t *testing.T) {
	w, used, last := &window{}, map[uint64]bool{}, uint64(0)
	for i := range uint64(200_000) {
		n := i*7919%4096 + i // ahead and behind by up to 4096
		switch {
		case i%50_000 == 49_999:
			n += 3 * replayWindow
		case i%1000 == 999:
			n = i / 2
		}
		current, fresh := w.use(n)
		wantCurrent := n > last || last-n < replayWindow
		if current != wantCurrent || current && fresh == used[n] {
			t.Fatalf("number %d after %d: current %v, fresh %v; used before: %v", n, last, current, fresh, used[n])
		}
		if current {
			used[n] = true
		}
		last = max(last, n)
	}
}

func TestTooManySessionsBeginAnew(t *testing.T) {
	s := newSessions()
	old := s.current()
	for i := range maxSessions + 1 {
		var st stamp
		st.challenge, st.number, st.session[0], st.session[1] = old, 1, byte(i), byte(i>>8)
		current, _ := s.use(&st)
		if current != (i < maxSessions) {
			t.Fatalf("session %d: current %v", i, current)
		}
	}
	if len(s.of) != 0 || s.current() == old {
		t.Error("the sessions are not void")
	}
}

// Whatever strangers send, the port goes on, and nothing is touched.
func TestJunkAtThePortTouchesNothing(t *testing.T) {
	h := newStrict(untouchable{}, ourSecret)
	addr := serve(t, h)
	for _, junk := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n\r\n", strings.Repeat("A", 1<<20),
		"GET /o/key HTTP/1.1\r\nHost: x\r\n\r\n", "PUT /o/key HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
		"DELETE /o/key HTTP/1.1\r\nHost: x\r\nMicelio-Hop: 1\r\nMicelio-Cluster: the%20cluster\r\nMicelio-From: x\r\nMicelio-Proof: " + strings.Repeat("A", 64) + "\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, junk) // which it may not want to hear out
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}
	if err := poolOf(t, secretly(ourSecret)).Client(addr).Alive(t.Context()); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestManyRefusalsAreFewLines(t *testing.T) {
	var log bytes.Buffer
	h := NewHandler(untouchable{}, HandlerConfig{Cluster: testConfig.Cluster, Secrets: [][]byte{ourSecret}, Log: textLog(&log)})
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		c := serve(h)
		for range 1000 {
			_ = c.Alive(t.Context()) // refused
		}
		pass(2 * refusalLogInterval)
		_ = c.Alive(t.Context())
	})
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "more_before=999") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

func BenchmarkProof(b *testing.B) {
	key := newKeys([][]byte{ourSecret}, "the cluster")[0]
	header := http.Header{
		headerHop: {"1"}, headerCluster: {"the%20cluster"}, headerFrom: {"node-1"}, headerEpoch: {"1234567890abcdef"},
		headerInfo: {string(encodeInfo(fullInfo()))},
	}
	b.ReportAllocs()
	for b.Loop() {
		key.ofAnswer(macSum{}, 200, header)
	}
}
