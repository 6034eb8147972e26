package node

import (
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/gateway"
)

// clientSeries returns the series of clients' requests that a scrape reads, some
// tens of them.
func (m *meter) clientSeries() []*dto.MetricFamily {
	families, err := m.clients.Gather()
	if err != nil {
		return nil // never: all that is registered describes itself
	}
	return families
}

// answerCounts returns how many answers clients got from where and how long those
// took: reads by the tier that answered, and under "" what is no read or came from
// no tier.
func (m *meter) answerCounts(families []*dto.MetricFamily) []console.AnswerCount {
	from := map[string]*console.AnswerCount{}
	for _, family := range families {
		for _, series := range family.GetMetric() {
			h := series.GetHistogram()
			if h == nil {
				continue
			}
			tier := labelOf(series.GetLabel(), "tier")
			if op := labelOf(series.GetLabel(), "op"); op != gateway.OpGet && op != gateway.OpHead {
				tier = ""
			}
			count := from[tier]
			if count == nil {
				count = &console.AnswerCount{From: tier, Bounds: m.bounds, Buckets: make([]int64, len(m.bounds))}
				from[tier] = count
			}
			count.Count += int64(h.GetSampleCount())
			for i, b := range h.GetBucket()[:len(m.bounds)] { // behind them there may be one of the largest exemplar
				count.Buckets[i] += int64(b.GetCumulativeCount())
			}
		}
	}
	var counts []console.AnswerCount
	for _, tier := range slices.Sorted(maps.Keys(from)) {
		if from[tier].Count > 0 {
			counts = append(counts, *from[tier])
		}
	}
	return counts
}

// notImplemented is the status of what this dialect of S3 does not have, such as
// multipart uploads: an answer as intended, and no failure of the node.
const notImplemented = "501"

// totals returns how many requests of clients have ended, how many of them in
// vain, with 5xx but 501 or an answer that broke off, and the bytes of all bodies.
func totals(families []*dto.MetricFamily) (requests, failed, bytesIn, bytesOut int64) {
	for _, family := range families {
		for _, series := range family.GetMetric() {
			if series.GetCounter() == nil {
				continue
			}
			n := int64(series.GetCounter().GetValue())
			code, direction := labelOf(series.GetLabel(), "code"), labelOf(series.GetLabel(), "direction")
			switch {
			case code != "":
				requests += n
				if strings.HasPrefix(code, "5") && code != notImplemented {
					failed += n
				}
			case direction == "in":
				bytesIn += n
			case direction == "out":
				bytesOut += n
			default: // answers that broke off
				failed += n
			}
		}
	}
	return
}

// labelOf returns the value of a label, "" if there is none.
func labelOf[P interface {
	GetName() string
	GetValue() string
}](labels []P, name string) string {
	for _, l := range labels {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
