package loadtest

import (
	"time"
)

// ResultVersion is the version of the result file that this package writes. It
// changes when a reader of the earlier one would misread the later.
const ResultVersion = 1

// The two kinds of loop.
const (
	LoopOpen   = "open"   // requests fall due whatever becomes of those before them
	LoopClosed = "closed" // a request is sent when the one before it on its connection was answered
)

// The kinds of errors. Each failed request is counted under one of them.
const (
	// These have no answer.

	ErrorDial     = "dial"     // no connection
	ErrorTimeout  = "timeout"  // no whole answer within Config.Timeout
	ErrorClosed   = "closed"   // the connection ended before the answer did
	ErrorProtocol = "protocol" // what came was no answer of HTTP
	ErrorAborted  = "aborted"  // the run ended first

	// These have one.

	ErrorStatus = "status" // not the status of a success
	ErrorBody   = "body"   // not the bytes that are stored there, or not as many
)

// A Result is what one run measured. Durations and rates are of the clock of the
// machine that generated the load.
//
// Every request that was sent, whatever became of it, is counted once in each of
// Response, Service and Lateness, and once in the three of one of the Series.
// A request that never was answered counts with the time until that was known.
type Result struct {
	Version int    `json:"version"` // ResultVersion
	Config  Config `json:"config"`
	Loop    string `json:"loop"` // LoopOpen or LoopClosed
	Build   Build  `json:"build"`
	Host    Host   `json:"host"`

	// Start is when the first request could be due, Took how long the run went on
	// until the last answer.
	Start time.Time     `json:"start"`
	Took  time.Duration `json:"took_ns"`

	// Stopped says why the run ended before all that was to be due was sent and
	// answered, "" if it did not.
	Stopped string `json:"stopped,omitempty"`

	Totals Totals `json:"totals"`

	// Examples are the text of the first error of each kind.
	Examples map[string]string `json:"examples,omitempty"`

	// Response is the time from when a request was due to the end of its answer:
	// what whoever had sent it would have waited, also while it could not be sent
	// because all connections waited for others. With a closed loop it is Service.
	Response *Histogram `json:"response"`

	// Service is the time from when a request was sent to the end of its answer.
	Service *Histogram `json:"service"`

	// Lateness is the time from when a request was due to when it was sent. Where
	// the servers fall behind the rate, it is they who cause it; see Self.Lateness.
	Lateness *Histogram `json:"lateness"`

	// Series are the same split up, in the order of their names.
	Series []Series `json:"series"`

	// Intervals are the seconds of the run, in order and without a gap. In a file
	// each has a line of its own.
	Intervals []Interval `json:"-"`

	// Self is what the generator says about itself. Look there first.
	Self Self `json:"self"`

	// Server is what the nodes counted meanwhile, nil if none was asked.
	Server *Server `json:"server,omitempty"`
}

// A Build is the program that generated the load.
type Build struct {
	GoVersion string `json:"go_version"`
	Version   string `json:"version,omitempty"`  // of the module, "(devel)" for a build of a working tree
	Revision  string `json:"revision,omitempty"` // of git, "" if the build does not know
	Modified  bool   `json:"modified,omitempty"` // the tree had changes that are in no revision
}

// A Host is the machine that generated the load.
type Host struct {
	Name       string `json:"name"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	CPUs       int    `json:"cpus"` // that the process may use
	GOMAXPROCS int    `json:"gomaxprocs"`
}

// Totals count the requests of a run, of a series, or of a second.
//
//	Scheduled = Sent + Unsent                             once the run is over
//	Sent      = Done + the errors that have no answer
//	Failed    = the sum of Errors
type Totals struct {
	Scheduled int64 `json:"scheduled"` // fell due
	Sent      int64 `json:"sent"`      // were sent, or would have been over a connection that there was not
	Unsent    int64 `json:"unsent"`    // fell due, but no connection was free before the run ended or they were given up
	Done      int64 `json:"done"`      // got a whole answer, good or bad
	Failed    int64 `json:"failed"`    // got none, or a bad one

	Errors map[string]int64 `json:"errors,omitempty"` // by kind, see ErrorDial and the others

	BytesIn  int64 `json:"bytes_in"`  // of the bodies of answers
	BytesOut int64 `json:"bytes_out"` // of the bodies of requests

	Checked int64 `json:"checked"` // bodies that were compared byte by byte
	Damaged int64 `json:"damaged"` // of those, the ones that had other bytes

	// Redialed is how many connections had been ended by the server between two
	// requests, and were made anew for a read that then was sent a second time. That
	// is no error: every client of HTTP does so. Only ClientRaw counts them.
	Redialed int64 `json:"redialed"`
}

// ErrorRatio is the share of the scheduled requests that did not get a good
// answer, those that were not sent included; 0 if none fell due.
func (t *Totals) ErrorRatio() float64 {
	if t.Scheduled == 0 {
		return 0
	}
	return float64(t.Failed+t.Unsent) / float64(t.Scheduled)
}

// A Series is the requests of one part of the mix, operation, status and tier.
type Series struct {
	Part   string `json:"part"`   // the name of the Part of the Mix
	Op     string `json:"op"`     // the name of an Op
	Status int    `json:"status"` // of HTTP, 0 without an answer
	Cache  string `json:"cache"`  // the X-Cache of the answer, "" without one
	Error  string `json:"error"`  // the kind of the error, "" for a good answer

	Count    int64      `json:"count"`
	BytesIn  int64      `json:"bytes_in"`
	Response *Histogram `json:"response"`
	Service  *Histogram `json:"service"`
	Lateness *Histogram `json:"lateness"`
}

// An Interval is one second of a run, the last one shorter. Scheduled and Unsent
// count by when requests were due, so they can grow until the end of the run;
// everything else counts by when a request ended, and stands.
type Interval struct {
	Offset time.Duration `json:"offset_ns"` // from Result.Start
	Length time.Duration `json:"length_ns"`

	// Asked is the rate that the pacer aimed at in the middle of the interval, in
	// requests a second; 0 if the loop is closed, or nothing was due any more.
	Asked float64 `json:"asked"`

	Totals

	// Caches count the answers by their X-Cache.
	Caches map[string]int64 `json:"caches,omitempty"`

	// Quantiles of the response time.
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`

	// Response and Service hold the histograms. They are kept encoded: a run of an
	// hour has thousands of them.
	Response Encoded `json:"response,omitempty"`
	Service  Encoded `json:"service,omitempty"`

	// CPU is the CPU time of the generator.
	CPU time.Duration `json:"cpu_ns"`
}

