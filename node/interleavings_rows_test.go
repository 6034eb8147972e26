package node

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/micelio/micelio/object"
)

// Rows 1 to 8 and 14, 15, 24: reads and writes that overlap, and no faults.

// given puts the first version where no node knows of it.
func (r *rowRig) given(tag string) {
	if _, err := r.memory.Put(context.Background(), r.key, object.BytesSource([]byte(simContent(tag, r.size))), object.PutOptions{}); err != nil {
		panic(err)
	}
}

// warm writes the first version, and lets every node read it: as it sees the
// ring, and as the owner.
func (r *rowRig) warm(tag string) {
	r.write(r.entry, tag)
	r.wantAll(now(tag))
	if r.column == fenced {
		return
	}
	for _, n := range r.w.nodes {
		view := n.view.Load()
		r.believes(n, n.id)
		r.want(r.read(n), now(tag))
		n.view.Store(view)
	}
}

func row01Cold(r *rowRig) {
	r.given("v1")
	answer := r.hold("get", -1, after)
	first := r.reading(r.entry)
	r.await(answer)
	put := r.hold("put", -1, before)
	write := r.writing(r.entry, "v2", object.PutOptions{})
	r.await(put)
	answer.let()
	r.want(first.wait(), now("v1")) // nobody has written anything yet
	put.let()
	r.want(write.wait(), now("ok"))
	r.wantOwn("v2", lately("v1", write.ended))
	r.finally("v2")
}

// wantOwn wants what the entry node has acknowledged of it, and of the others
// too, as far as they need not be of its opinion.
func (r *rowRig) wantOwn(value string, allowed ...[]allowance) {
	r.want(r.read(r.entry), now(value))
	for _, n := range []*simNode{r.other, r.third} {
		r.want(r.read(n), append(allowed, now(value))...)
	}
}

// While a write runs, what one reader has seen of it no later one may miss.
func row01Warm(r *rowRig) {
	r.warm("v1")
	put, answer := r.hold("put", -1, before), r.hold("put", -1, after)
	write := r.writing(r.entry, "v2", object.PutOptions{})
	r.await(put)
	r.wantAll(now("v1"))
	put.let()
	r.await(answer)
	applied := time.Now()
	r.wantAll(now("v2"), lately("v1", applied))
	answer.let()
	r.want(write.wait(), now("ok"))
	r.wantOwn("v2", lately("v1", applied))
	r.finally("v2")
}

func row02(r *rowRig) {
	r.warm("v1")
	r.write(r.entry, "v2")
	r.want(r.read(r.entry), now("v2"))
	r.write(r.entry, "v3")
	r.want(r.read(r.entry), now("v3"))
	r.finally("v3")
}

func row03(r *rowRig) {
	r.warm("v1")
	r.write(r.entry, "v2")
	for range 3 {
		r.want(r.read(r.other), now("v2"), lately("v1", r.acked))
		r.want(r.read(r.third), now("v2"), lately("v1", r.acked))
	}
	r.expire()
	r.wantAll(now("v2"))
	r.finally("v2")
}

// row04 lets a fill begin before a write and end after it.
func row04(at gatePoint) func(*rowRig) {
	return func(r *rowRig) {
		r.given("v1")
		fill := r.hold("get", -1, at)
		first := r.reading(r.entry)
		r.await(fill)
		r.write(r.entry, "v2")
		fill.let()
		r.want(first.wait(), now("v1", "v2"))
		for range 2 {
			r.wantOwn("v2", lately("v1", r.acked))
		}
		r.finally("v2")
	}
}

func row05(r *rowRig) {
	r.given("v1")
	fill := r.hold("get", -1, midway)
	first := r.reading(r.entry)
	r.await(fill)
	r.write(r.entry, "v2")
	r.wantOwn("v2", lately("v1", r.acked))
	fill.let()
	r.want(first.wait(), now("v1"))
	r.wantOwn("v2", lately("v1", r.acked))
	r.finally("v2")
}

// row06 lets a read arrive while a validation is under way that knows nothing of
// a write: one of the same owner, or of another.
func row06(another bool) func(*rowRig) {
	return func(r *rowRig) {
		r.warm("v1")
		r.expire()
		answer := r.hold("get", -1, after)
		first := r.reading(r.entry)
		r.await(answer)
		if another {
			r.writeAt(r.anotherOwner, "v2")
		} else {
			r.write(r.entry, "v2")
		}
		second := r.reading(r.entry)
		pass(100 * time.Millisecond) // it has come to the owner by now
		answer.let()
		r.want(first.wait(), now("v1", "v2"))
		r.want(second.wait(), now("v2"), lately("v1", r.acked))
		r.wantAll(now("v2"), lately("v1", r.acked))
		r.finally("v2")
	}
}

// wantInOrder reads through every node while writes are under way: values may
// only come in the order in which they were applied.
func (r *rowRig) wantInOrder(values *[]string, order ...string) {
	for _, n := range r.w.nodes {
		a := r.read(n)
		at := slices.Index(order, a.value)
		last := -1
		for _, v := range *values {
			last = max(last, slices.Index(order, v))
		}
		if at < 0 || at < last && r.column != bounded {
			r.wrong("%s gave %s after %v, want the order %v", a.what, a.value, *values, order)
		}
		*values = append(*values, a.value)
	}
}

