package console

import (
	"context"
	"time"
)

// A Source is what the console shows: a node. Its methods are safe for
// concurrent use, take no lock that requests take for long, and do not wait for
// other nodes unless they say so.
type Source interface {
	// Status returns how the node is at this moment, without what only
	// [History] knows: Rates, and the quantiles of Answers. Now is what Counters
	// has just returned, so that nothing is counted twice for it.
	Status(now Counters) Status

	// Counters returns what has been counted since the node started.
	Counters() Counters

	// Where says where a key is, for which it asks every member until ctx ends.
	// A key that is none is an error.
	Where(ctx context.Context, key string) (Where, error)
}

// A Status is how a node is at one moment: all that the page and "micelio-node top"
// show. Its JSON form is the answer of /status. Sizes are bytes, durations
// are seconds, rates are per second, shares and ratios are 0 to 1.
type Status struct {
	At        time.Time  `json:"at"`
	Node      Node       `json:"node"`
	Checks    []Check    `json:"checks"`
	Ring      Ring       `json:"ring"`
	Tiers     []Tier     `json:"tiers"`     // "ram", "ssd", and "hot" for copies of other nodes' keys; those that are on
	Answers   []Answer   `json:"answers"`   // what clients got, by where it came from; those that gave any
	Fills     []Fill     `json:"fills"`     // under way, oldest first; at most 50
	FillCount int        `json:"fillCount"` // of all that are under way
	Hot       []HotKey   `json:"hot"`       // keys that are read most through this node, most first; at most 20
	Upstreams []Upstream `json:"upstreams"` // the origin, and the CDN if there is one
	Slow      []Request  `json:"slow"`      // the slowest of the last hour but for what the fast lane answered from memory, slowest first; at most 50
	Settings  []Setting  `json:"settings"`  // the effective configuration
	Rates     Rates      `json:"rates"`
}

// A Node is who answers.
type Node struct {
	ID       string    `json:"id"`
	Cluster  string    `json:"cluster"`
	Version  string    `json:"version"`  // such as "v1.2.0", "devel"
	Revision string    `json:"revision"` // of the source, "" if unknown
	Go       string    `json:"go"`       // version of Go it was built with
	Bucket   string    `json:"bucket"`
	State    string    `json:"state"` // "starting", "ready", "not ready" or "draining"
	Started  time.Time `json:"started"`

	Data   string `json:"data"` // addresses
	Peer   string `json:"peer"`
	Admin  string `json:"admin"`
	Gossip string `json:"gossip"`

	CPUSeconds float64 `json:"cpuSeconds"` // since the start
	Memory     int64   `json:"memory"`     // resident
	Goroutines int     `json:"goroutines"`
	OpenFiles  int     `json:"openFiles"`
}

// A Check is one of those that make a node ready.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Says bool   `json:"says"` // it only says how things are: not being OK does not make the node unready
	Text string `json:"text"`
}

// A Ring is the cluster as the node sees it.
type Ring struct {
	Epoch   string   `json:"epoch"`  // of this node's view, 16 hex digits
	Agreed  bool     `json:"agreed"` // every member's last known epoch is this one
	Members []Member `json:"members"`
}

// A Member is one node of the cluster.
type Member struct {
	ID      string  `json:"id"`
	State   string  `json:"state"` // "joining", "serving" or "draining"
	Self    bool    `json:"self"`
	Weight  int     `json:"weight"`
	Share   float64 `json:"share"` // of the keys
	Data    string  `json:"data"`
	Peer    string  `json:"peer"`
	Admin   string  `json:"admin"`
	Epoch   string  `json:"epoch"`   // that it was last heard to have, "" if it was not heard yet
	Heard   float64 `json:"heard"`   // how long ago that was
	RTT     float64 `json:"rtt"`     // of the last question whether it is alive, 0 if unknown
	Breaker string  `json:"breaker"` // of requests to it: "closed", "half-open", "open", "" for this node
	Error   string  `json:"error"`   // why the last question was not answered
}

// A Tier is one place where a node keeps copies.
type Tier struct {
	Name      string `json:"name"`
	Objects   int64  `json:"objects"`
	Bytes     int64  `json:"bytes"`
	Capacity  int64  `json:"capacity"`
	Hits      int64  `json:"hits"`   // since the start, as the following
	Misses    int64  `json:"misses"` // not counted by "hot", which has no hit ratio
	Evictions int64  `json:"evictions"`
	Damaged   int64  `json:"damaged"`
	Errors    int64  `json:"errors"`
}

// An Answer is what clients got from one place.
type Answer struct {
	From  string  `json:"from"`  // as in X-Cache: "hot", "ram", "ssd", "fill", "peer", "cdn", "origin"; "" for what is no read
	Count int64   `json:"count"` // since the start
	Rate  float64 `json:"rate"`  // over the last minute, as the following
	P50   float64 `json:"p50"`   // 0 if there was none
	P99   float64 `json:"p99"`
}

