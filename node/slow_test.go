package node

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
)

// finished is a request that took so long.
func finished(took time.Duration) *gateway.Observation {
	return &gateway.Observation{
		Op: gateway.OpGet, Key: object.Key("sessions/" + took.String()), Status: 200, Tier: object.TierFill, Node: "node-1",
		Duration: took, BytesIn: 1, BytesOut: 2, ID: took.String(), Trace: "trace",
	}
}

func TestTheSlowestRequestsOfTheLastHourAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := privacyOf(t, "sessions/**")
		s := newSlowest(p.shown)
		if got := s.list(time.Now()); got == nil || len(got) != 0 {
			t.Errorf("of no requests %v", got)
		}
		var all []time.Duration // of the last hour
		for i := range 5000 {
			took := time.Duration(i*7919%5000+1) * time.Millisecond
			s.note(finished(took), time.Now())
			all = append(all, took)
			time.Sleep(500 * time.Millisecond) // 42 minutes in all
		}
		slices.SortFunc(all, func(a, b time.Duration) int { return int(b - a) })
		got := s.list(time.Now())
		if len(got) != slowKept {
			t.Fatalf("%d requests, want %d", len(got), slowKept)
		}
		for i, r := range got {
			if r.ID != all[i].String() || r.Key != p.shown(object.Key("sessions/"+r.ID)) || r.Bytes != 3 || r.From != "fill" {
				t.Errorf("%d: %+v, want that of %v", i, r, all[i])
			}
		}
	})
}

// A quiet time brings to light what a busy one has covered.
func TestAnHourLaterSlowRequestsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowest(privacyOf(t).shown)
		for i := range 2 * slowKept {
			s.note(finished(time.Hour+time.Duration(i)), time.Now())
		}
		time.Sleep(30 * time.Minute)
		for i := range 10 {
			s.note(finished(time.Duration(i+1)*time.Millisecond), time.Now())
		}
		if got := s.list(time.Now()); got[0].Duration < time.Hour.Seconds() {
			t.Errorf("slowest %+v", got[0])
		}
		time.Sleep(slowFor - 30*time.Minute + time.Second)
		got := s.list(time.Now())
		if len(got) != 10 || got[0].ID != "10ms" {
			t.Errorf("an hour later %d requests, %+v", len(got), got)
		}
		for range 100 {
			time.Sleep(slowSpan)
			s.note(finished(time.Second), time.Now())
		}
		if len(s.spans) > int(slowFor/slowSpan)+1 {
			t.Errorf("%d spans are kept", len(s.spans))
		}
	})
}

func TestARequestThatIsNotSlowCostsNothing(t *testing.T) {
	s := newSlowest(privacyOf(t).shown)
	now := time.Now()
	for i := range slowKept {
		s.note(finished(time.Second+time.Duration(i)), now)
	}
	quick := finished(time.Millisecond)
	if n := testing.AllocsPerRun(100, func() { s.note(quick, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNotSlow(b *testing.B) {
	s := newSlowest(func(k object.Key) string { return string(k) })
	now := time.Now()
	for i := range slowKept {
		s.note(finished(time.Second+time.Duration(i)), now)
	}
	quick := finished(time.Millisecond)
	for b.Loop() {
		s.note(quick, now)
	}
}

// Requests keep being told of by when they ended, whatever the clock was set to.
func TestSlowRequestsAreKnownWhenTheClockIsSetBack(t *testing.T) {
	s, now := newSlowest(privacyOf(t).shown), time.Now()
	for i := range slowKept {
		s.note(finished(time.Hour+time.Duration(i)), now)
	}
	s.note(finished(time.Second), setBack(t, now.Add(2*slowSpan), time.Hour))
	if got := s.list(now.Add(slowFor + slowSpan)); len(got) != 1 || got[0].Duration != 1 {
		t.Errorf("known are %v", got)
	}
}
