package node

import (
	"bytes"
	"strings"
	"time"

	"github.com/micelio/micelio/object"
)

// Rows 9 to 13 and 28: writes whose answer does not come.

// row09 lets a write be given up, then another be acknowledged, and then the
// first arrive.
func row09(another bool) func(*rowRig) {
	return func(r *rowRig) {
		r.warm("v1")
		zombie := r.hold("put", -1, late)
		r.want(r.writing(r.entry, "v2", object.PutOptions{}).wait(), now("unknown"))
		r.wantAll(now("v1"))
		via := r.entry
		if another {
			via = r.anotherOwner
		}
		r.writeAt(via, "v3")
		r.wantAll(now("v3"), lately("v1", r.acked))
		zombie.let()
		if err := <-zombie.landed; err == nil {
			r.wrong("a lost write has landed after a later one")
		}
		r.wantAll(now("v3"), lately("v1", r.acked))
		r.expire()
		r.wantAll(now("v3"))
		r.finally("v3")
	}
}

func row09Immutable(r *rowRig) {
	zombie := r.hold("put", -1, late)
	r.want(r.writing(r.entry, "v1", object.PutOptions{}).wait(), now("unknown"))
	r.writeAt(r.anotherOwner, "v1")
	r.wantAll(now("v1"))
	zombie.let()
	<-zombie.landed
	r.wantAll(now("v1"))
	r.finally("v1")
}

// row10 lets a write arrive after its sender has given it up.
func row10(r *rowRig) {
	r.warm("v1")
	lost := r.hold("put", -1, late)
	r.want(r.writing(r.entry, "v2", object.PutOptions{}).wait(), now("unknown"))
	r.wantAll(now("v1"))
	lost.let()
	if err := <-lost.landed; err != nil {
		r.wrong("the write did not land on what it was written for: %v", err)
	}
	landed := time.Now()
	for range 2 {
		r.wantAll(now("v2"), lately("v1", landed))
	}
	r.expire()
	r.wantAll(now("v2"))
	r.finally("v2")
}

// row10Void loses the answer of a write that was done, and every question about
// it too.
func row10Void(r *rowRig) {
	r.warm("v1")
	lost := r.hold("put", -1, void)
	write := r.writing(r.entry, "v2", object.PutOptions{})
	r.await(lost)
	landed := time.Now()
	r.cut(true, r.w.nodes...)
	r.want(write.wait(), now("unknown"))
	r.cut(false, r.w.nodes...)
	for range 2 {
		r.wantAll(now("v2"), lately("v1", landed))
	}
	r.finally("v2")
}

// row10Settled loses the answer, and whoever sent the write finds out by asking.
func row10Settled(r *rowRig) {
	r.warm("v1")
	r.hold("put", -1, void)
	write := r.writing(r.entry, "v2", object.PutOptions{}).wait()
	r.want(write, now("ok"))
	r.wantAll(now("v2"), lately("v1", write.ended))
	r.finally("v2")
}

func row10Immutable(r *rowRig) {
	lost := r.hold("put", -1, late)
	r.want(r.writing(r.entry, "v1", object.PutOptions{}).wait(), now("unknown"))
	r.wantAll(now("absent"))
	lost.let()
	<-lost.landed
	for range 2 {
		r.wantAll(now("v1"))
	}
	r.finally("v1")
}

// mayDie are the answers to somebody whose node may have died, too.
func (r *rowRig) mayDie(values ...string) []allowance {
	if r.entry == r.owner {
		return now("died")
	}
	return now(values...)
}

func row11(r *rowRig) {
	if r.column != immutable {
		r.warm("v1")
	}
	answer := r.hold("put", -1, after)
	write := r.writing(r.entry, "v2", object.PutOptions{})
	r.await(answer)
	applied := time.Now()
	r.owner.crash()
	r.want(write.wait(), r.mayDie("ok", "unknown")) // it may still have said so itself
	for range 2 {
		r.wantAll(now("v2"), lately("v1", applied))
	}
	if n := r.times("put v2"); n != 1 {
		r.wrong("the write was applied %d times", n)
	}
	r.owner.start()
	r.want(r.read(r.owner), now("v2"), lately("v1", applied))
	r.finally("v2")
}

func row12(r *rowRig) {
	old := "absent"
	if r.column != immutable {
		old = "v1"
		r.warm(old)
	}
	r.size = 200 << 10
	content := simContent("v2", r.size)
	src := &slowSource{asked: make(chan struct{}), open: make(chan struct{})}
	src.halves[0], src.halves[1] = strings.NewReader(content[:len(content)/2]), strings.NewReader(content[len(content)/2:])
	write := r.writingFrom(r.entry, object.ReaderSource(src, int64(len(content))), object.PutOptions{})
	if !done(src.asked, time.Minute) {
		r.wrong("the body is not read")
	}
	pass(100 * time.Millisecond) // what was read is at the owner
	r.owner.crash()
	pass(time.Second)
	close(src.open)
	write.wait()
	r.want(write, r.mayDie("unavailable", "unknown"))
	r.wantAll(now(old))
	r.owner.start()
	r.wantAll(now(old))
	if n := r.times("put v2"); n != 0 {
		r.wrong("half a body was stored")
	}
	r.finally(old)
}

// row13 loses the owner's answer on its way to the entry node or, if that is the
// owner itself, to its client. The entry node can ask what became of the write,
// or cannot.
func row13(asks bool) func(*rowRig) {
	return func(r *rowRig) { r.loseAnswer(asks) }
}

