package node

import (
	"time"

	"github.com/micelio/micelio/object"
)

// Rows 16 to 23 and 27: partitions, pauses, restarts and rings that change.

// row16 cuts the entry node off from the two others.
func row16(r *rowRig) {
	if r.column == immutable {
		r.partition(true)
		r.write(r.entry, "v1")
		r.wantAll(now("v1"))
		r.finally("v1")
		return
	}
	r.warm("v1")
	r.partition(true)
	r.write(r.entry, "v2")
	r.wantAll(now("v2"), lately("v1", r.acked))
	before := r.acked
	r.write(r.other, "v3")
	r.wantAll(now("v3"), lately("v2", r.acked), lately("v1", before))
	r.partition(false)
	r.wantAll(now("v3"), lately("v2", r.acked), lately("v1", before))
	r.expire()
	r.wantAll(now("v3"))
	r.finally("v3")
}

func (r *rowRig) partition(cut bool) {
	for _, n := range []*simNode{r.other, r.third} {
		r.w.network.setCut(r.entry.id, n.id, cut)
		r.w.network.setCut(n.id, r.entry.id, cut)
	}
}

// row17 cuts the owner off from the authority, and not from the others.
func row17(r *rowRig) {
	r.warm("v1")
	r.cut(true, r.owner)
	if r.column == immutable {
		r.wantAll(now("v1"))
		r.finally("v1")
		return
	}
	writer := r.anotherOwner
	r.writeAt(writer, "v2")
	direct := []string{"v2"}
	if r.entry == r.owner {
		direct = append(direct, "unavailable")
	}
	r.want(r.read(r.entry), now(direct...), lately("v1", r.acked))
	r.wantAll(now("v2", "unavailable"), lately("v1", r.acked))
	r.expire()
	r.want(r.read(r.entry), now(direct...))
	r.wantAll(now("v2", "unavailable"))
	r.finally("v2")
}

func row18(r *rowRig) {
	r.warm("v1")
	seen := time.Now()
	r.cut(true, r.w.nodes...)
	if r.column == immutable {
		r.wantAll(now("v1"))
		key := r.key
		r.key = "cache/x/sha256:never/out"
		r.wantAll(now("unavailable"))
		r.key = key
		r.finally("v1")
		return
	}
	r.wantAll(now("unavailable"), lately("v1", seen))
	r.want(r.writing(r.entry, "v2", object.PutOptions{}).wait(), now("unavailable", "unknown"))
	r.wantAll(now("unavailable"), lately("v1", seen))
	r.expire()
	r.wantAll(now("unavailable"))
	r.finally("v1")
}

// large makes bodies stream.
func (r *rowRig) large() { r.size = 200 << 10 }

// row19 changes the ring while a body streams, lets another owner take a write,
// and breaks the connections of the old one, or not.
func row19(broken bool) func(*rowRig) {
	return func(r *rowRig) {
		r.large()
		r.given("v1")
		body := r.hold("get", -1, midway)
		stream := r.reading(r.entry)
		r.await(body)
		pass(300 * time.Millisecond) // half of it is with the reader
		for _, n := range r.w.nodes {
			r.believes(n, r.anotherOwner.id)
		}
		if r.column == immutable {
			r.write(r.third, "v1")
		} else {
			r.write(r.third, "v2")
		}
		want := now("v1")
		if broken {
			r.w.network.breakAll(r.owner.id)
			pass(300 * time.Millisecond)
			if r.column != immutable && r.entry != r.owner {
				want = now("v1", "broken")
			}
		}
		body.let()
		r.want(stream.wait(), want)
		if r.column == immutable {
			r.wantAll(now("v1"))
			r.finally("v1")
			return
		}
		r.wantAll(now("v2"), lately("v1", r.acked))
		r.finally("v2")
	}
}

// row20 lets the owner stand still while another one acknowledges a write.
func row20(r *rowRig) {
	r.warm("v1")
	r.owner.pause(30 * time.Second)
	if r.column == immutable {
		if r.entry != r.owner {
			r.want(r.read(r.entry), now("v1"))
		}
		pass(31 * time.Second)
		r.wantAll(now("v1"))
		r.finally("v1")
		return
	}
	r.writeAt(r.anotherOwner, "v2")
	if r.entry != r.owner {
		r.want(r.read(r.entry), now("v2"), lately("v1", r.acked))
	}
	pass(31 * time.Second)
	r.believes(r.owner, r.owner.id)
	r.want(r.read(r.owner), now("v2"))
	r.wantAll(now("v2"))
	r.finally("v2")
}

