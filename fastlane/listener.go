package fastlane

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

// Config says what a Listener answers. All but Observe and Detail is required.
type Config struct {
	Bucket string // the only one; a name that needs no escaping
	Node   string // the Micelio-Node of answers that name no other node

	// Lookup finds what a read of a key answers, if that is known at once. It is
	// called by the goroutine of a connection, by many at a time. The key is valid
	// until it returns, and not checked; a is zero. If it returns false, it has counted nothing, and the server will ask
	// again its own way. It does so too, and what has been counted is counted again,
	// in the rare case that the object is found and cannot be answered here: if its
	// range selects nothing of it, or its metadata cannot be sent as it is.
	Lookup func(key object.Key, a *Answer) bool

	// Observe, if not nil, is called after each answer.
	Observe func(Observation)

	// Detail, if not nil, is asked before each answer whether Observe is to have a
	// Detail of it, by the time at which its request came. It must be quick, and
	// nothing is allocated if it says no.
	Detail func(now time.Time) bool

	// IdleTimeout is how long a connection may wait for its next request,
	// HeaderTimeout how long a request may take to arrive after that: those of the
	// server.
	IdleTimeout, HeaderTimeout time.Duration

	// StallTimeout is how long a client may take at most for one piece of an
	// answer, of at most 64 KiB: that of the handler. One that stands still is cut
	// after five sixths of it at the earliest: deadlines are not set anew for each of
	// thousands of requests a second.
	StallTimeout time.Duration
}

// An Answer is an object in memory.
type Answer struct {
	// Info describes the object, as the Store would have: Tier, Node and Age too.
	Info object.Info

	// Bytes are all of the object. Nobody changes them as long as they are Held.
	Bytes []byte

	// Held, if not nil, is released when Bytes are not needed any more.
	Held Releaser
}

// A Releaser is something that others can use again.
type Releaser interface {
	// Release is called once.
	Release()
}

// An Observation describes one answer.
type Observation struct {
	Head     bool
	Status   int
	Tier     object.Tier
	Duration time.Duration // from the request to the end of the answer
	Bytes    int64         // of the body; 0 if it could not all be sent

	// Detail is there if Config.Detail wanted it, or if the answer broke off. It is the
	// receiver's.
	Detail *Detail
}

// A Detail says what else is known of one answer. If several broke off at once, of
// all but the last only Remote is known.
type Detail struct {
	Key    object.Key
	Node   string // that answered, "" if that was forgotten before it broke off
	ID     string // of the request, the x-amz-request-id of its answer
	Remote string // the address that it came from

	// Parent and ClientID are the request's traceparent and X-Request-Id, not
	// checked; "" if it has none, or two.
	Parent   string
	ClientID string

	Err error // why it could not all be sent, nil if it was
}

// A Listener makes a server's connections answer plain reads by themselves. It is
// safe for concurrent use and starts nothing.
type Listener struct {
	net.Listener
	cfg       Config
	prefix    string // of the path of every key
	exchanges sync.Pool
	date      atomic.Pointer[dateLine]

	mu    sync.Mutex // guards the following
	conns map[*Conn]struct{}
}

// NewListener returns a Listener over inner. The server that gets it must call
// [ConnState] from its own hook; one that does not keeps to itself whatever comes
// after the first request that it was given.
func NewListener(inner net.Listener, cfg Config) *Listener {
	l := &Listener{Listener: inner, cfg: cfg, prefix: "/" + cfg.Bucket + "/", conns: make(map[*Conn]struct{})}
	l.exchanges.New = func() any { return &exchange{out: make([]byte, 0, outSize)} }
	return l
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err // the caller knows its own listener
	}
	conn := &Conn{Conn: c, l: l, isNew: true, armed: true}
	l.mu.Lock()
	l.conns[conn] = struct{}{}
	l.mu.Unlock()
	return conn, nil
}

func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// CloseIdle is for [http.Server.RegisterOnShutdown]. It closes the connections that
// the server takes for new ones, which it waits for during five seconds, although
// they have had answers and wait for their next request. An answer under way ends
// before that.
func (l *Listener) CloseIdle() {
	l.mu.Lock()
	var idle []*Conn
	for c := range l.conns {
		if c.alone.Load() {
			idle = append(idle, c)
		}
	}
	l.mu.Unlock()
	for _, c := range idle {
		_ = c.Close() // nobody is left to tell
	}
}

// ConnState is for the hook of the server, [http.Server.ConnState], which knows when
// the next request begins.
func ConnState(nc net.Conn, state http.ConnState) {
	if c, ok := nc.(*Conn); ok && state == http.StateIdle {
		c.handed, c.armed, c.isNew, c.readBy = false, true, false, time.Time{}
	}
}
