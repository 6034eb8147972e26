package node

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/micelio/micelio/object"
)

// An allowance is a value that may be read.
type allowance struct {
	value string
	until time.Time // by reads that began before, of keys with a budget only; zero: always
}

// now allows values.
func now(values ...string) (all []allowance) {
	for _, v := range values {
		all = append(all, allowance{value: v})
	}
	return all
}

// lately allows a value that was current before a moment, as far as the budget
// goes.
func lately(value string, before time.Time) []allowance {
	return []allowance{{value, before.Add(rowDelta)}}
}

// want holds an operation to what may come of it.
func (r *rowRig) want(a *asked, allowed ...[]allowance) {
	var texts []string
	for _, w := range slices.Concat(allowed...) {
		stale := !w.until.IsZero()
		if a.value == w.value && (!stale || r.column == bounded && !a.began.After(w.until)) {
			return
		}
		if !stale || r.column == bounded {
			texts = append(texts, w.value)
		}
	}
	r.wrong("%s gave %s, want %s (%v)", a.what, a.value, strings.Join(texts, " or "), a.err)
}

// wantAll reads through every node that lives.
func (r *rowRig) wantAll(allowed ...[]allowance) {
	for _, n := range r.w.nodes {
		if n.alive() != nil {
			r.want(r.read(n), allowed...)
		}
	}
}

// expire lets the budget of everything that was read pass.
func (r *rowRig) expire() { pass(rowDelta + 100*time.Millisecond) }

// finally mends everything and reads through every node, also as the owner: all
// give the same, which is one of the values, and what the authority has.
func (r *rowRig) finally(values ...string) {
	r.cut(false, r.w.nodes...)
	for _, n := range r.w.nodes {
		for _, m := range r.w.nodes {
			r.w.network.setCut(n.id, m.id, false)
		}
		if n.alive() == nil {
			n.start()
		}
	}
	pass(5 * time.Second)
	truth := "absent"
	if obj, err := r.memory.Get(context.Background(), r.key, object.GetOptions{}); err == nil {
		body, _ := io.ReadAll(obj.Body)
		truth = valueOf(body, obj)
	}
	if !slices.Contains(values, truth) {
		r.wrong("in the end the authority has %s, want %s", truth, strings.Join(values, " or "))
	}
	r.wantAll(now(truth))
	if r.column == fenced {
		return
	}
	for _, n := range r.w.nodes {
		r.believes(n, n.id)
	}
	r.wantAll(now(truth))
}
