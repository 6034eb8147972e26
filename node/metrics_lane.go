package node

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
)

// A laneMeter counts what the fast lane answers into a meter. It looks no series up
// by its labels twice, which takes a lock that all cores share.
type laneMeter struct {
	*meter
	duration [len(laneOps)][len(laneTiers)]prometheus.Observer
	requests [len(laneOps)][len(laneStatuses)][len(laneTiers)]atomic.Pointer[prometheus.Counter]
}

// What a fast lane may answer, and from where. Anything else is counted the long
// way.
var (
	laneOps      = [...]string{gateway.OpGet, gateway.OpHead}
	laneStatuses = [...]int{http.StatusOK, http.StatusPartialContent, http.StatusNotModified}
	laneTiers    = [...]object.Tier{object.TierRAM, object.TierHot}
)

func newLaneMeter(m *meter) *laneMeter {
	l := &laneMeter{meter: m}
	for i, op := range laneOps {
		for j, tier := range laneTiers {
			l.duration[i][j] = m.duration.WithLabelValues(op, string(tier), fastLane)
		}
	}
	return l
}

// observe counts an answer.
func (l *laneMeter) observe(o fastlane.Observation) {
	op := 0
	if o.Head {
		op = 1
	}
	status, tier := slices.Index(laneStatuses[:], o.Status), slices.Index(laneTiers[:], o.Tier)
	if status < 0 || tier < 0 {
		l.meter.observe(gateway.Observation{Op: laneOps[op], Status: o.Status, Tier: o.Tier, Duration: o.Duration, BytesOut: o.Bytes})
		return
	}
	at := &l.requests[op][status][tier]
	series := at.Load()
	if series == nil { // made when it is first needed, as all series are
		c := l.meter.requests.WithLabelValues(laneOps[op], strconv.Itoa(o.Status), tierLabel(o.Tier))
		series = &c
		at.Store(series)
	}
	(*series).Inc()
	l.duration[op][tier].Observe(o.Duration.Seconds())
	l.out.Add(float64(o.Bytes))
}
