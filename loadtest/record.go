package loadtest

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A sample is what became of one request. Times are from the start of the run.
type sample struct {
	due, sent, end time.Duration
	own            time.Duration // the part of sent-due that the generator caused
	waited         bool          // it was due before a connection was free
	seriesKey
	in, out  int64
	checked  bool
	damaged  bool
	redialed bool
	err      error
}

// A seriesKey names one Series.
type seriesKey struct {
	part   int
	op     Op
	kind   errorKind
	status int
	cache  string
}

// maxSeries bounds how many Series a server that thinks up statuses can cause;
// each takes three histograms.
const maxSeries = 500

// tapeLength is how many samples a worker keeps before it hands them on.
const tapeLength = 256

// A tape is where one worker notes its samples, so that workers do not wait for
// each other with each request. Its lock is taken by its worker, and once a
// second by whoever collects.
type tape struct {
	recorder *recorder
	mu       sync.Mutex
	samples  []sample
	unsent   []time.Duration // when those were due that were given up
}

func (t *tape) add(s sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.samples = append(t.samples, s); len(t.samples) >= tapeLength {
		t.empty()
	}
}

func (t *tape) addUnsent(due time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unsent = append(t.unsent, due); len(t.unsent) >= tapeLength {
		t.empty()
	}
}

// collect hands on what there is.
func (t *tape) collect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.empty()
}

func (t *tape) empty() {
	t.recorder.take(t.samples, t.unsent)
	t.samples, t.unsent = t.samples[:0], t.unsent[:0]
}

// A recorder adds samples up: for the run by series, and for each second. A
// worker would need histograms of some megabytes for itself; so they have one set
// together, and hand their samples on in bundles.
type recorder struct {
	parts   []string
	length  time.Duration // of an interval
	ownless bool          // the loop is closed: nothing is due before it is sent

	mu        sync.Mutex
	series    map[seriesKey]*Series
	last      seriesKey // the series of the last sample, which the next mostly shares
	lastOf    *Series
	own       Histogram
	waited    int64
	examples  map[string]string
	intervals []Interval
	closed    int // so many intervals from the front have ended
	open      map[int]*openInterval
	spare     *openInterval // one that was closed, to be used again
}

// An openInterval has the histograms of an interval that has not ended.
type openInterval struct{ response, service Histogram }

func newRecorder(mix Mix, length time.Duration) *recorder {
	r := &recorder{length: length, series: map[seriesKey]*Series{}, examples: map[string]string{}, open: map[int]*openInterval{}}
	for _, part := range mix.Parts {
		r.parts = append(r.parts, part.Name)
	}
	return r
}

func (r *recorder) newTape() *tape {
	return &tape{recorder: r, samples: make([]sample, 0, tapeLength)}
}

func (r *recorder) take(samples []sample, unsent []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range samples {
		r.add(&samples[i])
	}
	for _, due := range unsent {
		at := r.interval(int(due / r.length))
		at.Scheduled++
		at.Unsent++
	}
}

// interval returns interval number i, and makes it if it is the first to ask.
func (r *recorder) interval(i int) *Interval {
	for len(r.intervals) <= i {
		r.intervals = append(r.intervals, Interval{Offset: time.Duration(len(r.intervals)) * r.length, Length: r.length})
	}
	return &r.intervals[i]
}

func (r *recorder) add(s *sample) {
	response, service, lateness := s.end-s.due, s.end-s.sent, s.sent-s.due
	series := r.seriesOf(s.seriesKey)
	series.Count++
	series.BytesIn += s.in
	series.Response.Record(response)
	series.Service.Record(service)
	series.Lateness.Record(lateness)
	if !r.ownless {
		r.own.Record(s.own)
	}
	if s.waited {
		r.waited++
	}
	r.interval(int(s.due/r.length)).Scheduled++
	// What ended in a second that was closed already counts in the next: whoever
	// reported it was held up between looking at the clock and the tape.
	number := max(int(s.end/r.length), r.closed)
	open := r.open[number]
	if open == nil {
		if open = r.spare; open == nil {
			open = &openInterval{}
		}
		r.spare, r.open[number] = nil, open
	}
	open.response.Record(response)
	open.service.Record(service)
	at := r.interval(number)
	at.count(s)
	if s.kind.answered() {
		if at.Caches == nil {
			at.Caches = map[string]int64{}
		}
		at.Caches[s.cache]++
	}
	if s.kind != noError {
		if _, known := r.examples[s.kind.String()]; !known && s.err != nil {
			r.examples[s.kind.String()] = s.err.Error()
		}
	}
}

