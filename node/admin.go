package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
)

// adminHandler serves what operators and their tools ask. It changes nothing but the
// level of the log. What shows names of objects, or makes the node work, is not for the
// pages of other sites; who probes and scrapes may ask by any name.
func (n *Node) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", n.serveFront)
	for _, path := range []string{"/assets/", "/status", "/history", "/events", "/lookup"} {
		mux.Handle("GET "+path, n.console)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.HandleFunc("GET /ring", n.serveRing)
	mux.HandleFunc("GET /hot", n.serveHot)
	mux.HandleFunc("GET /log", n.serveLevel)
	mux.Handle("PUT /log", http.NewCrossOriginProtection().Handler(http.HandlerFunc(n.setLevel)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.meter.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	guarded := n.console.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A mux would clean the path, and a key is not a path: it is taken as
		// it was sent.
		if name, ok := strings.CutPrefix(r.URL.Path, "/where/"); ok {
			n.serveWhere(w, r, name)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz", "/metrics":
			mux.ServeHTTP(w, r)
		default:
			guarded.ServeHTTP(w, r)
		}
	})
}

// serveFront serves the console to browsers, and a list of what there is to others.
func (n *Node) serveFront(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		n.console.ServeHTTP(w, r)
		return
	}
	n.serveIndex(w, r)
}

func (n *Node) serveIndex(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "micelio-node %s, cluster %s\n\n", n.id, n.cfg.Cluster)
	for _, line := range []string{
		"/               the console, for browsers; /status and /history are the same as JSON",
		"/healthz        is the process alive",
		"/readyz         should clients come here; ?verbose says why not",
		"/ring           members, states, shares and the epoch; ?check asks each for its own",
		"/where/KEY      class, owner and copies of a key; ?check asks every member for its copies",
		"/hot            the keys that are read most through this node",
		"/log            the level of the log; PUT /log?level=debug changes it",
		"/metrics        for Prometheus",
		"/debug/pprof/   profiles",
	} {
		fmt.Fprintln(w, line)
	}
}

// A check is one line of /readyz?verbose.
type check struct {
	name string
	ok   bool
	say  string
	says bool // it only says how things are: not being ok does not count
}

// bars reports whether the check keeps the node from being ready.
func (c check) bars() bool { return !c.ok && !c.says }

// checks are what makes a node ready. The origin is only told of: it is the
// same for all nodes, and if they all left at once, nobody could answer even
// from the tiers.
func (n *Node) checks() []check {
	phase := n.phase.Load()
	view := n.ring.View()
	joined := check{name: "ring", ok: phase != phaseStarting, say: fmt.Sprintf("epoch %s, %d members", formatEpoch(view.Epoch()), len(view.Members()))}
	checks := []check{
		{name: "listeners", ok: true, say: "client " + n.Addr()},
		joined,
		n.membershipCheck(),
		ringCheck(n.ring.Fault()),
		{name: "not draining", ok: phase != phaseDraining, say: "a draining node takes no new clients"},
		n.originCheck(),
		n.warmth(),
	}
	if n.canary != nil {
		checks = append(checks, n.canary.check())
	}
	return checks
}