// row07 lets two writes be sent at once. At one owner the second waits for its
// turn; at two, both are conditional on the same version.
func row07(reversed bool) func(*rowRig) {
	return func(r *rowRig) {
		r.warm("v1")
		x, y := r.hold("put", -1, before), r.hold("put", -1, before)
		a := r.writing(r.entry, "x", object.PutOptions{})
		r.await(x)
		b := r.writing(r.other, "y", object.PutOptions{})
		pass(200 * time.Millisecond)
		order, both := []string{"v1", "x", "y"}, done(y.arrived, time.Millisecond)
		if reversed && both {
			x, y, a, b = y, x, b, a
			order = []string{"v1", "y", "x"}
		}
		var seen []string
		r.wantInOrder(&seen, order...)
		x.let()
		r.want(a.wait(), now("ok"))
		r.wantInOrder(&seen, order...)
		y.let()
		r.want(b.wait(), now("ok"))
		r.wantInOrder(&seen, order...)
		if both && (r.times("put x") != 1 || r.times("put y") != 1) {
			r.wrong("applied: %v", r.applied)
		}
		r.finally(order[2])
	}
}

func row07Immutable(r *rowRig) {
	x := r.hold("put", -1, before)
	a := r.writing(r.entry, "x", object.PutOptions{})
	r.await(x)
	b := r.writing(r.other, "y", object.PutOptions{})
	pass(200 * time.Millisecond)
	x.let()
	a.wait()
	b.wait()
	winner, loser := a, b
	value := "x"
	if b.value == "ok" {
		winner, loser, value = b, a, "y"
	}
	r.want(winner, now("ok"))
	r.want(loser, now("conflict"))
	r.wantAll(now(value))
	r.finally(value)
}

func row08(r *rowRig) {
	r.warm("v1")
	e1 := object.PutOptions{IfMatch: object.MatchETag(r.read(r.entry).info.ETag)}
	x := r.hold("put", -1, before)
	a := r.writing(r.entry, "x", e1)
	r.await(x)
	b := r.writing(r.other, "y", e1)
	pass(200 * time.Millisecond)
	x.let()
	a.wait()
	b.wait()
	winner, loser, value := a, b, "x"
	if b.value == "ok" {
		winner, loser, value = b, a, "y"
	}
	r.want(winner, now("ok"))
	r.want(loser, now("refused"))
	r.wantAll(now(value), lately("v1", winner.ended))
	r.finally(value)
}

func row14(r *rowRig) {
	r.warm("v1")
	r.remove(r.entry)
	r.wantOwn("absent", lately("v1", r.acked))
	r.expire()
	r.wantAll(now("absent"))
	r.finally("absent")
}

func row14Immutable(r *rowRig) {
	r.warm("v1")
	r.remove(r.entry)
	r.wantAll(now("v1", "absent"))
	r.want(r.read(r.entry), now("absent")) // that node has dropped its copy, and the owner its own
}

func row15(at gatePoint) func(*rowRig) {
	return func(r *rowRig) {
		r.given("v1")
		fill := r.hold("get", -1, at)
		first := r.reading(r.entry)
		r.await(fill)
		r.remove(r.entry)
		if at == midway { // otherwise the next question waits for the answer to the one before
			r.wantOwn("absent", lately("v1", r.acked))
		}
		fill.let()
		r.want(first.wait(), now("v1", "absent", "broken"))
		r.wantOwn("absent", lately("v1", r.acked))
		r.finally("absent")
	}
}

func row15Immutable(r *rowRig) {
	r.given("v1")
	fill := r.hold("get", -1, midway)
	first := r.reading(r.entry)
	r.await(fill)
	r.remove(r.entry)
	fill.let()
	r.want(first.wait(), now("v1"))
	if has := r.cache(r.owner).Holds(r.key); len(has) > 0 {
		r.wrong("the owner has published what was deleted while it came: %v", has)
	}
	r.finally("absent")
}

// row24 writes the same bytes as something else.
func row24(another bool) func(*rowRig) {
	return func(r *rowRig) {
		r.warm("v1")
		opt := object.PutOptions{Attrs: object.Attrs{ContentType: "text/other"}}
		via := r.entry
		if another && r.column != fenced {
			via = r.anotherOwner
			defer via.view.Store(via.view.Load())
			r.believes(via, via.id)
		}
		write := r.writing(via, "v1", opt).wait()
		r.want(write, now("ok"))
		r.wantAll(now("v1 as text/other"), lately("v1", write.ended))
		for _, n := range r.w.nodes {
			r.want(r.head(n), now("text/other"), lately("", write.ended))
		}
		r.finally("v1 as text/other")
	}
}

func rowBytes(r *rowRig) {
	r.write(r.entry, "v1")
	r.wantAll(now("v1"))
	r.write(r.other, "v1") // the same again changes nothing
	r.wantAll(now("v1"))
	r.want(r.writing(r.third, "v2", object.PutOptions{}).wait(), now("conflict"))
	r.wantAll(now("v1"))
	r.finally("v1")
}

func row05Immutable(r *rowRig) {
	r.given("v1")
	fill := r.hold("get", -1, midway)
	first := r.reading(r.entry)
	r.await(fill)
	r.write(r.other, "v1")
	second := r.reading(r.entry)
	pass(100 * time.Millisecond)
	fill.let()
	r.want(first.wait(), now("v1"))
	r.want(second.wait(), now("v1"))
	r.finally("v1")
}

// A slowSource is a body of which the first half comes at once.
type slowSource struct {
	halves [2]io.Reader
	asked  chan struct{} // closed when the second half is wanted
	open   chan struct{}
	rest   bool
}

func (s *slowSource) Read(p []byte) (int, error) {
	if n, err := s.halves[0].Read(p); err == nil {
		return n, nil
	}
	if !s.rest {
		s.rest = true
		close(s.asked)
		<-s.open
	}
	return s.halves[1].Read(p)
}
