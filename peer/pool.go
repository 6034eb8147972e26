package peer

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Config.
const (
	DefaultConnectTimeout   = time.Second
	DefaultFirstByteTimeout = 10 * time.Second
	DefaultCommitTimeout    = time.Minute
	DefaultMaxIdlePerPeer   = 256

	// DefaultMaxInUsePerPeer is above what a herd of ten thousand clients makes
	// of one node: whoever is refused here fetches the object a second time. It
	// keeps a peer that takes requests and answers none from taking all file
	// descriptors and memory, and is far above what a peer that is well needs.
	DefaultMaxInUsePerPeer = 1 << 14
)

// InactivityTimeout is how long a body, in either direction, may stand still
// because of the network or the peer before the client gives the operation up.
// Time in which the caller does not read, or its source has nothing to give,
// does not count.
const InactivityTimeout = 30 * time.Second

// IdleTimeout is how long a connection is kept for the next request. The server
// in front of a handler must keep its side open for longer
// (http.Server.IdleTimeout), or requests race with its closing.
const IdleTimeout = 90 * time.Second

// bufferSize is that of a connection's two buffers, in bytes. With 64 KiB bulk
// transfers cost a third less CPU than with the default of 4 KiB; 256 KiB is
// no better.
const bufferSize = 64 << 10

// never is longer than any request: net/http sends a body unasked when it has
// waited this long for "100 Continue".
const never = 365 * 24 * time.Hour

// A Config is what all clients of a node share.
type Config struct {
	Node    string // id of this node, sent with every request
	Cluster string // name of the cluster; handlers of others refuse

	// ConnectTimeout bounds the opening of a connection, FirstByteTimeout what
	// comes after it until the peer answers a read or a DELETE, or asks for the
	// body of a PUT. On a miss the peer asks the origin before its first byte,
	// so the latter must cover the origin's latency. CommitTimeout bounds the
	// time from the last byte of a PUT to its answer, in which the peer makes
	// the object durable. 0 is the default for each.
	ConnectTimeout   time.Duration
	FirstByteTimeout time.Duration
	CommitTimeout    time.Duration

	// MaxIdlePerPeer is the number of unused connections kept to one peer, each
	// with 128 KiB of buffers. MaxInUsePerPeer is how many requests to one peer
	// may be under way at once, and as many with large bodies besides; one more
	// is refused with ErrBusy. 0 is the default for each.
	MaxIdlePerPeer  int
	MaxInUsePerPeer int

	// Secrets are what the nodes of the cluster share: requests are proven with
	// the first, and answers that prove nothing are not believed. Empty: all
	// are.
	Secrets [][]byte

	// Epoch, if not nil, names the view of the ring that the node has now. It is
	// sent with every request. OtherEpoch, if not nil, is told of answers from
	// peers that have another; it must be quick.
	Epoch      func() uint64
	OtherEpoch func(addr string, epoch uint64)

	// Dial opens connections; nil is TCP. Its context ends with ConnectTimeout.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Log *slog.Logger // nil to log nothing
}

func (cfg Config) withDefaults() Config {
	orElse := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	orElse(&cfg.ConnectTimeout, DefaultConnectTimeout)
	orElse(&cfg.FirstByteTimeout, DefaultFirstByteTimeout)
	orElse(&cfg.CommitTimeout, DefaultCommitTimeout)
	if cfg.MaxIdlePerPeer <= 0 {
		cfg.MaxIdlePerPeer = DefaultMaxIdlePerPeer
	}
	if cfg.MaxInUsePerPeer <= 0 {
		cfg.MaxInUsePerPeer = DefaultMaxInUsePerPeer
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// A Pool holds a node's connections to its peers, apart for each start of each
// peer: what was open to a process that is gone is never used for the next one.
// It is safe for concurrent use.
type Pool struct {
	cfg     Config
	cluster string      // as it travels
	marks   http.Header // on every request; the values are shared, never changed
	keys    []*proofKey
	epoch   epochMark
	once    *http.Transport // for requests that want a connection of their own

	answers quickBuffers // of quick reads

	mu      sync.RWMutex // guards the following
	clients map[start]*Client
	closed  bool
}

// A start is one start of a peer.
type start struct {
	addr string
	boot uint64
}

// NewPool returns a Pool without connections.
func NewPool(cfg Config) *Pool {
	p := &Pool{cfg: cfg.withDefaults(), cluster: string(appendEscaped(nil, cfg.Cluster)), clients: make(map[start]*Client)}
	p.keys, p.epoch.of = newKeys(cfg.Secrets, cfg.Cluster), cfg.Epoch
	p.marks = http.Header{
		headerHop:     {forwardedOnce},
		headerCluster: {p.cluster},
		headerFrom:    {string(appendEscaped(nil, cfg.Node))},
		"User-Agent":  {""}, // which net/http takes as none
	}
	p.once = p.newTransport()
	p.once.DisableKeepAlives = true
	return p
}

func (p *Pool) newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            p.dial,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    p.cfg.MaxIdlePerPeer,
		IdleConnTimeout:        IdleTimeout,
		ExpectContinueTimeout:  never,
		MaxResponseHeaderBytes: MaxHeaderBytes,
		ReadBufferSize:         bufferSize,
		WriteBufferSize:        bufferSize,
	}
}