// row20Asking lets it stand still between its question and the answer: what it
// was told before is as old as the question.
func row20Asking(r *rowRig) {
	r.warm("v1")
	r.expire()
	r.believes(r.owner, r.owner.id)
	answer := r.hold("get", r.owner.id, after)
	first := r.reading(r.owner)
	r.await(answer)
	r.owner.pause(30 * time.Second)
	r.writeAt(r.anotherOwner, "v2")
	answer.let()
	pass(30 * time.Second)
	second := r.reading(r.owner)
	r.want(first.wait(), now("v1", "v2"))
	r.want(second.wait(), now("v2"))
	r.want(r.read(r.owner), now("v2"))
	r.finally("v2")
}

// row21 starts the owner again with what it had on its disk.
func row21(r *rowRig) {
	r.warm("v1")
	r.owner.crash()
	if r.owner.disk.copies[r.key] == nil {
		r.wrong("there is no old copy on the disk")
	}
	r.writeAt(r.anotherOwner, "v2")
	r.owner.start()
	r.believes(r.owner, r.owner.id)
	r.want(r.read(r.owner), now("v2"))
	r.wantAll(now("v2"), lately("v1", r.acked))
	r.finally("v2")
}

// row21Immutable damages it meanwhile.
func row21Immutable(r *rowRig) {
	r.warm("v1")
	r.owner.crash()
	r.owner.disk.copies[r.key].bytes[5] ^= 1
	r.owner.start()
	r.believes(r.owner, r.owner.id)
	r.want(r.read(r.owner), now("v1"))
	r.wantAll(now("v1"))
	r.finally("v1")
}

// row22 lets the clocks of the authority and of the disks be a day off.
func row22(skew time.Duration) func(*rowRig) {
	return func(r *rowRig) {
		r.skew = skew
		r.warm("v1")
		for _, n := range r.w.nodes {
			n.crash()
			for _, c := range n.disk.copies {
				c.born = c.born.Add(skew)
			}
			n.start()
		}
		if r.column == immutable {
			r.wantAll(now("v1"))
			r.finally("v1")
			return
		}
		r.wantAll(now("v1"))
		r.write(r.entry, "v2")
		r.wantOwn("v2", lately("v1", r.acked))
		r.expire()
		r.wantAll(now("v2"))
		r.remove(r.other)
		r.wantAll(now("absent"), lately("v2", r.acked))
		r.finally("absent")
	}
}

// row23 replaces an object of which the authority has sent the first part, where
// the second is asked for by itself.
func row23(r *rowRig) {
	r.large()
	r.given("v1")
	parts := r.hold("get", -1, inParts)
	stream := r.reading(r.entry)
	r.await(parts)
	pass(300 * time.Millisecond)
	r.writeAt(r.anotherOwner, "v2")
	parts.let()
	r.want(stream.wait(), now("v1", "v2", "broken"))
	r.wantAll(now("v2"), lately("v1", r.acked))
	r.finally("v2")
}

// row23Ranges lets the client ask for the parts.
func row23Ranges(r *rowRig) {
	r.given("v1")
	half := int64(r.size / 2)
	first := r.readingPart(r.entry, object.GetOptions{Range: object.Bytes(0, half)}).wait()
	r.want(first, now("v1"))
	r.writeAt(r.anotherOwner, "v2")
	same := object.GetOptions{Range: object.Bytes(half, half), IfMatch: object.MatchETag(first.info.ETag)}
	r.want(r.readingPart(r.entry, same).wait(), now("refused"), lately("v1", r.acked))
	r.want(r.readingPart(r.entry, object.GetOptions{Range: object.Bytes(half, half)}).wait(), now("v2"), lately("v1", r.acked))
	r.finally("v2")
}

// row27 lets the entry node and the owner take each other for the owner.
func row27(r *rowRig) {
	if r.column != immutable {
		r.given("v1")
	}
	r.believes(r.owner, r.entry.id)
	r.believes(r.entry, r.owner.id)
	if r.entry == r.owner {
		r.believes(r.other, r.entry.id)
	}
	began := time.Now()
	r.askers()
	write := r.write(r.entry, "v2")
	r.want(r.read(r.entry), now("v2"))
	asked := r.askers()
	for id := range asked {
		if id != r.owner.id {
			r.wrong("%s asked the authority: the request went further than to %s", simID(id), simID(r.owner.id))
		}
	}
	r.want(r.read(r.owner), now("v2"), lately("v1", write.ended))
	if d := time.Since(began); d > time.Second {
		r.wrong("it took %v", d)
	}
	r.finally("v2")
}
