package loadtest

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
)

const (
	// maxLateness is the share of the response time's 99th percentile that the
	// generator's own lateness may have at its 99th percentile. What is more is a
	// measurement of the generator.
	//
	// Config.LatenessFloor, 2 ms by default, is allowed in any case: a collection of
	// garbage or another process that comes in between takes that long, and answers
	// from memory take a tenth of it, so that without a floor hardly a run that
	// measures them would be valid. Where it is the floor that makes a run valid, a
	// warning says so: of such a run the service time is what to look at.
	maxLateness = 0.1

	// maxCPUShare is how much of the CPU time that it could have the generator may
	// take. Above it, requests wait for the generator to read their answers.
	maxCPUShare = 0.8

	// manyWaited is the share of requests that waited for a connection from which on
	// it is worth a warning.
	manyWaited = 0.01

	// fewRequests is how many requests a 99th percentile needs to be one.
	fewRequests = 1000
)

// A usage is what the process has used.
type usage struct {
	at    time.Time
	cpu   time.Duration
	pause time.Duration // stopped by the garbage collector
}

func currentUsage() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{at: time.Now(), cpu: cpuTime(), pause: time.Duration(m.PauseTotalNs)}
}

func (u usage) minus(o usage) usage {
	return usage{at: time.Time{}.Add(u.at.Sub(o.at)), cpu: u.cpu - o.cpu, pause: u.pause - o.pause}
}

// cpuTime is the CPU time that the process has used, user and system; 0 if the
// system does not say.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// judge fills in what the generator used, and says whether it can be believed.
func (s *Self) judge(r *Result, used usage) {
	s.CPU, s.GCPause = used.cpu, used.pause
	if r.Took > 0 {
		s.CPUShare = used.cpu.Seconds() / r.Took.Seconds() / float64(r.Host.GOMAXPROCS)
	}
	if r.Totals.Sent > 0 {
		s.CPUPerRequest = used.cpu / time.Duration(r.Totals.Sent)
	}
	s.LatenessP99 = s.Lateness.Quantile(0.99)
	s.invalidate(r)
	s.warn(r)
}

func (s *Self) invalidate(r *Result) {
	s.Verdict, s.Reasons = Valid, nil
	p99 := r.Response.Quantile(0.99)
	if allowed := max(time.Duration(maxLateness*float64(p99)), r.Config.LatenessFloor); r.Loop == LoopOpen && s.LatenessP99 > allowed {
		s.Reasons = append(s.Reasons, fmt.Sprintf(
			"the generator sent late by itself: its lateness p99 is %v, at most %v is allowed beside a response p99 of %v", s.LatenessP99, allowed, p99))
	}
	if s.CPUShare > maxCPUShare {
		s.Reasons = append(s.Reasons, fmt.Sprintf(
			"the generator took %.0f %% of the CPU time it could have, at most %.0f %% is allowed", 100*s.CPUShare, 100*maxCPUShare))
	}
	if r.Totals.Sent == 0 {
		s.Reasons = append(s.Reasons, "no request was sent")
	}
	if len(s.Reasons) > 0 {
		s.Verdict = Invalid
	}
}

// ShortOfConnections reports whether more than one request in a hundred was due
// before a connection was free: the servers did not keep up, or the generator had
// too few connections for the rate, which a run cannot tell apart.
func (r *Result) ShortOfConnections() bool {
	return float64(r.Self.Waited) > manyWaited*float64(r.Totals.Sent)
}

func (s *Self) warn(r *Result) {
	t := &r.Totals
	p99 := r.Response.Quantile(0.99)
	warn := func(on bool, format string, args ...any) {
		if on {
			s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
		}
	}
	warn(t.Damaged > 0, "%d of %d bodies that were compared were damaged", t.Damaged, t.Checked)
	warn(r.Loop == LoopClosed, "the loop is closed: response times are those of requests that waited for each other, not of a given rate")
	warn(r.Loop == LoopOpen && s.LatenessP99 <= r.Config.LatenessFloor && s.LatenessP99 > time.Duration(maxLateness*float64(p99)),
		"of a response p99 of %v, up to %v are the generator's own lateness: look at the service time, or let it spin", p99, s.LatenessP99)
	warn(r.ShortOfConnections(),
		"%d of %d requests waited for a free connection: the servers did not keep up, or there are too few connections", s.Waited, t.Sent)
	warn(t.Unsent > 0, "%d of %d requests were never sent", t.Unsent, t.Scheduled)
	warn(t.Sent > 0 && t.Sent < fewRequests, "a p99 of %d requests is an accident", t.Sent)
}
