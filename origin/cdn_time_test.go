package origin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/pace"
)

// A pipeNet is a network in memory, whose waiting a bubble's clock can see.
type pipeNet struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipeNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, errors.New("refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipeNet) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

// newBubbleRig returns a rig whose CDN is reached by a pipe. It is called in a
// bubble.
func newBubbleRig(t *testing.T) *cdnRig {
	t.Helper()
	s := &spy{Store: &objecttest.Memory{}}
	e := &edge{store: s.Store}
	wire := &pipeNet{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: e, ErrorLog: discardLog()}
	var served sync.WaitGroup
	served.Go(func() { server.Serve(wire) })
	t.Cleanup(func() {
		server.Close()
		served.Wait()
	})
	c := openCDN(t, s, "http://cdn.example", func(cfg *origin.CDNConfig) { cfg.AllowHTTP = true })
	c.DialBy(wire.dial)
	return &cdnRig{CDN: c, t: t, edge: e, spy: s}
}

// took holds what f takes to a duration of the bubble's clock.
func took(t *testing.T, want time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if got := time.Since(start); got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

// silent takes the request and says no more.
func silent(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }

// stalling sends n bytes of the honest answer and then nothing more.
func stalling(n int) behaviour {
	return func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		forge(func(h http.Header, b []byte) (int, []byte) {
			h.Set("Content-Length", strconv.Itoa(len(b)))
			return http.StatusOK, b[:n]
		})(w, r, honest)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// dripping sends so many bytes each second.
func dripping(perSecond int) behaviour {
	return func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		rec := httptest.NewRecorder()
		honest.ServeHTTP(rec, r)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		for body := rec.Body; body.Len() > 0; {
			if _, err := w.Write(body.Next(perSecond)); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return
			}
		}
	}
}

func TestASilentCDNCostsItsTimeoutOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		r.edge.act(silent)
		for i, of := range []func(uint64, int) (object.Key, []byte){r.verified, r.immutable} {
			key, body := of(uint64(i), cdnLarge)
			took(t, 2*time.Second, func() { r.wantRead(key, body, object.TierOrigin) })
		}
		r.wantMisses(origin.CDNTimeout, 2)
		if n := r.edge.asked.Load(); n != 2 {
			t.Errorf("the CDN was asked %d times, want once a read", n)
		}
	})
}

// What is no answer is not waited for, however long the CDN goes on with it.
func TestAnAnswerOfNoUseIsLeftAtOnce(t *testing.T) {
	for name, answer := range map[string]string{
		"another protocol":        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n",
		"a page without a length": "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"a long page":             "HTTP/1.1 404 Not Found\r\nContent-Length: 1000000\r\n\r\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newBubbleRig(t)
				r.edge.act(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
					conn, _, err := http.NewResponseController(w).Hijack()
					must(t, err)
					defer conn.Close()
					io.WriteString(conn, answer)
					io.Copy(io.Discard, conn) // until we hang up
				})
				key, body := r.verified(1, cdnSmall)
				took(t, 0, func() { r.wantRead(key, body, object.TierOrigin) })
			})
		})
	}
}

func TestASmallObjectMustComeWholeInTime(t *testing.T) {
	for name, b := range map[string]behaviour{"stalls": stalling(cdnSmall - 1), "drips": dripping(cdnSmall / 10)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newBubbleRig(t)
				key, body := r.verified(1, cdnSmall)
				r.edge.act(b)
				took(t, 2*time.Second, func() { r.wantRead(key, body, object.TierOrigin) })
				r.wantMisses(origin.CDNTimeout, 1)
			})
		})
	}
}

// wantResumed reads a large object whose body the CDN does not bring to its end.
func (r *cdnRig) wantResumed(key object.Key, want []byte) {
	r.t.Helper()
	got, info, err := readCDN(r.t.Context(), r.CDN, key)
	if err != nil || !bytes.Equal(got, want) || info.Tier != object.TierCDN {
		r.t.Fatalf("%d bytes from tier %q, %v; want %d", len(got), info.Tier, err, len(want))
	}
	if s := r.Stats(); s.Resumed != 1 || s.Bad != 0 || s.InFlight != 0 {
		r.t.Errorf("%+v, want one resumed", s)
	}
}

