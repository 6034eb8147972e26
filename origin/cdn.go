package origin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
)

// CDNConfig says where a CDN is and how it may be used.
type CDNConfig struct {
	// BaseURL is what keys are appended to, segment by segment and percent-encoded:
	// scheme, host, and a path or none. It must be https unless the host is
	// loopback or AllowHTTP is set, and hold no user, query or fragment. Required.
	BaseURL string

	// Timeout is how long the first byte of an answer may take, and the next one
	// of a body. An object of at most 1 MiB must be there whole in that time. A
	// larger one must bring 64 KiB a second while its reader waits, looked at
	// every ten seconds. 0: 2 s.
	Timeout time.Duration

	// AllowPrivate lets the CDN have a loopback or private address. Without it
	// such an address is never connected to, whatever a name resolves to.
	// Link-local addresses, where clouds keep credentials, are always refused.
	AllowPrivate bool

	// AllowHTTP accepts a BaseURL without TLS. Bytes are proven with or without
	// it, but everybody on the way can read them.
	AllowHTTP bool

	// Signer turns a URL into one that the CDN lets in, nil if it lets everybody
	// in; see [CloudFrontSigner]. It is called by many goroutines at once. It
	// must keep scheme, host and path.
	Signer func(url string, now time.Time) (string, error)

	// Concurrency is how many reads may be under way at the CDN. One more goes
	// upstream at once. Each may hold 1 MiB of memory. 0: 64.
	Concurrency int

	// Loop is who asks, in the header CDN-Loop (RFC 8586): a CDN that leads back
	// to the cluster can be told by it. "": "micelio".
	Loop string

	Log *slog.Logger // nil: discard
}

const (
	defaultCDNTimeout     = 2 * time.Second
	defaultCDNConcurrency = 64
)

// A CDN is an object.Store that reads verified and immutable keys through a CDN
// and everything else, and every write, at the Store behind it. Nothing that a
// CDN says is believed:
//
//   - Its "no" is not heard. CDNs keep a 404 for seconds or minutes, and answer
//     403 for what is missing. Any answer but a 200 of the right length sends
//     the read upstream at once, and so does one that is late.
//   - Its bytes are proven. Those of a verified key must hash to the key. Those
//     of an immutable key must hash to what upstream's Head says, which is asked
//     first: to the SHA-256 where it is known, else to the ETag where that is an
//     MD5 (32 hexadecimal digits). Where upstream can say neither, as for
//     objects uploaded in parts by others, the CDN is not used. (ETags of what S3
//     encrypts with KMS look like an MD5 and are none: such an object is fetched
//     in vain once in ten minutes, unless its SHA-256 was recorded.)
//   - A part of an object proves nothing. Ranges are read upstream.
//
// An object of at most 1 MiB is proven before its first byte is handed out, so
// wrong bytes cost time and nothing else. A larger one streams, and its last
// bytes are handed out only after the proof: a wrong one ends with
// object.ErrDigest, never cleanly, and the next read of the key goes upstream.
// A body that breaks off is continued upstream at the same byte of the same
// version. After a wrong object the key is read upstream for ten minutes; after
// three different ones within a minute all keys are for one minute.
//
// What is said about an object besides its bytes comes from upstream wherever
// upstream was asked: for every immutable key, and for a verified one whose ETag
// is not the MD5 of its bytes or that is larger than 1 MiB. For the small
// verified rest, and if upstream cannot say then, content type and user metadata
// are the CDN's word. An object with a content encoding is read
// upstream, because nobody can tell who encoded it.
//
// It is safe for concurrent use.
type CDN struct {
	upstream  object.Store
	classes   *object.Classes
	cfg       CDNConfig
	base      string // of all URLs, without a slash at its end
	transport *http.Transport
	slots     chan struct{} // one for each read under way
	breaker   *pace.Breaker
	bypass    *bypass

	mu    sync.Mutex // guards the following
	stats CDNStats   // what is counted of it
}

var _ object.Store = (*CDN)(nil)

// The breaker opens when half of the last ten seconds' answers were none, and
// tries again after five.
const (
	cdnWindow       = 10 * time.Second
	cdnOpenFor      = 5 * time.Second
	cdnMinRequests  = 20
	cdnFailureRatio = 0.5
	cdnProbes       = 1
)

