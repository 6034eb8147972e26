package loadtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision of every histogram: from a microsecond, below which
// the clock and the scheduler of the generator are all there is to see, to a
// minute, with three significant digits. One takes 147 kB and 10 ns to record.
const (
	histogramLowest  = int64(time.Microsecond)
	histogramHighest = int64(time.Minute)
	histogramDigits  = 3
)

// A Histogram counts durations with a relative error of at most a thousandth
// (below half a millisecond, of at most half a microsecond). Those below a
// microsecond count as 0, those above a minute as a minute.
//
// In JSON it is a string: HdrHistogram's V2 encoding, compressed, in base64, the
// values in nanoseconds. It is not safe for use by several goroutines while one
// of them changes it. The zero Histogram is empty and ready for use.
type Histogram struct {
	hdr *hdrhistogram.Histogram // nil while empty
}

// Record counts a duration; a negative one is 0.
func (h *Histogram) Record(d time.Duration) {
	// It cannot fail: the value is within the range.
	_ = h.use().RecordValue(min(max(int64(d), 0), histogramHighest))
}

func (h *Histogram) use() *hdrhistogram.Histogram {
	if h.hdr == nil {
		h.hdr = hdrhistogram.New(histogramLowest, histogramHighest, histogramDigits)
	}
	return h.hdr
}

// Merge adds what from counted; nil is empty.
func (h *Histogram) Merge(from *Histogram) {
	if from.Count() > 0 {
		h.use().Merge(from.hdr)
	}
}

// Reset forgets everything.
func (h *Histogram) Reset() {
	if h.hdr != nil {
		h.hdr.Reset()
	}
}

// Count is how many durations were recorded; 0 for a nil Histogram.
func (h *Histogram) Count() int64 {
	if h == nil || h.hdr == nil {
		return 0
	}
	return h.hdr.TotalCount()
}

// Quantile returns the duration that a share q of all, 0 to 1, do not exceed; 0
// of an empty Histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return visible(h.hdr.ValueAtQuantile(100 * q))
}

// Min returns the shortest duration, 0 of an empty Histogram.
func (h *Histogram) Min() time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.hdr.Min())
}

// Max returns the longest duration, 0 of an empty Histogram.
func (h *Histogram) Max() time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return visible(h.hdr.Max())
}

// visible is a value of the histogram as a duration. Those below a microsecond
// are all the same to it, and 0.
func visible(value int64) time.Duration {
	if value < histogramLowest {
		return 0
	}
	return time.Duration(value)
}

// Mean returns the arithmetic mean, 0 of an empty Histogram.
func (h *Histogram) Mean() time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.hdr.Mean())
}

// HDR returns a copy to read with all that the library offers. Its values are
// nanoseconds.
func (h *Histogram) HDR() *hdrhistogram.Histogram {
	if h == nil || h.hdr == nil {
		return new(Histogram).use()
	}
	return h.hdr.Clone()
}

// Encode returns the Histogram as a string.
func (h *Histogram) Encode() (Encoded, error) {
	if h.Count() == 0 {
		return "", nil
	}
	b, err := h.hdr.EncodeV2()
	if err != nil {
		return "", fmt.Errorf("loadtest: encoding a histogram: %w", err)
	}
	return Encoded(b), nil
}

func (h *Histogram) MarshalJSON() ([]byte, error) {
	encoded, err := h.Encode()
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(encoded))
}

func (h *Histogram) UnmarshalJSON(b []byte) error {
	var encoded Encoded
	if err := json.Unmarshal(b, &encoded); err != nil {
		return err
	}
	decoded, err := encoded.Decode()
	if err != nil {
		return err
	}
	h.hdr = decoded.hdr
	return nil
}

// An Encoded is a Histogram as a string: HdrHistogram's V2 encoding, compressed,
// in base64, as its log format and its plotter have it. "" is an empty one.
type Encoded string

// Decode returns the Histogram that was encoded. It refuses one of another range
// or precision than those of this package.
func (e Encoded) Decode() (*Histogram, error) {
	if e == "" {
		return new(Histogram), nil
	}
	hdr, err := hdrhistogram.Decode([]byte(e))
	if err != nil {
		return nil, fmt.Errorf("loadtest: a damaged histogram: %w", err)
	}
	// Whoever sent it says how large the counts are, which is memory.
	if hdr.LowestTrackableValue() != histogramLowest || hdr.HighestTrackableValue() != histogramHighest ||
		hdr.SignificantFigures() != histogramDigits {
		return nil, fmt.Errorf("loadtest: a histogram of %d to %d with %d digits, not one of ours",
			hdr.LowestTrackableValue(), hdr.HighestTrackableValue(), hdr.SignificantFigures())
	}
	return &Histogram{hdr: hdr}, nil
}

func groupSeries(series []Series, key func(*Series) string) []Group {
	byName := map[string]*Group{}
	for i := range series {
		s := &series[i]
		name := key(s)
		if name == "" {
			continue
		}
		g := byName[name]
		if g == nil {
			g = &Group{Name: name, Response: &Histogram{}, Service: &Histogram{}, Lateness: &Histogram{}}
			byName[name] = g
		}
		g.Count += s.Count
		g.BytesIn += s.BytesIn
		g.Response.Merge(s.Response)
		g.Service.Merge(s.Service)
		g.Lateness.Merge(s.Lateness)
	}
	groups := make([]Group, 0, len(byName))
	for _, g := range byName {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return groups
}