func TestABodyThatStallsIsContinuedUpstream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		key, body := r.immutable(1, cdnLarge)
		r.edge.act(stalling(cdnLarge - 5000))
		took(t, 2*time.Second, func() { r.wantResumed(key, body) })
		if opt := r.spy.lastGet.Load(); opt.Range.String() == "" || opt.IfMatch.String() != `"`+md5Hex(body)+`"` {
			t.Errorf("upstream was asked for %q if it is %s", opt.Range, opt.IfMatch)
		}
	})
}

func TestABodyMustKeepAPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		key, body := r.verified(1, cdnLarge)
		r.edge.act(dripping(50_000)) // it would take 26 s
		took(t, origin.CDNRateWindow, func() { r.wantResumed(key, body) })
	})
}

func TestAModestPaceIsEnough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		key, body := r.verified(1, cdnLarge)
		r.edge.act(dripping(100_000))
		r.wantRead(key, body, object.TierCDN)
		if n := r.Stats().Resumed; n != 0 {
			t.Error("it was given up")
		}
	})
}

// The time that a reader takes is not the CDN's.
func TestASlowReaderIsNoSlowCDN(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		key, body := r.verified(1, cdnLarge)
		obj, err := r.Get(t.Context(), key, object.GetOptions{})
		must(t, err)
		defer obj.Body.Close()
		var got []byte
		buf := make([]byte, 50_000)
		for {
			time.Sleep(time.Hour)
			n, err := obj.Body.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			must(t, err)
		}
		if s := r.Stats(); !bytes.Equal(got, body) || s.Resumed != 0 {
			t.Errorf("%d bytes, %+v", len(got), s)
		}
	})
}

func TestAReaderWhoLeavesSaysNothingAboutTheCDN(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		r.edge.act(silent)
		for i := range uint64(30) {
			key, _ := r.verified(i, 100)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/10)
			took(t, time.Second/10, func() {
				_, _, err := readCDN(ctx, r.CDN, key)
				wantErr(t, err, context.DeadlineExceeded)
			})
			cancel()
		}
		s := r.Stats()
		for reason, n := range s.Misses {
			if n != 0 {
				t.Errorf("%d misses are %s", n, reason)
			}
		}
		if s.Breaker != pace.Closed || s.InFlight != 0 || len(s.Misses) == 0 {
			t.Errorf("%+v", s)
		}
		if n := r.spy.gets.Load(); n != 0 {
			t.Errorf("upstream was asked %d times for nobody", n)
		}
	})
}

func TestTheBreakerSparesReadersABrokenCDN(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		key, body := r.verified(1, 100)
		r.edge.act(status(500))
		for range 20 {
			r.wantRead(key, body, object.TierOrigin)
		}
		asked := r.edge.asked.Load()
		took(t, 0, func() { r.wantRead(key, body, object.TierOrigin) })
		if s := r.Stats(); s.Breaker != pace.Open || r.edge.asked.Load() != asked || s.Misses[origin.CDNBroken] != 1 {
			t.Errorf("after %d failures: %+v", asked, s)
		}
		time.Sleep(5*time.Second + time.Millisecond)
		r.wantRead(key, body, object.TierOrigin) // a probe
		if n := r.edge.asked.Load(); n != asked+1 {
			t.Errorf("%d probes, want 1", n-asked)
		}
		r.wantRead(key, body, object.TierOrigin)
		r.wantMisses(origin.CDNBroken, 2)
		time.Sleep(5*time.Second + time.Millisecond)
		r.edge.acts.Store(nil)
		r.wantRead(key, body, object.TierCDN)
		r.wantRead(key, body, object.TierCDN)
		if s := r.Stats(); s.Breaker != pace.Closed {
			t.Errorf("after an answer the breaker is %v", s.Breaker)
		}
	})
}

// A CDN that begins and does not go on is as bad as one that does not begin, but
// the end of a long body says nothing about how it is now.
func TestTheBreakerCountsBodiesThatBreakEarly(t *testing.T) {
	for at, want := range map[int]pace.State{0: pace.Open, origin.CDNWhole - 1: pace.Open, origin.CDNWhole: pace.Closed, cdnLarge - 1: pace.Closed} {
		t.Run(strconv.Itoa(at), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newBubbleRig(t)
				key, body := r.verified(1, cdnLarge)
				r.edge.act(cutAt(at))
				for range 20 {
					got, _, err := readCDN(t.Context(), r.CDN, key)
					if err != nil || !bytes.Equal(got, body) {
						t.Fatalf("%d bytes, %v", len(got), err)
					}
				}
				if s := r.Stats(); s.Breaker != want || s.Resumed != 20 {
					t.Errorf("%+v, want it %v", s, want)
				}
			})
		})
	}
}

