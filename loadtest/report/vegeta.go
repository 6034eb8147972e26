package report

import (
	"bufio"
	"container/heap"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
)

// A VegetaFormat is one of the two encodings of vegeta v12 that are text.
type VegetaFormat string

// The encodings of single results that vegeta reads by itself.
const (
	VegetaCSV  VegetaFormat = "csv"
	VegetaJSON VegetaFormat = "json"
)

// A vegetaResult is a Result of vegeta v12, in the order of its JSON.
type vegetaResult struct {
	Attack    string              `json:"attack"`
	Seq       uint64              `json:"seq"`
	Code      uint16              `json:"code"`
	Timestamp time.Time           `json:"timestamp"`
	Latency   time.Duration       `json:"latency"`
	BytesOut  uint64              `json:"bytes_out"`
	BytesIn   uint64              `json:"bytes_in"`
	Error     string              `json:"error"`
	Body      []byte              `json:"body"`
	Method    string              `json:"method"`
	URL       string              `json:"url"`
	Headers   map[string][]string `json:"headers"`
}

// Vegeta writes a run as single results that vegeta report, plot and encode
// read. A run keeps histograms, not single results, so these are made up, so
// that all that the histograms know comes out of them again:
//
//   - there is one for each request that was sent;
//   - each second of the run has the latencies of the requests that ended in it,
//     and each status, operation and tier has the latencies that it had, both
//     within a thousandth;
//   - each second has its number of errors of each kind, as far as the two above
//     leave the choice;
//   - bytes are the mean of the status, operation and tier.
//
// What is not known is drawn, always in the same way: when within its second an
// answer ended (they are spread evenly), and which of the latencies of a second
// belongs to which status if several of them fit. Latencies are response times, from
// when a request was due, and so is the timestamp: the time when the request was
// due. Requests that never were sent are not among them. Vegeta calls an answer
// of 200 a success also if its body was damaged.
func Vegeta(w io.Writer, r *loadtest.Result, format VegetaFormat) error {
	out := bufio.NewWriter(w)
	var write func(*vegetaResult) error
	var rows *csv.Writer
	switch format {
	case VegetaCSV:
		rows = csv.NewWriter(out)
		write = vegetaCSV(rows)
	case VegetaJSON:
		lines := json.NewEncoder(out)
		write = func(one *vegetaResult) error { return lines.Encode(one) }
	default:
		return fmt.Errorf("report: vegeta has no encoding %q, there are %s and %s", format, VegetaCSV, VegetaJSON)
	}
	e := &expansion{run: r, pool: poolOf(r), random: rand.New(rand.NewPCG(r.Config.Seed, 0)), write: write}
	if err := e.expand(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if rows != nil {
		if rows.Flush(); rows.Error() != nil {
			return fmt.Errorf("report: %w", rows.Error())
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func vegetaCSV(w *csv.Writer) func(*vegetaResult) error {
	return func(r *vegetaResult) error {
		return w.Write([]string{
			strconv.FormatInt(r.Timestamp.UnixNano(), 10), strconv.Itoa(int(r.Code)), strconv.FormatInt(int64(r.Latency), 10),
			strconv.FormatUint(r.BytesOut, 10), strconv.FormatUint(r.BytesIn, 10), r.Error, "", r.Attack,
			strconv.FormatUint(r.Seq, 10), r.Method, r.URL, "",
		})
	}
}

// A source is a series of which results are still to be made.
type source struct {
	*loadtest.Series
	made, out, puts int64 // results so far; bytes out of all puts, and their number
}

// a stock is how many results of one latency a source still has to give.
type stock struct {
	from *source
	left int64
}

// latencies lists the values of a histogram, one for each bucket, and how often
// each is in it.
func latencies(h *loadtest.Histogram, add func(value, count int64)) {
	for _, bar := range h.HDR().Distribution() {
		if bar.Count > 0 {
			add(bar.To, bar.Count)
		}
	}
}

// poolOf sorts what the series have by latency.
func poolOf(r *loadtest.Result) map[int64][]*stock {
	puts := int64(0)
	for i := range r.Series {
		if r.Series[i].Op == "put" {
			puts += r.Series[i].Count
		}
	}
	pool := map[int64][]*stock{}
	for i := range r.Series {
		from := &source{Series: &r.Series[i], out: r.Totals.BytesOut, puts: puts}
		latencies(r.Series[i].Response, func(value, count int64) {
			pool[value] = append(pool[value], &stock{from, count})
		})
	}
	return pool
}

// An expansion turns the histograms of a run into single results.
type expansion struct {
	run     *loadtest.Result
	pool    map[int64][]*stock
	random  *rand.Rand
	pending queue
	seq     uint64
	write   func(*vegetaResult) error
}

func (e *expansion) expand() error {
	horizon, err := e.horizons()
	if err != nil {
		return err
	}
	for i := range e.run.Intervals {
		values, err := valuesOf(&e.run.Intervals[i])
		if err != nil {
			return err
		}
		if err := e.interval(&e.run.Intervals[i], values); err != nil {
			return err
		}
		for len(e.pending) > 0 && e.pending[0].Timestamp.Before(horizon[i]) {
			if err := e.emit(); err != nil {
				return err
			}
		}
	}
	for len(e.pending) > 0 {
		if err := e.emit(); err != nil {
			return err
		}
	}
	if int64(e.seq) != e.run.Response.Count() {
		return fmt.Errorf("the seconds of the run have %d requests, the run has %d", e.seq, e.run.Response.Count())
	}
	return nil
}

// horizons returns for each interval the earliest time at which a request of a
// later one can have been due. Vegeta's plot wants the results in the order of
// their timestamps, and a run does not fit into memory.
func (e *expansion) horizons() ([]time.Time, error) {
	all := make([]time.Time, len(e.run.Intervals))
	earliest := e.run.Start.Add(1 << 62)
	for i, in := range slices.Backward(e.run.Intervals) {
		all[i] = earliest
		values, err := valuesOf(&in)
		if err != nil {
			return nil, err
		}
		if len(values) > 0 {
			first := e.run.Start.Add(in.Offset - time.Duration(slices.Max(values)))
			if first.Before(earliest) {
				earliest = first
			}
		}
	}
	return all, nil
}

// valuesOf returns the latencies of an interval, one for each request.
func valuesOf(in *loadtest.Interval) ([]int64, error) {
	h, err := in.Response.Decode()
	if err != nil {
		return nil, fmt.Errorf("the interval at %s: %w", in.Offset, err)
	}
	var values []int64
	latencies(h, func(value, count int64) {
		for range count {
			values = append(values, value)
		}
	})
	return values, nil
}

// interval makes the results that ended in an interval.
func (e *expansion) interval(in *loadtest.Interval, values []int64) error {
	e.random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	chosen := make([]*source, len(values))
	// The errors of the second first: they are few, and not every latency fits them.
	for _, kind := range slices.Sorted(maps.Keys(in.Errors)) {
		left := in.Errors[kind]
		for i := 0; i < len(values) && left > 0; i++ {
			if chosen[i] == nil {
				if chosen[i] = e.take(values[i], func(s *source) bool { return s.Error == kind }); chosen[i] != nil {
					left--
				}
			}
		}
	}
	for i := range values {
		if chosen[i] == nil {
			chosen[i] = e.take(values[i], func(s *source) bool { return s.Error == "" })
		}
		if chosen[i] == nil {
			chosen[i] = e.take(values[i], func(*source) bool { return true })
		}
		if chosen[i] == nil {
			return errors.New("the series of the run lack a latency that one of its seconds has")
		}
		end := in.Offset + time.Duration((float64(i)+0.5)/float64(len(values))*float64(in.Length))
		heap.Push(&e.pending, e.result(chosen[i], e.run.Start.Add(end), time.Duration(values[i])))
	}
	return nil
}

// take draws a source that fits and has a result of the latency left, each as
// likely as it has results left; nil if none has.
func (e *expansion) take(value int64, fits func(*source) bool) *source {
	total := int64(0)
	for _, s := range e.pool[value] {
		if fits(s.from) {
			total += s.left
		}
	}
	if total == 0 {
		return nil
	}
	draw := e.random.Int64N(total)
	for _, s := range e.pool[value] {
		if !fits(s.from) {
			continue
		}
		if draw < s.left {
			s.left--
			return s.from
		}
		draw -= s.left
	}
	return nil // not reached: draw is less than the total
}

// result makes one result of a source.
func (e *expansion) result(s *source, end time.Time, latency time.Duration) *vegetaResult {
	target := "http://unknown"
	if targets := e.run.Config.Targets; len(targets) > 0 {
		target = targets[0]
	}
	one := &vegetaResult{
		Attack: title(e.run), Code: uint16(s.Status), Timestamp: end.Add(-latency), Latency: latency,
		Error: s.Error, Method: method(s.Op), URL: target + "/" + e.run.Config.Bucket + "/" + s.Part,
		BytesIn: nth(s.BytesIn, s.Count, s.made),
	}
	if s.Error == loadtest.ErrorStatus {
		one.Error = strconv.Itoa(s.Status)
	}
	if s.Op == "put" {
		one.BytesOut = nth(s.out, s.puts, s.made)
	}
	s.made++
	return one
}

// nth is the share of the i-th of n in total, so that all shares sum up to it.
func nth(total, n, i int64) uint64 {
	if n <= 0 || total <= 0 {
		return 0
	}
	share := total / n
	if i < total%n {
		share++
	}
	return uint64(share)
}

func method(op string) string {
	switch op {
	case "range", "list":
		return "GET"
	}
	return strings.ToUpper(op)
}

// emit writes the result that was due first.
func (e *expansion) emit() error {
	one := heap.Pop(&e.pending).(*vegetaResult)
	one.Seq = e.seq
	e.seq++
	return e.write(one)
}

// A queue is a heap of results by timestamp.
type queue []*vegetaResult

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].Timestamp.Before(q[j].Timestamp) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push adds a result, for container/heap.
func (q *queue) Push(x any) { *q = append(*q, x.(*vegetaResult)) }

// Pop takes the last one, for container/heap.
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = nil
	*q = (*q)[:len(*q)-1]
	return last
}
