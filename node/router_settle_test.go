package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
)

// A fate is what becomes of a write that reached another node.
type fate struct {
	applied bool   // the node does it
	after   func() // then, before anybody asks
	answers bool   // the node answers; otherwise the connection breaks
}

// overWire puts a real peer with a fate in the place of every member of the
// plan.
func (p *plan) overWire(t *testing.T, f *fate) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	handler := peer.NewHandler(p.memory, peer.HandlerConfig{Node: "owner", Cluster: "c", Log: log})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var to http.ResponseWriter = w
		if !f.answers {
			to = voiceless{httptest.NewRecorder(), w}
		}
		if f.applied {
			handler.ServeHTTP(to, r)
		} else if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Errorf("the body: %v", err)
		}
		if f.after != nil {
			f.after()
		}
		if !f.answers {
			panic(http.ErrAbortHandler)
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	pool := peer.NewPool(peer.Config{Node: "self", Cluster: "c", Log: log})
	t.Cleanup(func() {
		pool.Close()
		server.CloseClientConnections()
		server.Close()
	})
	client := pool.Client(strings.TrimPrefix(server.URL, "http://"))
	for _, s := range p.stations {
		s.Store = client
	}
}

// A voiceless writer takes an answer that nobody gets; what the handler does to
// the connection still happens.
type voiceless struct {
	*httptest.ResponseRecorder
	real http.ResponseWriter
}

func (v voiceless) Unwrap() http.ResponseWriter { return v.real }

// An oracle is an authority that counts what it is asked.
type oracle struct {
	object.Store
	heads int
}

func (o *oracle) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	o.heads++
	return o.Store.Head(ctx, key, opt)
}

func TestAPutWhoseAnswerIsLostIsSettledByTheAuthority(t *testing.T) {
	for _, class := range []object.Class{object.Mutable, object.Immutable, object.Verified} {
		for name, c := range map[string]struct {
			applied, overwritten bool
			want                 error
		}{
			"applied":                        {true, false, nil},
			"applied and overwritten":        {true, true, object.ErrUnknownOutcome},
			"not applied":                    {false, false, object.ErrUnknownOutcome},
			"not applied, and another wrote": {false, true, object.ErrUnknownOutcome},
		} {
			p := newPlan(t, class)
			asked := &oracle{Store: p.memory}
			p.local.Store = asked
			f := &fate{applied: c.applied}
			if c.overwritten {
				f.after = func() { p.put(t, "k", []byte("mine")) } // the same bytes, and another write
			}
			p.overWire(t, f)
			info, err := p.Put(t.Context(), "k", object.BytesSource([]byte("mine")), object.PutOptions{})
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			if asked.heads != 1 {
				t.Errorf("%s: the authority was asked %d times", name, asked.heads)
			}
			if c.want != nil {
				continue
			}
			held, err := p.memory.Head(t.Context(), "k", object.HeadOptions{})
			if err != nil || info.Version != held.Version || info.ETag != held.ETag || info.Size != held.Size {
				t.Errorf("%s: answered %+v, the authority has %+v, %v", name, info, held, err)
			}
		}
	}
}

// Nobody can say what became of a Delete without an answer, also if the object is
// gone: it may be that somebody else deleted it, and that this Delete will take
// what is written next.
func TestADeleteWhoseAnswerIsLostStaysUnknown(t *testing.T) {
	for _, applied := range []bool{true, false} {
		p := newPlan(t, object.Mutable)
		p.put(t, "k", []byte("before"))
		asked := &oracle{Store: p.memory}
		p.local.Store = asked
		p.overWire(t, &fate{applied: applied})
		if err := p.Delete(t.Context(), "k", object.DeleteOptions{}); !errors.Is(err, object.ErrUnknownOutcome) {
			t.Errorf("applied %v: %v, want unknown", applied, err)
		}
		if asked.heads != 0 {
			t.Errorf("the authority was asked %d times", asked.heads)
		}
	}
}

// A member that answers that it does not know has asked already, and may know
// that what is there will not last.
func TestAMemberThatDoesNotKnowIsBelieved(t *testing.T) {
	p := newPlan(t, object.Mutable)
	asked := &oracle{Store: p.memory}
	p.local.Store = asked
	authority := p.memory
	unsure := &unsure{Store: authority}
	server := httptest.NewServer(peer.NewHandler(unsure, peer.HandlerConfig{Node: "owner", Cluster: "c", Log: slog.New(slog.DiscardHandler)}))
	pool := peer.NewPool(peer.Config{Node: "self", Cluster: "c", Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		pool.Close()
		server.Close()
	})
	for _, s := range p.stations {
		s.Store = pool.Client(strings.TrimPrefix(server.URL, "http://"))
	}
	if _, err := p.Put(t.Context(), "k", object.BytesSource([]byte("x")), object.PutOptions{}); !errors.Is(err, object.ErrUnknownOutcome) {
		t.Errorf("Put: %v", err)
	}
	if err := p.Delete(t.Context(), "k", object.DeleteOptions{}); !errors.Is(err, object.ErrUnknownOutcome) {
		t.Errorf("Delete: %v", err)
	}
	if asked.heads != 0 {
		t.Errorf("the authority was asked %d times", asked.heads)
	}
}

// An unsure Store writes and does not know whether that will last.
type unsure struct{ object.Store }

func (u *unsure) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	info, err := u.Store.Put(ctx, key, src, opt)
	return info, errors.Join(object.ErrUnknownOutcome, err)
}

func (u *unsure) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	return errors.Join(object.ErrUnknownOutcome, u.Store.Delete(ctx, key, opt))
}

// A stuck Store never answers a question, and notes for how long it was asked.
type stuck struct {
	object.Store
	asked time.Duration
}

func (s *stuck) Head(ctx context.Context, _ object.Key, _ object.HeadOptions) (object.Info, error) {
	began := time.Now()
	<-ctx.Done()
	s.asked = time.Since(began)
	return object.Info{}, ctx.Err()
}

func TestTheQuestionHasItsOwnTime(t *testing.T) {
	for _, left := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlan(t, object.Mutable)
			silent := &stuck{Store: p.memory}
			p.local.Store = silent
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			owner, _ := p.order("k")
			owner.fail = func(string) error {
				if left {
					leave()
				}
				return object.ErrUnknownOutcome
			}
			_, err := p.Put(ctx, "k", object.BytesSource([]byte("x")), object.PutOptions{})
			if !errors.Is(err, object.ErrUnknownOutcome) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if silent.asked != settleTimeout {
				t.Errorf("the authority had %v, want %v", silent.asked, settleTimeout)
			}
		})
	}
}

func TestEveryWriteHasAName(t *testing.T) {
	p := newPlan(t, object.Mutable)
	versions := map[string]bool{}
	for range 3 {
		info, err := p.Put(t.Context(), "k", object.ReaderSource(bytes.NewReader([]byte("x")), 1), object.PutOptions{})
		if err != nil || len(info.Version) < 26 { // of 32 letters each: 128 bits
			t.Errorf("%q, %v", info.Version, err)
		}
		versions[info.Version] = true
	}
	if len(versions) != 3 {
		t.Errorf("names %v", versions)
	}
	if info, err := p.Put(t.Context(), "k", object.BytesSource(nil), object.PutOptions{Version: "mine"}); err != nil || info.Version != "mine" {
		t.Errorf("%q, %v", info.Version, err)
	}
}