func (n *Node) serveReady(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	ready := true
	var lines strings.Builder
	for _, c := range n.checks() {
		mark := "+"
		switch {
		case c.bars():
			ready, mark = false, "-"
		case !c.ok:
			mark = "!"
		}
		fmt.Fprintf(&lines, "[%s] %s: %s\n", mark, c.name, c.say)
	}
	word := "ready"
	if !ready {
		word = "not ready"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if r.URL.Query().Has("verbose") {
		fmt.Fprint(w, lines.String())
	}
	fmt.Fprintln(w, word)
}

// formatEpoch returns an epoch as people and JSON see it: a 64-bit number
// would lose digits in JavaScript.
func formatEpoch(e uint64) string { return fmt.Sprintf("%016x", e) }

type memberReport struct {
	ID     string     `json:"id"`
	State  ring.State `json:"state"`
	Boot   uint64     `json:"boot,string"`
	Weight int        `json:"weight"`
	Share  float64    `json:"share"`
	Data   string     `json:"data"`
	Peer   string     `json:"peer"`
	Admin  string     `json:"admin"`
	Self   bool       `json:"self,omitempty"`

	// What the member said when it was asked, with ?check.
	Epoch string  `json:"epoch,omitempty"`
	RTT   float64 `json:"rtt,omitempty"` // seconds
	Error string  `json:"error,omitempty"`
}

type ringReport struct {
	Epoch   string         `json:"epoch"`
	Cluster string         `json:"cluster"`
	Self    string         `json:"self"`
	Members []memberReport `json:"members"`
}

// serveRing describes the ring. With ?check each member is asked for its own view.
func (n *Node) serveRing(w http.ResponseWriter, r *http.Request) {
	check := r.URL.Query().Has("check")
	if check && !n.checking(w, r, n.plane.acquaintances.round) {
		return
	}
	view := n.ring.View()
	report := ringReport{Epoch: formatEpoch(view.Epoch()), Cluster: n.cfg.Cluster, Self: n.id, Members: []memberReport{}}
	for _, m := range view.Members() {
		member := memberReport{
			ID: m.ID, State: m.State, Boot: m.Boot, Weight: max(m.Weight, 1), Share: view.Share(m.ID),
			Data: m.DataAddr, Peer: m.PeerAddr, Admin: m.AdminAddr, Self: m.ID == n.id,
		}
		if check {
			n.reportEpoch(&member, m, report.Epoch)
		}
		report.Members = append(report.Members, member)
	}
	writeJSON(w, http.StatusOK, report)
}

// reportEpoch adds what a member said of its view; this node's is of epoch mine.
func (n *Node) reportEpoch(report *memberReport, m ring.Member, mine string) {
	if report.Self {
		report.Epoch = mine
		return
	}
	switch known := n.plane.acquaintances.about(m); {
	case known.err != nil:
		report.Error = known.err.Error()
	case known.heard.IsZero():
		report.Error = "it joined just now"
	default:
		report.Epoch, report.RTT = formatEpoch(known.epoch), known.rtt.Seconds()
	}
}

type whereReport struct {
	Key        object.Key    `json:"key"`
	Class      string        `json:"class"`
	Staleness  string        `json:"staleness,omitempty"` // how old a read may be
	Epoch      string        `json:"epoch"`
	Partition  *int          `json:"partition,omitempty"` // of the key space
	Owner      string        `json:"owner"`               // "" if no node serves, or without tiers
	Candidates []string      `json:"candidates"`          // the owner and who follows it, if they answer or not
	Asked      []string      `json:"asked"`               // who would be asked now, in order; this node is always last
	Self       string        `json:"self"`
	Held       []object.Tier `json:"held"` // this node's tiers with a copy

	Copies []console.Copy `json:"copies,omitempty"` // what each member has, with ?check
}

// whereCandidates is how many nodes a request tries before this node's stack.
const whereCandidates = 2

func (n *Node) serveWhere(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	key, err := object.ParseKey(name)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	report := n.whereIs(key)
	if r.URL.Query().Has("check") && !n.checking(w, r, func(ctx context.Context) { report.Copies = n.whoHas(ctx, key) }) {
		return
	}
	writeJSON(w, http.StatusOK, report)
}

// whereIs says where this node sends a key, and what it has of it.
func (n *Node) whereIs(key object.Key) whereReport {
	view := n.ring.View()
	class, _ := n.classes.Of(key)
	report := whereReport{Key: key, Class: class.String(), Epoch: formatEpoch(view.Epoch()), Self: n.id, Candidates: []string{}, Held: []object.Tier{}}
	if budget := n.staleness.Of(key); class == object.Mutable && budget > 0 && n.cache != nil {
		report.Staleness = budget.String()
	}
	if n.cache != nil { // without tiers no node is asked before another
		for _, m := range view.Candidates(string(key), whereCandidates) {
			report.Candidates = append(report.Candidates, m.ID)
		}
		if len(report.Candidates) > 0 {
			report.Owner = report.Candidates[0]
		}
		report.Held = append(report.Held, n.cache.Holds(key)...)
	}
	report.Partition, report.Asked = n.route(key)
	return report
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // a key is read as it is written
	// The status is sent: an error here is the client's departure.
	_ = enc.Encode(v)
}