// Rate is the whole answers a second.
func (i *Interval) Rate() float64 {
	if i.Length <= 0 {
		return 0
	}
	return float64(i.Done) / i.Length.Seconds()
}

// The two verdicts about a run.
const (
	Valid   = "valid"
	Invalid = "INVALID"
)

// Self is how the generator fared. An INVALID run measured the generator, or the
// machine it shares with the servers, and says nothing about the servers.
type Self struct {
	Verdict  string   `json:"verdict"`            // Valid or Invalid
	Reasons  []string `json:"reasons,omitempty"`  // why it is invalid
	Warnings []string `json:"warnings,omitempty"` // what to know when reading a valid one

	CPU           time.Duration `json:"cpu_ns"`             // user and system
	CPUShare      float64       `json:"cpu_share"`          // of what the process could have had: 1 is all of its CPUs
	CPUPerRequest time.Duration `json:"cpu_per_request_ns"` // for each request that was sent

	// Lateness is the part of Result.Lateness that the generator caused itself:
	// from when a request was due and a connection was free for it, whichever came
	// last, to when it was sent. Timers, garbage collection and the want of a CPU
	// are in it, servers are not. It is empty for a closed loop.
	Lateness    *Histogram    `json:"lateness"`
	LatenessP99 time.Duration `json:"lateness_p99_ns"`

	// Waited is how many requests were due before a connection was free.
	Waited int64 `json:"waited"`

	// GCPause is how long the program was stopped to collect garbage.
	GCPause time.Duration `json:"gc_pause_ns"`
}

// A Server is what the nodes counted from before the run until after it, summed
// over those that answered both times. It counts what others asked of them too.
type Server struct {
	Nodes     int      `json:"nodes"`               // that were asked and answered both times
	Missing   []string `json:"missing,omitempty"`   // that did not
	Restarted []string `json:"restarted,omitempty"` // that began anew meanwhile, so that what they counted before is lost

	CPU           time.Duration `json:"cpu_ns"`
	CPUPerRequest time.Duration `json:"cpu_per_request_ns"` // for each request that the nodes counted

	Requests int64            `json:"requests"` // of clients
	Tiers    map[string]int64 `json:"tiers"`    // good answers to reads, by the tier they came from
	HitRatio float64          `json:"hit_ratio"`

	OriginRequests map[string]int64 `json:"origin_requests"` // by operation
	OriginGets     int64            `json:"origin_gets"`     // that brought an object

	// UniqueKeys is how many different keys the run read, PerKey how many gets from
	// the origin there were to each. Where nothing was cached before, one is what a
	// cluster needs that lets a miss be fetched once, and what it kept be read again.
	UniqueKeys int64   `json:"unique_keys"`
	PerKey     float64 `json:"origin_gets_per_key"`

	GCPause  time.Duration `json:"gc_pause_ns"`
	GCCycles int64         `json:"gc_cycles"`

	// Allocs and AllocBytes are objects and bytes from the heap, 0 if the nodes do
	// not say.
	Allocs           int64   `json:"allocs"`
	AllocBytes       int64   `json:"alloc_bytes"`
	AllocsPerRequest float64 `json:"allocs_per_request"`
	BytesPerRequest  float64 `json:"alloc_bytes_per_request"`
}

// Whole reports whether all nodes that were asked said all that they counted.
// Otherwise the figures are of some of the nodes, or of some of the time.
func (s *Server) Whole() bool {
	return s.Nodes > 0 && len(s.Missing)+len(s.Restarted) == 0
}

// Group merges the Series that key gives the same name, in the order of the
// names. Those named "" are left out.
func (r *Result) Group(key func(*Series) string) []Group {
	return groupSeries(r.Series, key)
}

// A Group is some Series of a Result, merged.
type Group struct {
	Name     string
	Count    int64
	BytesIn  int64
	Response *Histogram
	Service  *Histogram
	Lateness *Histogram
}