func TestAMissingObjectDoesNotOpenTheBreaker(t *testing.T) {
	for code, reason := range map[int]origin.CDNMiss{403: origin.CDNAbsent, 404: origin.CDNAbsent, 410: origin.CDNAbsent, 416: origin.CDNStatus} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newBubbleRig(t)
				key, body := r.verified(1, 100)
				r.edge.act(status(code))
				for range 100 {
					r.wantRead(key, body, object.TierOrigin)
				}
				if s := r.Stats(); s.Breaker != pace.Closed || r.edge.asked.Load() != 100 || s.Misses[reason] != 100 {
					t.Errorf("%+v, want 100 %s", s, reason)
				}
			})
		})
	}
}

func TestAWrongObjectIsBypassedForTenMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		wrong, wrongBody := r.verified(1, cdnSmall)
		right, rightBody := r.verified(2, cdnSmall)
		r.edge.act(lies()["flips a bit"])
		r.wantRead(wrong, wrongBody, object.TierOrigin)
		r.edge.acts.Store(nil)
		time.Sleep(10*time.Minute - time.Nanosecond)
		r.wantRead(wrong, wrongBody, object.TierOrigin)
		r.wantRead(right, rightBody, object.TierCDN)
		if s := r.Stats(); s.Bypassed != 1 || s.Bad != 1 || s.Misses[origin.CDNBypassed] != 1 || s.AllBypassed {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Nanosecond)
		r.wantRead(wrong, wrongBody, object.TierCDN)
		if s := r.Stats(); s.Bypassed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestThreeWrongObjectsInAMinuteBypassAll(t *testing.T) {
	for name, c := range map[string]struct {
		apart time.Duration
		keys  []uint64
		all   bool
	}{
		"three at once":              {0, []uint64{1, 2, 3}, true},
		"three within a minute":      {30*time.Second - time.Nanosecond, []uint64{1, 2, 3}, true},
		"three in a minute":          {30 * time.Second, []uint64{1, 2, 3}, false},
		"a row of them":              {30 * time.Second, []uint64{1, 2, 3, 4, 5, 6}, false},
		"two, one of them again":     {time.Second, []uint64{1, 2, 1, 2, 1}, false},
		"the same one at long range": {10 * time.Minute, []uint64{1, 1, 1, 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newBubbleRig(t)
				right, rightBody := r.verified(100, cdnSmall)
				r.edge.act(lies()["has another object"])
				for i, seed := range c.keys {
					if i > 0 {
						time.Sleep(c.apart)
					}
					key, body := r.verified(seed, cdnSmall)
					r.wantRead(key, body, object.TierOrigin)
				}
				r.edge.acts.Store(nil)
				if !c.all {
					r.wantRead(right, rightBody, object.TierCDN)
					return
				}
				time.Sleep(time.Minute - time.Nanosecond)
				r.wantRead(right, rightBody, object.TierOrigin)
				if s := r.Stats(); !s.AllBypassed || s.Misses[origin.CDNBypassed] != 1 {
					t.Errorf("%+v", s)
				}
				time.Sleep(time.Nanosecond)
				r.wantRead(right, rightBody, object.TierCDN)
				key, body := r.verified(c.keys[0], cdnSmall)
				r.wantRead(key, body, object.TierOrigin) // it still has some minutes
			})
		})
	}
}

// Readers who meet the same wrong object at the same time are one witness.
func TestManyReadersOfOneWrongObject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBubbleRig(t)
		wrong, body := r.verified(1, cdnSmall)
		right, rightBody := r.verified(2, cdnSmall)
		together := make(chan struct{})
		r.edge.act(func(w http.ResponseWriter, q *http.Request, honest http.Handler) {
			<-together
			lies()["flips a bit"](w, q, honest)
		})
		var readers sync.WaitGroup
		for range 10 {
			readers.Go(func() {
				got, _, err := readCDN(t.Context(), r.CDN, wrong)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		synctest.Wait()
		close(together)
		readers.Wait()
		r.edge.acts.Store(nil)
		r.wantRead(right, rightBody, object.TierCDN)
		if s := r.Stats(); s.Bad != 10 || s.Bypassed != 1 || s.AllBypassed {
			t.Errorf("%+v, want one key bypassed", s)
		}
	})
}
