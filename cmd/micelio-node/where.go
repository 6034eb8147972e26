package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/micelio/micelio/object"
)

// wherePath begins the page on which a node says where it sends a key.
const wherePath = "/where/"

// A whereAnswer is the route of a key as one node sees it.
type whereAnswer struct {
	Key        string   `json:"key"`
	Class      string   `json:"class"`
	Staleness  string   `json:"staleness,omitempty"`
	Epoch      string   `json:"epoch"`
	Partition  *int     `json:"partition,omitempty"` // nil without tiers
	Owner      string   `json:"owner"`
	Candidates []string `json:"candidates"`
	Asked      []string `json:"asked"`
	Self       string   `json:"self"`
	Held       []string `json:"held"`

	Copies []memberCopies `json:"copies,omitempty"` // what each member has; only if that was asked for
}

// A memberCopies is what a member told the node that was asked.
type memberCopies struct {
	Node  string   `json:"node"`
	Tiers []string `json:"tiers"`
	Error string   `json:"error"`
}

// A whereReport is what the command prints.
type whereReport struct {
	whereAnswer
	Holders []holderReport `json:"holders,omitempty"` // all members, if each was asked
}

// A holderReport is what one member says about a key.
type holderReport struct {
	ID    string   `json:"id"`
	State string   `json:"state"`
	Held  []string `json:"held"`            // its tiers with a copy
	Owner string   `json:"owner,omitempty"` // the owner as it sees it
	Error string   `json:"error,omitempty"` // why it does not say
}

// whereFlags are what the command's own arguments say.
type whereFlags struct{ json, check bool }

func (f *whereFlags) declare(fs *flag.FlagSet) {
	fs.BoolVar(&f.json, "json", false, jsonUsage)
	fs.BoolVar(&f.check, "check", false, "ask every member which of its tiers have a copy")
}

// runWhere prints where the node of the same configuration sends a key and, if
// told to, who has copies of it. It exits with 1 if somebody does not say.
func (a *app) runWhere(ctx context.Context, args []string) int {
	var own whereFlags
	key := ""
	l := a.settle(args, own.declare, &key)
	if l == nil {
		return exitOK
	}
	address, problems := l.adminAddress()
	if _, err := object.ParseKey(key); key == "" {
		problems = append(problems, "no key: name the object, micelio-node where KEY")
	} else if err != nil {
		problems = append(problems, fmt.Sprintf("%q: %v", key, err))
	}
	if len(problems) > 0 {
		return a.reject(problems)
	}
	report, err := newQuestioner().where(ctx, address, key, own.check)
	if err != nil {
		return a.complain(address, err)
	}
	return a.show(report, own.json)
}

func (r *whereReport) good() bool {
	return !slices.ContainsFunc(r.Holders, func(h holderReport) bool { return h.Error != "" })
}

// where asks a node for the route of a key and, if told to, all its members for
// their copies. None of the questions counts as a use of the key.
func (q *questioner) where(ctx context.Context, address, key string, everybody bool) (*whereReport, error) {
	r := &whereReport{}
	query := ""
	if everybody {
		query = checked
	}
	if err := q.ask(ctx, address, wherePath+key, query, &r.whereAnswer); err != nil {
		return nil, err
	}
	if r.Key != key || r.Self == "" {
		return nil, errNoNode
	}
	if !everybody {
		return r, nil
	}
	var seen ringAnswer
	if err := q.ask(ctx, address, ringPath, "", &seen); err != nil {
		return nil, err
	}
	r.Holders = make([]holderReport, len(seen.Members))
	var all sync.WaitGroup
	for i, m := range seen.Members {
		h := &r.Holders[i]
		h.ID, h.State, h.Held = m.ID, m.State, []string{}
		if m.ID == r.Self {
			h.Held, h.Owner = r.Held, r.Owner
			continue
		}
		all.Go(func() {
			var answer whereAnswer
			if err := q.askMember(ctx, m, wherePath+key, &answer, &answer.Self); err != nil {
				h.hear(r.Copies, err)
				return
			}
			h.Held, h.Owner = append(h.Held, answer.Held...), answer.Owner
		})
	}
	all.Wait()
	r.Copies = nil // each is in its Holder
	return r, nil
}

// hear notes what a member told the node that was asked, since it does not tell us:
// its admin listener is for its own machine, most likely.
func (h *holderReport) hear(told []memberCopies, err error) {
	i := slices.IndexFunc(told, func(c memberCopies) bool { return c.Node == h.ID })
	if i < 0 || told[i].Error != "" {
		h.Error = err.Error()
		return
	}
	h.Held = append(h.Held, told[i].Tiers...)
}

// print writes the report in lines and, if all were asked, a table.
func (r *whereReport) print(w io.Writer) {
	class := r.Class
	if r.Staleness != "" {
		class += ", up to " + r.Staleness + " old"
	}
	partition := ""
	if r.Partition != nil {
		partition = strconv.Itoa(*r.Partition)
	}
	lines := newTable(w, "key", r.Key)
	lines.row("class", class)
	lines.row("epoch", r.Epoch)
	lines.row("partition", partition)
	lines.row("owner", r.Owner)
	lines.row("successors", strings.Join(r.successors(), ", "))
	lines.row("asked", r.route())
	if r.Holders == nil {
		lines.row(r.Self+" has", strings.Join(r.Held, ", "))
	}
	lines.flush()
	if r.Holders == nil {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "NODE", "STATE", "HAS", "SEES OWNER")
	for _, h := range r.Holders {
		held := strings.Join(h.Held, ", ")
		if h.Error != "" {
			held = "?"
		}
		t.row(h.ID, h.State, held, h.Owner)
	}
	t.flush()
	for _, h := range r.Holders {
		if h.Error != "" {
			fmt.Fprintf(w, "  %s: %s\n", h.ID, h.Error)
		}
	}
}

// successors are who owns the key when those before them are gone.
func (r *whereReport) successors() []string {
	if len(r.Candidates) == 0 {
		return nil
	}
	return r.Candidates[1:]
}

// route says who would be asked for the key, in words.
func (r *whereReport) route() string {
	words := slices.Clone(r.Asked)
	for i, id := range words {
		if id == r.Self {
			words[i] += " itself"
		}
	}
	route := strings.Join(words, ", else ")
	var avoided []string
	for _, id := range r.Candidates {
		if id == r.Self {
			break // who comes after it is not asked
		}
		if !slices.Contains(r.Asked, id) {
			avoided = append(avoided, id)
		}
	}
	if len(avoided) > 0 {
		route += "; not " + strings.Join(avoided, ", ") + ", which did not answer lately"
	}
	return route
}
