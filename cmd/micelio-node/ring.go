package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
)

// ringPath is the page on which a node shows its ring. The query checked makes it ask
// each member before, at its peer listener.
const (
	ringPath = "/ring"
	checked  = "check"
)

// A ringAnswer is the ring as one node sees it.
type ringAnswer struct {
	Epoch   string
	Cluster string
	Self    string
	Members []ringMember
}

// A ringMember is a member as another one knows it.
type ringMember struct {
	ID     string  `json:"id"`
	State  string  `json:"state"`
	Weight int     `json:"weight,omitempty"` // 0: it says none, which is 1
	Share  float64 `json:"share"`
	Boot   string  `json:"boot"`
	Data   string  `json:"data"`
	Peer   string  `json:"peer"`
	Admin  string  `json:"admin"`

	// What it said to the node that was asked, if that was to check.
	Heard string `json:"epoch,omitempty"`
}

// serving returns the ids of the members that own keys.
func (r *ringAnswer) serving() (ids []string) {
	for _, m := range r.Members {
		if m.State == "serving" {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// A ringReport is what the command prints.
type ringReport struct {
	Asked   string         `json:"asked"` // address
	Node    string         `json:"node"`  // id
	Cluster string         `json:"cluster"`
	Epoch   string         `json:"epoch"`
	Agreed  bool           `json:"agreed"` // all members answered, with this epoch
	Members []memberReport `json:"members"`
}

// A memberReport is a member as the node that was asked knows it, and what it
// says itself.
type memberReport struct {
	ringMember
	KnownTo string   `json:"known_to,omitempty"` // who named it, if the node that was asked does not know it
	Epoch   string   `json:"epoch,omitempty"`    // that it sees itself, "" if it does not say
	Serving []string `json:"serving,omitempty"`  // whom it sees serve, nil if it does not say
	Error   string   `json:"error,omitempty"`    // why it does not say
}

// agrees reports whether the member answered with this epoch.
func (m *memberReport) agrees(epoch string) bool { return m.Error == "" && m.Epoch == epoch }

// ringFlags are what the command's own arguments say.
type ringFlags struct{ json bool }

func (f *ringFlags) declare(fs *flag.FlagSet) { fs.BoolVar(&f.json, "json", false, jsonUsage) }

const jsonUsage = "print JSON, for programs"

// runRing prints the ring of the node of the same configuration, and whether
// the others see the same. It exits with 1 unless all of them answer and do.
func (a *app) runRing(ctx context.Context, args []string) int {
	var own ringFlags
	l := a.settle(args, own.declare)
	if l == nil {
		return exitOK
	}
	address, problems := l.adminAddress()
	if len(problems) > 0 {
		return a.reject(problems)
	}
	report, err := newQuestioner().ring(ctx, address)
	if err != nil {
		return a.complain(address, err)
	}
	return a.show(report, own.json)
}

func (r *ringReport) good() bool { return r.Agreed }

// What bounds the search for members, which whoever answers could go on naming. A
// view that knows others leads to them in few rounds, and hundreds are a large cluster.
const (
	maxRounds  = 10
	maxMembers = 4096
)

// errEndless is the answer of what names more and more members.
var errEndless = fmt.Errorf("what its members say of others has no end: more than %d, or in more than %d rounds", maxMembers, maxRounds)

// ring asks a node for its ring, and every member for its own. Members that only
// others know are asked too: a view of one half of a cluster does not say that
// there is another. Of a member whose admin listener cannot be reached from here
// counts what it said to the node that was asked.
func (q *questioner) ring(ctx context.Context, address string) (*ringReport, error) {
	var first ringAnswer
	if err := q.ask(ctx, address, ringPath, checked, &first); err != nil {
		return nil, err
	}
	if first.Self == "" {
		return nil, errNoNode
	}
	r := &ringReport{Asked: address, Node: first.Self, Cluster: first.Cluster, Epoch: first.Epoch, Members: []memberReport{}}
	r.learn(&first)
	rounds := 0
	for asked := 0; asked < len(r.Members); rounds++ { // an answer may name more
		if rounds == maxRounds || len(r.Members) > maxMembers {
			return nil, errEndless
		}
		some := r.Members[asked:]
		answers := make([]ringAnswer, len(some))
		var all sync.WaitGroup
		for i := range some {
			if some[i].ID == first.Self {
				some[i].says(&first)
				continue
			}
			all.Go(func() {
				err := q.askMember(ctx, some[i].ringMember, ringPath, &answers[i], &answers[i].Self)
				switch {
				case err == nil:
					some[i].says(&answers[i])
					return
				case some[i].Heard != "": // its admin listener is for its own machine, most likely
					some[i].Epoch = some[i].Heard
				default:
					some[i].Error = err.Error()
				}
				answers[i] = ringAnswer{} // it may be another node's
			})
		}
		all.Wait()
		asked = len(r.Members)
		for i := range answers {
			r.learn(&answers[i])
		}
	}
	r.Agreed = !slices.ContainsFunc(r.Members, func(m memberReport) bool { return !m.agrees(r.Epoch) })
	return r, nil
}

// says notes what a member answered.
func (m *memberReport) says(r *ringAnswer) {
	m.Epoch, m.Serving = r.Epoch, append([]string{}, r.serving()...)
}

// learn takes over the members that are not known yet.
func (r *ringReport) learn(from *ringAnswer) {
	for _, m := range from.Members {
		if len(r.Members) > maxMembers {
			return
		}
		if slices.ContainsFunc(r.Members, func(known memberReport) bool { return known.ID == m.ID }) {
			continue
		}
		added := memberReport{ringMember: m}
		if from.Self != r.Node {
			added.KnownTo = from.Self
		}
		r.Members = append(r.Members, added)
	}
}

// askMember asks a member at its admin address. self is where the answer has the
// id of who gave it: the loopback address of another machine leads to a node of
// this one.
func (q *questioner) askMember(ctx context.Context, m ringMember, path string, answer any, self *string) error {
	if m.Admin == "" {
		return fmt.Errorf("no admin address is known")
	}
	if err := q.ask(ctx, m.Admin, path, "", answer); err != nil {
		return err
	}
	if *self == m.ID {
		return nil
	}
	hint := ""
	if at, err := netip.ParseAddrPort(m.Admin); err == nil && at.Addr().Unmap().IsLoopback() {
		hint = ": its admin listener is for its own machine only (--admin-listen)"
	}
	return fmt.Errorf("%s leads to %s%s", m.Admin, cmp.Or(*self, "what is no node"), hint)
}

// print writes the report as a table, and below it who does not agree.
func (r *ringReport) print(w io.Writer) {
	fmt.Fprintf(w, "cluster %s, epoch %s, as %s sees it\n\n", r.Cluster, r.Epoch, r.Node)
	t := newTable(w, "NODE", "STATE", "WEIGHT", "SHARE", "EPOCH", "CLIENTS", "PEERS", "ADMIN")
	agree := 0
	for _, m := range r.Members {
		if m.agrees(r.Epoch) {
			agree++
		}
		share := "-"
		if m.Share > 0 {
			share = fmt.Sprintf("%.1f %%", 100*m.Share)
		}
		t.row(m.ID, m.State, strconv.Itoa(max(m.Weight, 1)), share, m.Epoch, m.Data, m.Peer, m.Admin)
	}
	t.flush()
	if r.Agreed {
		fmt.Fprintf(w, "\nall %d agree on the epoch\n", len(r.Members))
		return
	}
	fmt.Fprintf(w, "\n%d of %d agree on the epoch\n", agree, len(r.Members))
	for _, m := range r.Members {
		switch {
		case m.Error != "":
			fmt.Fprintf(w, "  %s: %s\n", m.ID, m.Error)
		case m.Epoch != r.Epoch && m.Serving == nil:
			fmt.Fprintf(w, "  %s: epoch %s, as it told %s\n", m.ID, m.Epoch, r.Node)
		case m.Epoch != r.Epoch:
			fmt.Fprintf(w, "  %s: epoch %s, sees %d serve: %s\n", m.ID, m.Epoch, len(m.Serving), strings.Join(m.Serving, ", "))
		}
		if m.KnownTo != "" {
			fmt.Fprintf(w, "  %s: known to %s, and not to %s\n", m.ID, m.KnownTo, r.Node)
		}
	}
}

// A table is columns of text for people.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, columns ...string) table {
	const padding = 2
	t := table{tabwriter.NewWriter(w, 0, 0, padding, ' ', 0)}
	t.row(columns...)
	return t
}

// row adds a line; what is "" is shown as missing.
func (t table) row(cells ...string) {
	for i := range cells {
		cells[i] = cmp.Or(cells[i], "-")
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t table) flush() { _ = t.w.Flush() } // a reader that left
