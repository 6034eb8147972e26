package loadtest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A request is one request to be sent.
type request struct {
	part   int // of the plan
	op     Op
	key    int64  // number of the object in its part, -1 for one that a put makes
	fresh  uint64 // what tells the objects that puts make apart
	size   int64  // of the object
	offset int64  // with OpRange
	length int64  // of the body that is sent or must come: not with OpHead, unknown with OpList
	body   stream
	check  bool // compare the body that comes

	// name is the SHA-256 of the body of a verified object that a put makes.
	name [sha256.Size]byte
}

// A plan is what a run asks for, ready to be drawn from. It is immutable, but
// for the set of keys that were read.
type plan struct {
	parts  []*planPart
	cycle  []uint16 // of which part each of so many requests in a row is
	seed   uint64
	salt   uint64
	every  uint64 // CheckEvery
	bucket string
}

// A planPart is a Part, compiled.
type planPart struct {
	Part
	seed    uint64
	zipf    *zipf
	ops     [opCount]float64 // the shares, added up
	perTurn int64            // requests of this part in a cycle
	before  []int64          // of those, the ones before each place of the cycle
	stride  int64            // from a key to the one that takes its place after a shift
	names   [][sha256.Size]byte
	asked   bitset
}

// maxCycle is the length of the cycle in which the parts take turns: the weights
// are met to a thousandth, and exactly if they have a common divisor that makes
// them few.
const maxCycle = 1000

// newPlan compiles a Mix that was checked. For verified keys it makes all bodies
// once, with all the CPUs there are.
func newPlan(cfg *Config) *plan {
	p := &plan{seed: cfg.Seed, salt: hashString(cfg.PutSalt), every: uint64(max(cfg.CheckEvery, 0)), bucket: cfg.Bucket}
	for i := range cfg.Mix.Parts {
		p.parts = append(p.parts, newPlanPart(&cfg.Mix.Parts[i], cfg.Seed))
	}
	p.takeTurns()
	return p
}

func newPlanPart(part *Part, seed uint64) *planPart {
	p := &planPart{Part: *part, asked: newBitset(part.Keys)}
	r := seeded(seed, hashString(part.Name))
	p.seed = r.next()
	if part.Access.Kind == AccessZipf {
		p.zipf = newZipf(part.Keys, part.Access.Exponent)
	}
	sum := 0.0
	for op, weight := range part.Ops.weights() {
		sum += weight
		p.ops[op] = sum
	}
	for op := range p.ops {
		p.ops[op] /= sum
	}
	p.stride = stride(part.Keys)
	if part.Class == ClassVerified {
		p.nameAll()
	}
	return p
}

// stride is how far a shift moves on among so many keys: about the golden ratio,
// so that what follows is nowhere near, and without a common divisor, so that every
// key has its turn before one comes again.
func stride(keys int64) int64 {
	n := int64(float64(keys)*0.618) | 1
	for a, b := n, keys; ; a, b = n, keys {
		for b != 0 {
			a, b = b, a%b
		}
		if a == 1 {
			return n
		}
		n += 2
	}
}

// takeTurns deals a cycle of requests out to the parts by their weights, by the
// largest remainders, and shuffles it. So it is known of each request how many
// of its part came before it, which a scan needs, and nobody has to count.
func (p *plan) takeTurns() {
	total := 0.0
	for _, part := range p.parts {
		total += part.Weight
	}
	if total == 0 {
		p.parts[0].Weight, total = 1, 1 // there is one part only
	}
	length := cycleLength(p.parts, total)
	type remainder struct {
		part int
		rest float64
	}
	var rests []remainder
	left := length
	for i, part := range p.parts {
		exact := part.Weight / total * float64(length)
		part.perTurn = int64(exact)
		if part.perTurn == 0 && part.Weight > 0 {
			part.perTurn = 1 // a part with a weight is never left out
		}
		left -= int(part.perTurn)
		rests = append(rests, remainder{i, exact - float64(part.perTurn)})
	}
	slices.SortStableFunc(rests, func(a, b remainder) int { return cmp.Compare(b.rest, a.rest) })
	for i := 0; left > 0; i, left = i+1, left-1 {
		p.parts[rests[i%len(rests)].part].perTurn++
	}
	for i, part := range p.parts {
		for range part.perTurn {
			p.cycle = append(p.cycle, uint16(i))
		}
	}
	r := seeded(p.seed, hashString("turns"))
	for i := len(p.cycle) - 1; i > 0; i-- {
		j := r.below(int64(i + 1))
		p.cycle[i], p.cycle[j] = p.cycle[j], p.cycle[i]
	}
	counts := make([]int64, len(p.parts))
	for _, part := range p.parts {
		part.before = make([]int64, len(p.cycle))
	}
	for place, i := range p.cycle {
		for j, part := range p.parts {
			part.before[place] = counts[j]
		}
		counts[i]++
	}
}

// cycleLength is the shortest cycle that meets the weights exactly, or maxCycle.
func cycleLength(parts []*planPart, total float64) int {
	for length := len(parts); length < maxCycle; length++ {
		exact := true
		for _, part := range parts {
			n := part.Weight / total * float64(length)
			if math.Abs(n-math.Round(n)) > 1e-9 {
				exact = false
				break
			}
		}
		if exact {
			return length
		}
	}
	return maxCycle
}