// Client returns the Store of the peer that listens at addr, "host:port",
// whichever start of it that is. It opens nothing and costs little: callers need
// not keep it.
func (p *Pool) Client(addr string) *Client { return p.Peer(addr, 0) }

// Peer returns the Store of one start of the peer that listens at addr. It opens
// nothing and costs little: callers need not keep it.
func (p *Pool) Peer(addr string, boot uint64) *Client {
	at := start{addr, boot}
	p.mu.RLock()
	c := p.clients[at]
	p.mu.RUnlock()
	if c != nil {
		return c
	}
	c = &Client{pool: p, addr: addr, transport: p.newTransport(), lanes: lanes{most: int64(p.cfg.MaxInUsePerPeer)}}
	_, _ = rand.Read(c.session[:]) // never fails
	c.quick = newQuickLanes(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.clients[at]; other != nil {
		return other
	}
	if p.closed {
		c.quick.close()
	}
	p.clients[at] = c
	return c
}

// Keep closes the connections to all peers but those that are there, and forgets
// them. Requests under way go on; their connections are closed after them.
func (p *Pool) Keep(there func(addr string, boot uint64) bool) {
	var gone []*Client
	p.mu.Lock()
	for at, c := range p.clients {
		if !there(at.addr, at.boot) {
			gone = append(gone, c)
			delete(p.clients, at)
		}
	}
	p.mu.Unlock()
	for _, c := range gone {
		c.gone.Store(true)
		c.quick.close()
		c.transport.CloseIdleConnections()
	}
}

// Close closes the connections that no request uses, and all quick lanes, and
// waits for whatever looks after those. Clients may still be used and open new
// connections, but no lanes.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	clients := slices.Collect(maps.Values(p.clients))
	p.mu.Unlock()
	for _, c := range clients {
		c.quick.close()
		c.transport.CloseIdleConnections()
	}
}

// A dialError says that there is no connection, so nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func (p *Pool) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	began := time.Now()
	dialing, cancel := context.WithTimeout(ctx, p.cfg.ConnectTimeout)
	defer cancel()
	conn, err := p.cfg.Dial(dialing, network, addr)
	if err != nil {
		return nil, &dialError{fmt.Errorf("connecting: %w", err)}
	}
	p.cfg.Log.Debug("connected to peer", "addr", addr, "took", time.Since(began))
	return conn, nil
}

// A Client is the Store of one peer. It is safe for concurrent use.
//
// Its errors name the peer and match the sentinel that the peer's own Store
// returned. Everything else that can go wrong on the way, from a refused
// connection to a stranger's answer, is object.ErrUnavailable, or
// object.ErrUnknownOutcome for a write that may have been applied.
type Client struct {
	pool      *Pool
	addr      string
	transport *http.Transport
	lanes     lanes
	quick     *quickLanes
	gone      atomic.Bool // no connection is kept any more

	// What proofs of requests to this peer are made of.
	session   session
	number    atomic.Uint64
	challenge atomic.Pointer[challenge] // nil: not met yet
}

// Addr returns the address of the peer.
func (c *Client) Addr() string { return c.addr }

// Alive asks the peer's handler for a sign of life, which takes it no disk and no
// origin. It uses a connection of its own: one that was good before proves
// nothing, and one that opens does not either, as a process that stands still
// has a kernel that accepts.
func (c *Client) Alive(ctx context.Context) error {
	l := c.begin(ctx, "sign of life", "")
	defer l.end()
	l.transport = c.pool.once
	l.lane.Store(new(atomic.Int64)) // counted nowhere: a busy peer is asked, too
	req, err := l.request(http.MethodGet, aliveTarget, nil)
	if err != nil {
		return err
	}
	resp, err := l.send(req, http.StatusNoContent)
	if err != nil {
		return l.failed(err)
	}
	l.discard(resp)
	return nil
}
