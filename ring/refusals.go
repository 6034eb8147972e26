package ring

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Refusal is one reason for which this node and somebody at the gossip port
// would not be of one cluster, and how often that was.
type Refusal struct {
	// Reason is one word or two of a closed list: see RefusalReasons.
	Reason string

	Count uint64

	// Last is when it happened last.
	Last time.Time

	// From is whom it was about, an address, and Detail what was wrong. They are
	// those of the last time that was logged.
	From   string
	Detail string

	// Remedy is what to do if that was no stranger.
	Remedy string
}

// The reasons, as metrics have them.
const (
	refusedName       = "cluster_name"
	refusedSecret     = "secret"
	refusedParameters = "parameters"
	refusedVersion    = "version"
	refusedMetadata   = "metadata"
	refusedMalformed  = "malformed"
	refusedLimit      = "limit"
	refusedStalled    = "stalled"
	refusedUnanswered = "unanswered"
)

// remedies are what an operator can do, by reason, in the order of the reports.
var remedies = []struct{ reason, remedy string }{
	{refusedName, "give all nodes of a cluster the same cluster name, and no others its gossip addresses"},
	{refusedSecret, "give all nodes of a cluster the same cluster secret"},
	{refusedParameters, "run the same version with the same ring settings on all nodes of a cluster"},
	{refusedVersion, "run versions on all nodes of a cluster that understand one another"},
	{refusedMetadata, "find out what runs there: it is no node of this software"},
	{refusedMalformed, "keep strangers off the gossip port"},
	{refusedLimit, "keep strangers off the gossip port; of many nodes that start at once it passes, as they ask again"},
	{refusedStalled, "keep strangers off the gossip port, and look after the network between members"},
	{refusedUnanswered, "check that a node of the same cluster name listens for gossip there; if many started at once it passes"},
}

// RefusalReasons returns all reasons for which a node can be refused.
func RefusalReasons() []string {
	var names []string
	for _, r := range remedies {
		names = append(names, r.reason)
	}
	return names
}

// refusalLogEvery is how often each reason is worth a line in the log: whoever
// reaches the port can make one happen with each packet.
const refusalLogEvery = 10 * time.Second

// refusals count who was refused and tell of some.
type refusals struct {
	log *slog.Logger

	mu  sync.Mutex // guards the following
	of  map[string]*refusal
	own Refusal // of this node, when it asked to join
}

type refusal struct {
	Refusal
	logged time.Time // when it was last told of
	told   uint64    // Count then
}

func newRefusals(log *slog.Logger) *refusals {
	r := &refusals{log: log, of: make(map[string]*refusal, len(remedies))}
	for _, m := range remedies {
		r.of[m.reason] = &refusal{Refusal: Refusal{Reason: m.reason, Remedy: m.remedy}}
	}
	return r
}

// note counts a refusal, and logs it unless the same reason was logged just
// before. It formats nothing that is not logged or kept, and does not block.
func (r *refusals) note(reason string, from fmt.Stringer, detail string) {
	now := time.Now()
	r.mu.Lock()
	one := r.of[reason]
	one.Count++
	one.Last = now
	tell := one.logged.IsZero() || now.Sub(one.logged) >= refusalLogEvery
	if !tell {
		r.mu.Unlock()
		return
	}
	one.From, one.Detail = from.String(), detail
	times := one.Count - one.told
	one.logged, one.told = now, one.Count
	said := one.Refusal
	r.mu.Unlock()
	r.log.Warn("refused in the gossip", "reason", reason, "with", said.From, "detail", said.Detail, "remedy", said.Remedy, "times", times)
}

// report returns all reasons, also those that never happened.
func (r *refusals) report() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Refusal, 0, len(remedies))
	for _, m := range remedies {
		out = append(out, r.of[m.reason].Refusal)
	}
	return out
}

// noteOwn keeps, uncounted, that this node asked somebody to join and was not
// let in.
func (r *refusals) noteOwn(reason, from, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = Refusal{Reason: reason, Count: r.own.Count + 1, Last: time.Now(), From: from, Detail: detail, Remedy: r.of[reason].Remedy}
}

// RefusedBy returns the last refusal of this node, when it asked somebody to
// join, and how often that was for any reason. Its Count is 0 if it never was.
func (r *Ring) RefusedBy() Refusal {
	r.refused.mu.Lock()
	defer r.refused.mu.Unlock()
	return r.refused.own
}

// Refusals returns how often each reason kept somebody and this node apart, in
// a fixed order, reasons that never did included.
func (r *Ring) Refusals() []Refusal { return r.refused.report() }

// text is a fmt.Stringer.
type text string

func (t text) String() string { return string(t) }

// What the gossip library says of those it refuses, and why it does. It has no
// other way to tell: a test holds each against the library as it is.
var refusalWords = []struct{ words, reason string }{
	{"refused node", ""}, // by this package, which has noted it
	{`unacceptable label ""`, refusedMalformed},
	{"unacceptable label", refusedName},
	{"no installed keys could decrypt", refusedSecret},
	{"decrypt packet failed", refusedSecret},
	{"remote state is not encrypted", refusedSecret},
	{"encryption is not configured", refusedSecret},
	{"remote node state is larger", refusedLimit},
	{streamTooLong, refusedLimit},
	{"cannot decode label", refusedMalformed},
	{"label header cannot be empty", refusedMalformed},
	{"cannot decrypt empty payload", refusedSecret},
	{"unsupported encryption version", refusedSecret},
	{"too small to decrypt", refusedSecret},
	{"failed to receive", refusedMalformed},
	{"failed to decode", refusedMalformed},
	{"failed to decompress", refusedMalformed},
	{"failed to read remote state", refusedMalformed},
	{"invalid msgtype", refusedMalformed},
	{"not supported", refusedMalformed},
	{"invalid checksum", refusedMalformed},
	{"missing message type", refusedMalformed},
	{"truncated messages", refusedMalformed},
	{"protocol version(s) are wrong", refusedMalformed},
	{"vsn is not present", refusedMalformed},
	{"protocol version (", refusedVersion},
}

// refusalIn returns why the gossip library refused somebody, if that is what
// the line says. The reason is empty for what has been noted already.
func refusalIn(line string) (reason string, refused bool) {
	lower := strings.ToLower(line)
	if strings.Contains(lower, "failed to receive") && strings.Contains(lower, "i/o timeout") {
		return refusedStalled, true
	}
	i := slices.IndexFunc(refusalWords, func(w struct{ words, reason string }) bool { return strings.Contains(lower, w.words) })
	if i < 0 {
		return "", false
	}
	return refusalWords[i].reason, true
}
