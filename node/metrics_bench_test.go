package node

import (
	"net/http"
	"testing"
	"time"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
)

// Every hit in memory is counted so: it must cost no look-up by labels and no
// allocation.
func BenchmarkLaneObserve(b *testing.B) {
	l := newLaneMeter(newMeter())
	o := fastlane.Observation{Status: http.StatusOK, Tier: object.TierRAM, Duration: 80 * time.Microsecond, Bytes: 4 << 10}
	b.ReportAllocs()
	for b.Loop() {
		l.observe(o)
	}
}

// The console asks once a second.
func BenchmarkAnswerCounts(b *testing.B) {
	m := newMeter()
	for _, op := range []string{"get", "head", "put", "delete", "list"} {
		for _, tier := range []object.Tier{"", object.TierHot, object.TierRAM, object.TierSSD, object.TierFill, object.TierPeer, object.TierCDN, object.TierOrigin} {
			for d := time.Microsecond; d < time.Minute; d *= 2 {
				m.observe(gateway.Observation{Op: op, Status: http.StatusOK, Tier: tier, Duration: d})
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		clients := m.clientSeries()
		m.answerCounts(clients)
		totals(clients)
	}
}

// The console asks once a second while somebody looks, and samples the counters
// every five seconds.
func BenchmarkStatus(b *testing.B) {
	n := openNode(b)
	for _, op := range []string{"get", "head", "put", "delete", "list"} {
		for _, tier := range []object.Tier{"", object.TierHot, object.TierRAM, object.TierSSD, object.TierFill, object.TierPeer, object.TierCDN, object.TierOrigin} {
			n.meter.observe(gateway.Observation{Op: op, Status: http.StatusOK, Tier: tier, Duration: time.Millisecond})
		}
	}
	b.Run("Counters", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n.showcase.Counters()
		}
	})
	b.Run("Status", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n.showcase.Status(n.showcase.Counters())
		}
	})
}
