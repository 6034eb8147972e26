package peer

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// A guard lets in requests that prove that they come from the cluster. Without
// keys it lets everybody in.
type guard struct {
	keys     []*proofKey
	sessions *sessions
}

func newGuard(secrets [][]byte, cluster string) *guard {
	g := &guard{keys: newKeys(secrets, cluster)}
	if len(g.keys) > 0 {
		g.sessions = newSessions()
	}
	return g
}

// A proven request is one whose sender has the secret; its answer is proven with
// the same.
type proven struct {
	key *proofKey
	sum macSum
}

var (
	errNoProof   = errors.New("the request proves nothing: its sender was given no cluster secret")
	errOtherKey  = errors.New("the request was proven with another cluster secret")
	errForged    = errors.New("the proof is not that of this request")
	errReplayed  = errors.New("the request was there already")
	errChallenge = errors.New("the proof is not bound to this start of the node")
)

// admit checks a request's proof. It returns nil for one that needs none.
func (g *guard) admit(r *http.Request) (*proven, outcome, error) {
	if len(g.keys) == 0 {
		return nil, outcome{}, nil
	}
	values := r.Header[headerProof]
	if len(values) != 1 {
		return nil, unproven, errNoProof
	}
	c, ok := parseProof(values[0])
	if !ok {
		return nil, unproven, errForged
	}
	key := keyNamed(g.keys, c.key)
	if key == nil {
		return nil, unproven, errOtherKey
	}
	c.challenge = g.sessions.current()
	if [hintSize]byte(c.challenge[:hintSize]) != c.hint {
		return nil, challenged, errChallenge
	}
	sum := key.ofRequest(r.Method, r.RequestURI, r.Header, &c.stamp)
	if !sum.equal(c.sum) {
		return nil, unproven, errForged
	}
	switch current, fresh := g.sessions.use(&c.stamp); {
	case !current:
		return nil, challenged, errChallenge
	case !fresh:
		return nil, replayed, errReplayed
	}
	return &proven{key: key, sum: sum}, outcome{}, nil
}

func keyNamed(keys []*proofKey, id [keyIDSize]byte) *proofKey {
	for _, k := range keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// invite tells a client what its proof has to be bound to.
func (g *guard) invite(header http.Header) {
	c := g.sessions.current()
	header[headerChallenge] = []string{hex.EncodeToString(c[:])}
}

// refusalLogInterval is how often refusals of one kind are logged at most. A
// stranger may send as many as it likes.
const refusalLogInterval = time.Second

// A refusalLog logs refusals at a bounded rate.
type refusalLog struct {
	log *slog.Logger

	mu   sync.Mutex // guards the following
	kind map[string]*refusals
}

type refusals struct {
	logged   time.Time
	withheld int // since then
}

func (l *refusalLog) refused(from string, o outcome, err error) {
	l.mu.Lock()
	one := l.kind[o.code] // one of a few codes
	if one == nil {
		one = &refusals{}
		l.kind[o.code] = one
	}
	now := time.Now()
	if now.Sub(one.logged) < refusalLogInterval {
		one.withheld++
		l.mu.Unlock()
		return
	}
	withheld := one.withheld
	one.logged, one.withheld = now, 0
	l.mu.Unlock()
	l.log.Warn("peer request refused", "from", from, "code", o.code, "err", err, "more_before", withheld)
}

// A challengeError is the answer of a handler that wants the request bound to
// another challenge, and has done nothing.
type challengeError struct {
	challenge challenge
	replayed  bool // it was there before, in this or another guise, and may have been carried out
}

func (e *challengeError) Error() string { return "the peer began anew and asks for another proof" }

// challengeOf returns the challenge that an answer carries.
func challengeOf(resp *http.Response) (c challenge, err error) {
	values := resp.Header[headerChallenge]
	if len(values) != 1 || len(values[0]) != hex.EncodedLen(challengeSize) {
		return c, fmt.Errorf("%w: %s: %w", errStranger, headerChallenge, errNoHeader)
	}
	if _, err := hex.Decode(c[:], []byte(values[0])); err != nil {
		return c, fmt.Errorf("%w: %s: %w", errStranger, headerChallenge, errField)
	}
	return c, nil
}