func (r *rowRig) loseAnswer(asks bool) {
	if r.column != immutable {
		r.warm("v1")
	}
	answer := r.hold("put", r.pair.owner, after)
	write := r.writing(r.entry, "v2", object.PutOptions{})
	r.await(answer)
	applied := time.Now()
	if r.entry == r.owner {
		write.leave()
		r.want(write.wait(), now("left"))
	} else {
		r.w.network.setCut(r.owner.id, r.entry.id, true)
		answer.let()
		pass(100 * time.Millisecond)
		want := now("ok")
		if !asks {
			r.cut(true, r.entry)
			want = now("unknown")
		}
		r.w.network.breakAll(r.entry.id)
		r.want(write.wait(), want)
		r.cut(false, r.entry)
		r.w.network.setCut(r.owner.id, r.entry.id, false)
	}
	answer.let()
	r.wantAll(now("v2"), lately("v1", applied))
	if n := r.times("put v2"); n != 1 {
		r.wrong("the write was applied %d times", n)
	}
	if r.column == immutable { // whoever is not sure may send it again
		r.write(r.entry, "v2")
		r.wantAll(now("v2"))
		r.finally("v2")
		return
	}
	r.write(r.other, "v3")
	r.wantAll(now("v3"), lately("v1", applied), lately("v2", r.acked))
	r.finally("v3")
}

// row13Delete loses the answer to a delete that is still on its way to the
// authority, where the key is gone because somebody else deleted it: that is no
// answer. If the same bytes are then written again, they are what the delete was
// conditional on, and it may remove them, since nothing tells the two lives
// apart; so nobody may have been told that it was over.
func row13Delete(r *rowRig) {
	if r.entry == r.owner {
		return
	}
	r.warm("v1")
	zombie := r.hold("delete", r.owner.id, late)
	lost := r.removing(r.entry)
	r.await(zombie)
	r.removeAt(r.anotherOwner)
	r.w.network.breakAll(r.entry.id)
	r.want(lost.wait(), now("unknown"))
	gone := r.acked
	r.writeAt(r.anotherOwner, "v2")
	r.wantAll(now("v2"), lately("v1", gone))
	r.writeAt(r.anotherOwner, "v1")
	r.wantAll(now("v1"), lately("v2", r.acked))
	zombie.let()
	<-zombie.landed
	landed := time.Now()
	r.wantAll(now("v1", "absent"), lately("v2", r.acked), lately("v1", landed))
	r.expire()
	r.write(r.entry, "v3")
	r.wantAll(now("v3"), lately("v1", r.acked), lately("absent", r.acked))
	r.finally("v3")
}

// row28 lets a lost creation arrive when the key is absent again: what it was
// conditional on. There are no tombstones, so it may.
func row28(r *rowRig) {
	zombie := r.hold("put", -1, late)
	r.want(r.writing(r.entry, "v1", object.PutOptions{}).wait(), now("unknown"))
	r.writeAt(r.anotherOwner, "v2")
	r.wantAll(now("v2"))
	r.remove(r.entry)
	r.wantAll(now("absent"), lately("v2", r.acked))
	zombie.let()
	<-zombie.landed
	r.wantAll(now("absent", "v1"), lately("v2", r.acked))
	r.expire()
	r.remove(r.other)
	r.wantAll(now("absent"), lately("v1", r.acked))
	if n := r.times("put v1"); n > 1 {
		r.wrong("the lost write appeared %d times", n)
	}
	r.finally("absent")
}

// row28Before lets it arrive before the delete.
func row28Before(r *rowRig) {
	zombie := r.hold("put", -1, late)
	r.want(r.writing(r.entry, "v1", object.PutOptions{}).wait(), now("unknown"))
	r.writeAt(r.anotherOwner, "v2")
	zombie.let()
	if <-zombie.landed == nil {
		r.wrong("a lost creation has replaced what was there")
	}
	r.wantAll(now("v2"))
	r.remove(r.entry)
	r.wantAll(now("absent"), lately("v2", r.acked))
	r.finally("absent")
}

// row26 sends what must not be stored.
func row26(r *rowRig) {
	content := []byte(simContent("v1", r.size))
	other := object.PutOptions{SHA256: object.Digest{1}, MD5: bytes.Repeat([]byte{2}, 16)}
	for _, w := range []*asked{
		r.writing(r.entry, "v1", object.PutOptions{SHA256: other.SHA256}),
		r.writing(r.entry, "v1", object.PutOptions{MD5: other.MD5}),
		r.writingFrom(r.entry, object.ReaderSource(bytes.NewReader(content[:len(content)/2]), int64(len(content))), object.PutOptions{}),
		r.writingFrom(r.entry, object.ReaderSource(brokenSource{bytes.NewReader(content)}, -1), object.PutOptions{}),
		r.writingFrom(r.entry, object.ReaderSource(bytes.NewReader(append(content, 'x')), int64(len(content))), object.PutOptions{}),
	} {
		if w.wait(); w.value == "ok" || w.value == "unknown" {
			r.wrong("%s of what must not be stored gave %s", w.what, w.value)
		}
	}
	if len(r.applied) > 0 {
		r.wrong("stored: %v", r.applied)
	}
	for _, n := range r.w.nodes {
		if has := r.cache(n).Holds(r.key); len(has) > 0 {
			r.wrong("%s has a copy in %v", simID(n.id), has)
		}
	}
	r.wantAll(now("absent"))
	r.write(r.entry, "v1") // and the right one still can be
	r.finally("v1")
}

// A brokenSource breaks at its end, as a body in chunks does.
type brokenSource struct{ *bytes.Reader }

func (b brokenSource) Read(p []byte) (int, error) {
	if b.Len() == 0 {
		return 0, errBrokenBody
	}
	return b.Reader.Read(p)
}
