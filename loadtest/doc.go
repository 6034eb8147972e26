// Package loadtest puts load on nodes and measures what they make of it. A run
// is a [Config] that says when which requests are sent; [Run] sends them and
// returns a [Result] with histograms, seconds, and what the generator has to say
// about itself. It is a client of the nodes like any other: it knows their
// dialect, the names of their classes of keys, and their metrics, and shares no
// code with them. It does not draw, compare or judge results, and it starts no
// nodes.
//
// # The loop is open
//
// Requests fall due by a [Pacer], whatever becomes of those before them, and the
// response time counts from when a request was due. A server that stands still
// for 400 ms at 5,000 requests a second so delays 2,000 of them, and the 99th
// percentile of four seconds says 360 ms. If the time counted from when a
// request could be sent, only those under way would have seen it, and the 99th
// percentile would be that of a good day. That mistake is called coordinated
// omission, after Gil Tene.
//
// There are as many workers as connections and never more. What is due while all
// of them wait is sent late, and says so, or is counted as unsent; it is never
// left out. A rate of [Max] closes the loop: each connection sends when it was
// answered. That finds out what servers can do, and is labelled as what it is.
//
// # What is asked for
//
// A [Mix] is one or more populations of objects. Keys, sizes, bytes and order all
// follow from the seed, so nothing has to be kept: [Prepare] makes the bytes of
// each object to put it, and a run makes them again to compare what it got. By
// default keys are immutable ones, which a node may answer from what it has.
// Request number i depends on the seed and i alone, so two runs of one Config ask
// for the same, whichever worker was first.
//
// # What to believe
//
// Read [Self] first. A generator without a CPU, or one whose timers are late,
// measures itself, and its run is [Invalid]. Lateness is split for that: what
// servers cause by not being ready is in [Result.Lateness], and in the response
// time, where it belongs; what the generator causes is in [Self.Lateness]. On a
// machine that has nothing else to do that is 0.05 ms at the median. Where answers
// take no longer, the service time is what to look at, or a run with Config.Spin.
//
// # What it costs
//
// The raw client takes half of the CPU time of net/http: 12 µs a request beside
// 21 to 28 on a busy machine, of which 2 are not the kernel's. Workers note what became of their requests
// on a tape of their own; a second or 256 requests later it is added to
// histograms that all share. So memory depends on neither the rate nor the
// length of a run, but for a kilobyte or two for each second.
//
// # Safety
//
// Targets must be on this machine unless Config.AllowRemote says otherwise
// ([ErrRemote]). A run is bounded in time, requests, connections and memory,
// whatever the servers answer.
package loadtest
