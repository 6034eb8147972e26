package node

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
)

// An accessLog says which requests were answered, a line each: those of clients, and
// those of other nodes that were asked in turn. Of those that went well it says only
// so many a second: enough to see what happens where little does, too few to be felt
// where much does. Those that did not are all said.
type accessLog struct {
	log            *slog.Logger
	clients, peers *quota // of lines about requests that went well
}

func newAccessLog(log *slog.Logger, rate int) *accessLog {
	return &accessLog{log: log, clients: newQuota(rate), peers: newQuota(rate)}
}

// A quota allows so much in each second since it began. The seconds are not those of
// the clock on the wall, which may be set back.
type quota struct {
	rate  int64
	began time.Time
	spent atomic.Int64 // the last second in which no more is allowed

	mu     sync.Mutex // guards the following
	second int64
	taken  int64
}

func newQuota(rate int) *quota {
	q := &quota{rate: int64(rate), began: time.Now()}
	if rate <= 0 {
		q.spent.Store(math.MaxInt64)
	}
	return q
}

// take reports whether one more is allowed at this time. When a second's is used up
// that costs one atomic load.
func (q *quota) take(now time.Time) bool {
	second := 1 + int64(now.Sub(q.began)/time.Second)
	if second <= q.spent.Load() {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if second < q.second || second <= q.spent.Load() {
		return false
	}
	if second > q.second {
		q.second, q.taken = second, 0
	}
	if q.taken++; q.taken == q.rate {
		q.spent.Store(second)
	}
	return true
}

// An access is one line.
type access struct {
	op       string
	key      object.Key
	status   int
	from     object.Tier
	node     string
	duration time.Duration
	in, out  int64
	remote   string
	peer     string // that asked
	id       string
	trace    string
	client   string // id that the client has
	err      error
}

// say writes a line. What is not known is left out.
func (l *accessLog) say(level slog.Level, message string, a *access) {
	ctx := context.Background() // the ids are said here
	if !l.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	text := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	text("op", a.op)
	if a.key != "" {
		attrs = append(attrs, slog.Any("key", a.key))
	}
	attrs = append(attrs, slog.Int("status", a.status))
	text("from", string(a.from))
	text("node", a.node)
	attrs = append(attrs, slog.Float64("duration_ms", float64(a.duration.Microseconds())/1000),
		slog.Int64("bytes_in", a.in), slog.Int64("bytes_out", a.out))
	text("remote", a.remote)
	text("peer", a.peer)
	text("request_id", a.id)
	text("trace_id", a.trace)
	text("client_request_id", a.client)
	if a.err != nil {
		attrs = append(attrs, slog.Any("error", a.err))
	}
	l.log.LogAttrs(ctx, level, message, attrs...)
}

const (
	requestLine     = "request"
	peerRequestLine = "peer request"
)

// client says a client's request that the dialect's handler has answered. One for what
// there is not here, as ordinary S3 clients send to find out, went well.
func (l *accessLog) client(o *gateway.Observation, now time.Time) {
	level := slog.LevelInfo
	switch {
	case o.Status >= http.StatusInternalServerError && o.Status != http.StatusNotImplemented, o.Status == 0, o.Aborted: // without a status something has panicked
		level = slog.LevelWarn
	case !l.clients.take(now):
		return
	}
	l.say(level, requestLine, &access{
		op: o.Op, key: o.Key, status: o.Status, from: o.Tier, node: o.Node, duration: o.Duration, in: o.BytesIn, out: o.BytesOut,
		remote: o.Remote, id: o.ID, trace: o.Trace, client: o.ClientID, err: o.Err,
	})
}

// lane says a client's request that the fast lane has answered, if it was to be said.
func (l *accessLog) lane(o *fastlane.Observation) {
	d := o.Detail
	if d == nil {
		return
	}
	level := slog.LevelInfo
	if d.Err != nil {
		level = slog.LevelWarn
	}
	op := gateway.OpGet
	if o.Head {
		op = gateway.OpHead
	}
	l.say(level, requestLine, &access{
		op: op, key: d.Key, status: o.Status, from: o.Tier, node: d.Node, duration: o.Duration, out: o.Bytes,
		remote: d.Remote, id: d.ID, trace: trail.TraceOf(d.Parent), client: trail.ClientID(d.ClientID), err: d.Err,
	})
}

// peer says another node's request. One for what is not at hand went well, and so did
// one whose sender wants the answer, or the rest of it, no more: nodes ask two at once
// and take the first, and clients hang up.
func (l *accessLog) peer(o *peer.Observation, now time.Time) {
	level := slog.LevelInfo
	switch {
	case o.Status == 0, o.Aborted, o.Status >= http.StatusInternalServerError && !o.Left && !errors.Is(o.Err, peer.ErrNotCached):
		level = slog.LevelWarn
	case object.IsInternal(o.Key): // nodes look after themselves, every few seconds
		return
	case !l.peers.take(now):
		return
	}
	l.say(level, peerRequestLine, &access{
		op: o.Op, key: o.Key, status: o.Status, from: o.Tier, node: o.Node, duration: o.Duration, in: o.BytesIn, out: o.BytesOut,
		remote: o.Remote, peer: o.From, id: o.Trail.Request, trace: o.Trail.Trace(), err: o.Err,
	})
}

// answered takes note of a client's request that the dialect's handler has answered.
func (n *Node) answered(o gateway.Observation) {
	now := time.Now()
	n.meter.observe(o)
	n.access.client(&o, now)
	n.slow.note(&o, now)
}

// answeredPeer takes note of a request of another node.
func (n *Node) answeredPeer(o peer.Observation) { n.access.peer(&o, time.Now()) }

// answeredAtOnce returns what takes note of the fast lane's answers.
func (n *Node) answeredAtOnce() func(fastlane.Observation) {
	meter := newLaneMeter(n.meter)
	return func(o fastlane.Observation) {
		meter.observe(o)
		if o.Detail != nil {
			n.access.lane(&o)
		}
	}
}