// A Fill is a read of an upstream that brings a copy.
type Fill struct {
	Key     string  `json:"key"`     // redacted if it is private
	From    string  `json:"from"`    // "peer", "cdn", "origin"; "" until it is known
	Bytes   int64   `json:"bytes"`   // that have come
	Size    int64   `json:"size"`    // of all that it brings, -1 until it is known
	Readers int     `json:"readers"` // readers that follow it or wait for it
	Age     float64 `json:"age"`
}

// A HotKey is a key that is read much.
type HotKey struct {
	Key   string  `json:"key"` // redacted if it is private
	Class string  `json:"class"`
	Owner string  `json:"owner"`
	Rate  float64 `json:"rate"` // reads a second through this node
	Copy  int64   `json:"copy"` // bytes of this node's copy, 0 if there is none
}

// An Upstream is what stands behind the tiers.
type Upstream struct {
	Name     string           `json:"name"`    // "origin", "cdn"
	Place    string           `json:"place"`   // a folder, a bucket or a URL
	Breaker  string           `json:"breaker"` // "closed", "half-open", "open", "" if it has none
	InFlight int              `json:"inFlight"`
	Counts   map[string]int64 `json:"counts"` // requests by result, since the start
	Note     string           `json:"note"`   // what is to be known of it, such as that it is weak
}

// A Request is one that took long.
type Request struct {
	At       time.Time `json:"at"` // when it ended
	ID       string    `json:"id"` // x-amz-request-id of the answer
	Trace    string    `json:"trace"`
	Op       string    `json:"op"`
	Key      string    `json:"key"` // redacted if it is private
	Status   int       `json:"status"`
	From     string    `json:"from"` // as in X-Cache
	Node     string    `json:"node"` // that answered
	Duration float64   `json:"duration"`
	Bytes    int64     `json:"bytes"` // of the bodies of request and answer
}

// A Setting is one line of the effective configuration.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`  // secrets are masked
	Source string `json:"source"` // such as "default", "flag --listen", "environment S3_BUCKET"
}

// A Where says where a key is.
type Where struct {
	Key       string   `json:"key"`
	Class     string   `json:"class"`     // "verified", "immutable", "mutable"
	Staleness string   `json:"staleness"` // how old a read may be, "" if not at all
	Epoch     string   `json:"epoch"`
	Partition *int     `json:"partition"` // of the key space, nil without a ring
	Owner     string   `json:"owner"`
	Route     []string `json:"route"`  // who would be asked now, in order
	Copies    []Copy   `json:"copies"` // a line for each member, by id
}

// A Copy is what one member has of a key.
type Copy struct {
	Node  string   `json:"node"`
	Tiers []string `json:"tiers"` // that have it, fastest first; empty if none has
	Size  int64    `json:"size"`  // of the copy, as the following; if there is one
	ETag  string   `json:"etag"`
	Age   float64  `json:"age"` // since it was read from the origin
	Error string   `json:"error"`
}

// Counters are what has been counted since a node started, for [History].
type Counters struct {
	At       time.Time
	Tiers    []TierCount // those that count look-ups
	Answers  []AnswerCount
	Requests int64 // of clients, answered
	Failed   int64 // of those, with 5xx but 501, or broken off
	BytesIn  int64 // of clients' bodies
	BytesOut int64
	Origin   int64 // requests to the origin
	CPU      float64
}

// A TierCount counts look-ups in a tier.
type TierCount struct {
	Name                    string
	Hits, Misses, Evictions int64
}

// An AnswerCount counts answers from one place by how long they took.
type AnswerCount struct {
	From    string
	Bounds  []float64 // upper bounds in seconds, ascending; shared, not to be changed
	Buckets []int64   // answers up to each bound, cumulative
	Count   int64     // of all, those above the last bound included
}

// Rates are what History makes of Counters.
type Rates struct {
	Minute Rate `json:"minute"` // over the last minute, or since the start
	Hour   Rate `json:"hour"`
}

// A Rate is what happened a second over some time.
type Rate struct {
	Seconds  float64            `json:"seconds"` // the time it is about
	Requests float64            `json:"requests"`
	Failed   float64            `json:"failed"`
	BytesIn  float64            `json:"bytesIn"`
	BytesOut float64            `json:"bytesOut"`
	Origin   float64            `json:"origin"`
	Hits     float64            `json:"hits"`    // share of reads that were answered from hot, ram or ssd; 0 without reads
	Tiers    map[string]float64 `json:"tiers"`   // hit ratio by tier, of those that count look-ups and had any
	Evicted  map[string]float64 `json:"evicted"` // objects a second by tier
	CPU      float64            `json:"cpu"`     // cores
}