// count adds a request that was sent, but for Scheduled.
func (t *Totals) count(s *sample) {
	t.Sent++
	t.BytesIn += s.in
	t.BytesOut += s.out
	if s.kind.answered() {
		t.Done++
	}
	if s.kind != noError {
		t.Failed++
		if t.Errors == nil {
			t.Errors = map[string]int64{}
		}
		t.Errors[s.kind.String()]++
	}
	if s.checked {
		t.Checked++
	}
	if s.damaged {
		t.Damaged++
	}
	if s.redialed {
		t.Redialed++
	}
}

// Add adds what another counted.
func (t *Totals) Add(o *Totals) {
	t.Scheduled += o.Scheduled
	t.Sent += o.Sent
	t.Unsent += o.Unsent
	t.Done += o.Done
	t.Failed += o.Failed
	t.BytesIn += o.BytesIn
	t.BytesOut += o.BytesOut
	t.Checked += o.Checked
	t.Damaged += o.Damaged
	t.Redialed += o.Redialed
	for kind, n := range o.Errors {
		if t.Errors == nil {
			t.Errors = map[string]int64{}
		}
		t.Errors[kind] += n
	}
}

func (r *recorder) seriesOf(key seriesKey) *Series {
	if r.lastOf != nil && key == r.last {
		return r.lastOf
	}
	s := r.series[key]
	if s == nil {
		if len(r.series) >= maxSeries {
			key.status, key.cache = 0, otherCache
		}
		if s = r.series[key]; s == nil {
			s = &Series{Part: r.parts[key.part], Op: key.op.String(), Status: key.status, Cache: key.cache, Error: key.kind.String(),
				Response: &Histogram{}, Service: &Histogram{}, Lateness: &Histogram{}}
			r.series[key] = s
		}
	}
	r.last, r.lastOf = key, s
	return s
}

// closeInterval ends interval number i, and all before it, and returns it.
// asked is the rate that was aimed at, cpu the CPU time since the last one ended.
func (r *recorder) closeInterval(i int, length time.Duration, asked float64, cpu time.Duration) Interval {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.interval(i)
	r.closed = i + 1
	at.Length, at.Asked, at.CPU = length, asked, cpu
	if open := r.open[i]; open != nil {
		delete(r.open, i)
		at.P50, at.P90, at.P99 = open.response.Quantile(0.5), open.response.Quantile(0.9), open.response.Quantile(0.99)
		at.P999, at.Max = open.response.Quantile(0.999), open.response.Max()
		at.Response, at.Service = open.response.encoded(), open.service.encoded()
		open.response.Reset()
		open.service.Reset()
		r.spare = open
	}
	return *at
}

// left returns the first and the last of the intervals that are to be closed when
// the run took so long.
func (r *recorder) left(took time.Duration) (first, last int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last = max(int((took-1)/r.length), len(r.intervals)-1)
	return r.closed, last
}

// encoded is Encode of a Histogram of our own, which cannot fail.
func (h *Histogram) encoded() Encoded {
	e, _ := h.Encode()
	return e
}

// fill puts what was recorded into a Result.
func (r *recorder) fill(result *Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result.Response, result.Service, result.Lateness = &Histogram{}, &Histogram{}, &Histogram{}
	result.Series = []Series{}
	for _, s := range r.series {
		result.Series = append(result.Series, *s)
		result.Response.Merge(s.Response)
		result.Service.Merge(s.Service)
		result.Lateness.Merge(s.Lateness)
	}
	slices.SortFunc(result.Series, func(a, b Series) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Error, b.Error),
			cmp.Compare(a.Status, b.Status), cmp.Compare(a.Cache, b.Cache))
	})
	result.Intervals = r.intervals
	for i := range r.intervals {
		result.Totals.Add(&r.intervals[i].Totals)
	}
	if len(r.examples) > 0 {
		result.Examples = r.examples
	}
	result.Self.Lateness, result.Self.Waited = &r.own, r.waited
}