// NewCDN returns a Store that reads through the CDN of cfg before upstream, which
// stays the caller's to close. It reports every fault of cfg at once, and
// contacts nobody.
func NewCDN(upstream object.Store, classes *object.Classes, cfg CDNConfig) (*CDN, error) {
	base, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("origin: CDN: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultCDNTimeout
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = defaultCDNConcurrency
	}
	cfg.Loop = cmp.Or(cfg.Loop, "micelio")
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &CDN{
		upstream: upstream, classes: classes, cfg: cfg, base: base, transport: cfg.transport(),
		slots: make(chan struct{}, cfg.Concurrency), bypass: newBypass(),
	}
	c.stats.Misses = make(map[CDNMiss]int64)
	for _, reason := range cdnMisses {
		c.stats.Misses[reason] = 0 // a counter is there before it counts
	}
	c.breaker = pace.NewBreaker(pace.BreakerConfig{
		Name: "cdn", Window: cdnWindow, OpenFor: cdnOpenFor, MinRequests: cdnMinRequests, FailureRatio: cdnFailureRatio, Probes: cdnProbes,
		OnChange: func(from, to pace.State) {
			cfg.Log.Warn("the breaker of the CDN changed", "from", from.String(), "to", to.String())
		},
	})
	return c, nil
}

// Close ends the idle connections to the CDN. Bodies that are being read stay
// readable. No Get may follow.
func (c *CDN) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// Get implements object.Store.
func (c *CDN) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	class, digest := c.classes.Of(key)
	if class == object.Mutable || opt.Range.IsSet() || class == object.Verified && opt.IfNoneMatch.IsSet() {
		return c.upstream.Get(ctx, key, opt)
	}
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, wrap("get", key, err)
	}
	obj, err := c.read(ctx, key, class, digest, opt)
	var miss *cdnMiss
	if !errors.As(err, &miss) {
		if err == nil {
			c.count(func(s *CDNStats) { s.Hits++ })
		}
		return obj, err
	}
	if err := ctx.Err(); err != nil {
		return nil, wrap("get", key, err)
	}
	c.count(func(s *CDNStats) { s.Misses[miss.reason]++ })
	c.cfg.Log.DebugContext(ctx, "not from the CDN", "key", key, "reason", miss.reason, "err", miss.err)
	return c.upstream.Get(ctx, key, opt)
}

// Head implements object.Store. It is upstream's answer.
func (c *CDN) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	return c.upstream.Head(ctx, key, opt)
}

// Put implements object.Store, at upstream.
func (c *CDN) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	return c.upstream.Put(ctx, key, src, opt)
}

// Delete implements object.Store, at upstream. The CDN may go on serving an
// object that was deleted; whoever reads a verified key through it cannot tell.
func (c *CDN) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	return c.upstream.Delete(ctx, key, opt)
}

// List implements object.Store. It is upstream's answer.
func (c *CDN) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return c.upstream.List(ctx, opt)
}

// A CDNMiss says why a read that could have been the CDN's went upstream.
type CDNMiss string

// The reasons, all there are.
const (
	CDNAbsent      CDNMiss = "absent"      // it said 403, 404 or 410
	CDNStatus      CDNMiss = "status"      // it said something else that is not 200
	CDNMalformed   CDNMiss = "malformed"   // a 200 without a length, with a content encoding, or for a part
	CDNStale       CDNMiss = "stale"       // another object than upstream has, by its length or ETag
	CDNBad         CDNMiss = "bad"         // the bytes of a small object failed their proof
	CDNTimeout     CDNMiss = "timeout"     // too late
	CDNUnreachable CDNMiss = "unreachable" // no connection, no TLS, or it broke
	CDNUnsigned    CDNMiss = "unsigned"    // the Signer failed
	CDNUnprovable  CDNMiss = "unprovable"  // upstream knows no digest of the object
	CDNBypassed    CDNMiss = "bypassed"    // not asked: it was wrong before
	CDNBroken      CDNMiss = "broken"      // not asked: the breaker is open
	CDNBusy        CDNMiss = "busy"        // not asked: Concurrency reads were under way
)

var cdnMisses = []CDNMiss{
	CDNAbsent, CDNStatus, CDNMalformed, CDNStale, CDNBad, CDNTimeout, CDNUnreachable, CDNUnsigned, CDNUnprovable, CDNBypassed, CDNBroken, CDNBusy,
}

// CDNStats counts since the start what became of reads that could have been the
// CDN's. Reads of mutable keys, of parts, and conditional ones of verified keys
// are not among them.
type CDNStats struct {
	Hits    int64             // objects that the CDN answered; a large one counts when it begins
	Misses  map[CDNMiss]int64 // and those that upstream did, by each reason there is
	Resumed int64             // hits whose body broke off and was continued upstream
	Bad     int64             // objects whose bytes failed their proof, small or large

	InFlight    int        // reads under way at the CDN now
	Bypassed    int        // keys that are read upstream now because the CDN was wrong
	AllBypassed bool       // all are
	Breaker     pace.State // of the CDN, now
}

// Stats returns the counters and the state of now.
func (c *CDN) Stats() CDNStats {
	c.mu.Lock()
	s := c.stats
	s.Misses = maps.Clone(s.Misses)
	c.mu.Unlock()
	s.InFlight = len(c.slots)
	s.Bypassed, s.AllBypassed = c.bypass.state(time.Now())
	s.Breaker = c.breaker.State()
	return s
}

func (c *CDN) count(change func(*CDNStats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}