// draw returns request number i, which is due at elapsed. It depends on nothing
// else.
func (p *plan) draw(i uint64, elapsed time.Duration) request {
	turn, place := i/uint64(len(p.cycle)), i%uint64(len(p.cycle))
	n := int(p.cycle[place])
	part := p.parts[n]
	r := seeded(p.seed, i)
	q := request{part: n, op: part.drawOp(&r)}
	switch {
	case q.op == OpPut && part.Class != ClassMutable:
		q.key = -1
		fresh := seeded(part.seed, p.salt, i)
		q.fresh = fresh.next()
	default:
		number := int64(turn)*part.perTurn + part.before[place]
		q.key = part.drawKey(&r, number, elapsed)
	}
	if part.describe(&q); q.op == OpRange {
		if q.size == 0 {
			q.op = OpGet // nothing has no parts
		} else {
			q.offset = r.below(q.size)
			q.length = 1 + r.below(q.size-q.offset)
		}
	}
	if q.op == OpPut && q.key < 0 && part.Class == ClassVerified {
		q.name = q.digest() // here, before the wait: it is no time of the server's
	}
	q.check = p.every > 0 && r.next()%p.every == 0
	return q
}

func (p *planPart) drawOp(r *random) Op {
	u := r.float()
	for op, until := range p.ops {
		if u < until {
			return Op(op)
		}
	}
	return OpGet // not reached: the last is 1
}

// drawKey draws the key of the request that has so many of its part before it.
func (p *planPart) drawKey(r *random, number int64, elapsed time.Duration) int64 {
	var key int64
	switch a := &p.Access; a.Kind {
	case AccessZipf:
		key = p.zipf.rank(r) - 1
	case AccessHot:
		cold := p.Keys - a.HotKeys
		if r.float() < a.HotShare || cold == 0 {
			key = r.below(a.HotKeys)
		} else {
			key = a.HotKeys + r.below(cold)
		}
	case AccessScan:
		key = number % p.Keys
	default:
		key = r.below(p.Keys)
	}
	if a := &p.Access; a.ShiftEvery > 0 {
		// Each key has a generation. With each shift the chosen share of all keys goes
		// on to the next, each in its turn, and is a stride further on in the part.
		shifts := float64(elapsed / a.ShiftEvery)
		phase := seeded(p.seed, uint64(key), hashString("shift"))
		generation := int64(shifts*a.ShiftBy + phase.float())
		key = int64((uint64(key) + uint64(generation)%uint64(p.Keys)*uint64(p.stride)) % uint64(p.Keys))
	}
	return key
}

// describe fills in what follows from the key: size and bytes.
func (p *planPart) describe(q *request) {
	id := seeded(p.seed, uint64(q.key), q.fresh)
	q.size = p.Sizes.draw(&id)
	q.length = q.size
	// The size is part of the seed of the bytes, and they of the name. So a part
	// whose sizes were changed has other keys, and meets no immutable ones of before.
	id = seeded(id.state, uint64(q.size))
	q.body = stream(id.next())
}

// draw draws the size of the object that r stands for.
func (s *Sizes) draw(r *random) int64 {
	switch s.Kind {
	case SizesLogNormal:
		top := s.Max
		if top == 0 {
			top = 1 << 30
		}
		size := float64(s.Bytes) * math.Exp(s.Sigma*r.normal())
		return int64(min(max(size, float64(s.Min)), float64(top)))
	case SizesList:
		return s.List[r.below(int64(len(s.List)))]
	}
	return s.Bytes
}

// object describes object number key, to be put.
func (p *plan) object(part int, key int64) request {
	q := request{part: part, op: OpPut, key: key}
	p.parts[part].describe(&q)
	return q
}

// appendKey appends the key of a request.
func (p *plan) appendKey(b []byte, q *request) []byte {
	part := p.parts[q.part]
	switch part.Class {
	case ClassVerified:
		b = append(b, "artifacts/sha256:"...)
		if q.key >= 0 {
			return hex.AppendEncode(b, part.names[q.key][:])
		}
		return hex.AppendEncode(b, q.name[:])
	case ClassImmutable:
		b = append(b, "artifacts/sha256:"...)
		b = q.appendName(b, 4)
		b = append(b, '/')
		return append(b, part.Name...)
	}
	b = append(b, "load/"...)
	b = append(b, part.Name...)
	b = append(b, '/')
	return q.appendName(b, 2)
}

// appendPrefix appends the prefix that a listing of the part asks for.
func (p *plan) appendPrefix(b []byte, q *request) []byte {
	if part := p.parts[q.part]; part.Class == ClassMutable {
		b = append(b, "load/"...)
		b = append(b, part.Name...)
		return append(b, '/')
	}
	return append(b, "artifacts/"...)
}

// appendName appends so many times 16 hexadecimal digits that stand for the body.
func (q *request) appendName(b []byte, words int) []byte {
	r := seeded(uint64(q.body), hashString("name"))
	for range words {
		const digits = "0123456789abcdef"
		for word, i := r.next(), 60; i >= 0; i -= 4 {
			b = append(b, digits[word>>i&15])
		}
	}
	return b
}

// digest is the SHA-256 of the object.
func (q *request) digest() (sum [sha256.Size]byte) {
	h := sha256.New()
	var buffer [4096]byte
	for offset := int64(0); offset < q.size; offset += int64(len(buffer)) {
		b := buffer[:min(int64(len(buffer)), q.size-offset)]
		q.body.fill(b, offset)
		h.Write(b)
	}
	h.Sum(sum[:0])
	return sum
}

// nameAll makes the names of verified keys.
func (p *planPart) nameAll() {
	p.names = make([][sha256.Size]byte, p.Keys)
	var workers sync.WaitGroup
	n := int64(runtime.GOMAXPROCS(0))
	for first := range n {
		workers.Go(func() {
			for key := first; key < p.Keys; key += n {
				q := request{key: key}
				p.describe(&q)
				p.names[key] = q.digest()
			}
		})
	}
	workers.Wait()
}
