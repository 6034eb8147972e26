package loadtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

// testPart is a population of 16 bytes each.
func testPart(change ...func(*Part)) Part {
	p := Part{Name: "test", Weight: 1, Keys: 1000, Class: ClassImmutable, Sizes: Sizes{Bytes: 16}, Ops: Ops{Get: 1}}
	for _, c := range change {
		c(&p)
	}
	return p
}

// testPlan compiles a mix of parts.
func testPlan(t testing.TB, seed uint64, parts ...Part) *plan {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Mix, cfg.Seed, cfg.Targets = Mix{Parts: parts}, seed, []string{"127.0.0.1:1"}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	return newPlan(&cfg)
}

func TestASeedDeterminesEveryRequest(t *testing.T) {
	parts := []Part{
		testPart(func(p *Part) {
			p.Access = Access{Kind: AccessZipf, Exponent: 0.99, ShiftEvery: time.Second, ShiftBy: 0.1}
		}),
		testPart(func(p *Part) {
			p.Name, p.Ops, p.Sizes = "other", Ops{Get: 1, Head: 1, Put: 1, Range: 1, List: 1}, Sizes{Kind: SizesLogNormal, Bytes: 100, Sigma: 1}
		}),
	}
	one, same, other := testPlan(t, 1, parts...), testPlan(t, 1, parts...), testPlan(t, 2, parts...)
	differ := 0
	for i := range uint64(5000) {
		at := time.Duration(i) * time.Millisecond
		q, again, foreign := one.draw(i, at), same.draw(i, at), other.draw(i, at)
		if q != again {
			t.Fatalf("request %d is %+v and %+v", i, q, again)
		}
		key := string(one.appendKey(nil, &q))
		if key != string(same.appendKey(nil, &q)) {
			t.Fatalf("request %d has two keys", i)
		}
		if key != string(other.appendKey(nil, &foreign)) {
			differ++
		}
	}
	if differ < 5000 {
		t.Errorf("with another seed %d of 5000 requests ask for the same keys", 5000-differ)
	}
}

// The nodes decide by the key alone what they may answer from.
func TestNodesPutTheKeysIntoTheirClass(t *testing.T) {
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		t.Fatal(err)
	}
	for name, class := range map[string]object.Class{ClassImmutable: object.Immutable, ClassVerified: object.Verified, ClassMutable: object.Mutable} {
		p := testPlan(t, 1, testPart(func(p *Part) {
			p.Class, p.Ops, p.Keys = name, Ops{Get: 1, Put: 1}, 50
			p.Sizes = Sizes{Kind: SizesLogNormal, Bytes: 5000, Sigma: 1}
		}))
		for i := range uint64(100) {
			q := p.draw(i, 0)
			key, err := object.ParseKey(string(p.appendKey(nil, &q)))
			if err != nil {
				t.Fatal(err)
			}
			got, digest := classes.Of(key)
			if got != class {
				t.Fatalf("%s is %v, want %v", key, got, class)
			}
			body := make([]byte, q.size)
			q.body.fill(body, 0)
			if class == object.Verified && digest != object.Digest(sha256.Sum256(body)) {
				t.Fatalf("%s does not name the digest of its bytes", key)
			}
		}
	}
}

func TestOperationsComeAsOftenAsTheyAreAskedFor(t *testing.T) {
	const n = 100_000
	p := testPlan(t, 1, testPart(func(p *Part) { p.Ops = Ops{Get: 6, Head: 1, Put: 1, Range: 1.5, List: 0.5} }))
	var counts [opCount]float64
	for i := range uint64(n) {
		counts[p.draw(i, 0).op]++
	}
	for op, want := range [opCount]float64{OpGet: 0.6, OpHead: 0.1, OpPut: 0.1, OpRange: 0.15, OpList: 0.05} {
		if got := counts[op] / n; math.Abs(got-want) > 5*math.Sqrt(want*(1-want)/n) {
			t.Errorf("%v is %.4f of all, want %.4f", Op(op), got, want)
		}
	}
}

func TestPartsTakeTurnsByTheirWeights(t *testing.T) {
	for _, weights := range [][]float64{{1, 1, 1}, {3, 1}, {0.5, 0.25, 0.25}, {1, 0, 2}, {math.Pi, math.E}, {1, 1e-9}} {
		var parts []Part
		total := 0.0
		for i, w := range weights {
			parts = append(parts, testPart(func(p *Part) { p.Name, p.Weight = fmt.Sprint("part-", i), w }))
			total += w
		}
		p := testPlan(t, 1, parts...)
		counts := make([]float64, len(weights))
		n := 10 * len(p.cycle)
		for i := range n {
			counts[p.draw(uint64(i), 0).part]++
		}
		for i, w := range weights {
			got, want := counts[i]/float64(n), w/total
			if math.Abs(got-want) > 1.0/maxCycle+1e-9 || (w > 0) != (got > 0) {
				t.Errorf("weights %v: part %d is %.5f of all, want %.5f", weights, i, got, want)
			}
		}
	}
}

func TestAScanReadsEveryKeyInOrderAlsoBesideOthers(t *testing.T) {
	scan := testPart(func(p *Part) { p.Name, p.Keys, p.Access.Kind, p.Weight = "scan", 100, AccessScan, 2 })
	p := testPlan(t, 1, testPart(), scan, testPart(func(p *Part) { p.Name = "third" }))
	next := int64(0)
	for i := range uint64(2000) {
		if q := p.draw(i, 0); q.part == 1 {
			if q.key != next%100 {
				t.Fatalf("request %d reads key %d, want %d", i, q.key, next%100)
			}
			next++
		}
	}
	if next < 900 {
		t.Errorf("only %d of 2000 requests were of the scan", next)
	}
}

func TestHotKeysHaveTheirShare(t *testing.T) {
	const n = 100_000
	p := testPlan(t, 1, testPart(func(p *Part) { p.Access = Access{Kind: AccessHot, HotKeys: 10, HotShare: 0.9} }))
	hot := map[int64]float64{}
	cold := map[int64]bool{}
	sum := 0.0
	for i := range uint64(n) {
		if q := p.draw(i, 0); q.key < 10 {
			hot[q.key]++
			sum++
		} else {
			cold[q.key] = true
		}
	}
	if got := sum / n; math.Abs(got-0.9) > 0.005 {
		t.Errorf("hot keys are %.4f of all, want 0.9", got)
	}
	if len(hot) != 10 || len(cold) != 990 {
		t.Errorf("%d hot and %d cold keys were asked for, want 10 and 990", len(hot), len(cold))
	}
}

// The ten keys that are asked for most before a shift, and after it.
func TestAShiftMakesAShareOfTheHotKeysCold(t *testing.T) {
	const n = 1000
	p := testPlan(t, 1, testPart(func(p *Part) {
		p.Keys = 100_000
		p.Access = Access{Kind: AccessHot, HotKeys: n, HotShare: 1, ShiftEvery: 10 * time.Second, ShiftBy: 0.25}
	}))
	keys := func(at time.Duration) map[int64]bool {
		set := map[int64]bool{}
		for i := range uint64(20 * n) {
			set[p.draw(i, at).key] = true
		}
		return set
	}
	kept := func(a, b map[int64]bool) (share float64) {
		for key := range a {
			if b[key] {
				share += 1 / float64(len(a))
			}
		}
		return share
	}
	first := keys(0)
	for _, c := range []struct {
		at   time.Duration
		want float64
	}{{9 * time.Second, 1}, {10 * time.Second, 0.75}, {29 * time.Second, 0.5}, {40 * time.Second, 0}, {400 * time.Second, 0}} {
		if got := kept(first, keys(c.at)); math.Abs(got-c.want) > 0.04 {
			t.Errorf("after %v %.3f of the hot keys are as they were, want %.2f", c.at, got, c.want)
		}
	}
}

// The stride had divisors in common with the keys: of six, two were ever asked for.
func TestShiftsGoThroughAllKeys(t *testing.T) {
	for keys := int64(1); keys <= 200; keys++ {
		p := testPlan(t, 1, testPart(func(p *Part) {
			p.Keys = keys
			p.Access = Access{Kind: AccessHot, HotKeys: 1, HotShare: 1, ShiftEvery: time.Second, ShiftBy: 1}
		}))
		seen := map[int64]bool{}
		for second := range keys {
			seen[p.draw(0, time.Duration(second)*time.Second).key] = true
		}
		if int64(len(seen)) != keys {
			t.Errorf("%d shifts of one of %d keys asked for %d", keys, keys, len(seen))
		}
	}
}

// The digest was computed while the request was on its way, as if the server took so long.
func TestTheNameOfAVerifiedPutIsKnownBeforeItIsSent(t *testing.T) {
	p := testPlan(t, 1, testPart(func(p *Part) { p.Class, p.Ops = ClassVerified, Ops{Put: 1} }))
	q := p.draw(5, 0)
	if q.name != q.digest() {
		t.Errorf("the name is %x, want %x", q.name, q.digest())
	}
	q.name[0]++
	if key := string(p.appendKey(nil, &q)); !strings.HasSuffix(key, hex.EncodeToString(q.name[:])) {
		t.Errorf("the key is %s, want that name in it: it was computed anew", key)
	}
}

func TestSizesFollowTheirLaw(t *testing.T) {
	list := Sizes{Kind: SizesList, List: []int64{1, 1, 1, 1000}}
	logNormal := Sizes{Kind: SizesLogNormal, Bytes: 1000, Sigma: 1, Min: 100, Max: 100_000}
	p := testPlan(t, 1, testPart(func(p *Part) { p.Sizes, p.Keys = logNormal, 20_000 }), testPart(func(p *Part) { p.Name, p.Sizes, p.Keys = "list", list, 20_000 }))
	below, above, large := 0.0, 0.0, 0.0
	for key := range int64(20_000) {
		q := p.object(0, key)
		if q.size < 100 || q.size > 100_000 {
			t.Fatalf("object %d has %d bytes", key, q.size)
		}
		if q.size < 1000 {
			below++
		}
		if q.size > 2718 {
			above++
		}
		if p.object(1, key).size == 1000 {
			large++
		}
	}
	for _, c := range []struct {
		what      string
		got, want float64
	}{{"below the median", below, 0.5}, {"a sigma above it", above, 0.1587}, {"the fourth of the list", large, 0.25}} {
		if got := c.got / 20_000; math.Abs(got-c.want) > 0.02 {
			t.Errorf("%s are %.3f, want %.3f", c.what, got, c.want)
		}
	}
}

func TestRangesLieWithinTheObject(t *testing.T) {
	p := testPlan(t, 1, testPart(func(p *Part) { p.Ops, p.Sizes = Ops{Range: 1}, Sizes{Kind: SizesList, List: []int64{0, 1, 2, 50}} }))
	for i := range uint64(10_000) {
		q := p.draw(i, 0)
		if q.size == 0 && q.op == OpGet {
			continue
		}
		if q.op != OpRange || q.offset < 0 || q.length < 1 || q.offset+q.length > q.size {
			t.Fatalf("request %d: %+v", i, q)
		}
	}
}

func TestPutsOfImmutableKeysAreAlwaysNew(t *testing.T) {
	p := testPlan(t, 1, testPart(func(p *Part) { p.Ops = Ops{Put: 1} }))
	seen := map[string]bool{}
	for key := range int64(1000) {
		q := p.object(0, key)
		seen[string(p.appendKey(nil, &q))] = true
	}
	for i := range uint64(1000) {
		q := p.draw(i, 0)
		seen[string(p.appendKey(nil, &q))] = true
	}
	if len(seen) != 2000 {
		t.Errorf("1000 objects and 1000 puts have %d keys", len(seen))
	}
}

func TestWhatIsNoMixIsRefused(t *testing.T) {
	for name, parts := range map[string][]Part{
		"no part":        {},
		"a bad name":     {testPart(func(p *Part) { p.Name = "a/b" })},
		"two names":      {testPart(), testPart()},
		"no key":         {testPart(func(p *Part) { p.Keys = 0 })},
		"no class":       {testPart(func(p *Part) { p.Class = "" })},
		"no operation":   {testPart(func(p *Part) { p.Ops = Ops{} })},
		"a NaN":          {testPart(func(p *Part) { p.Ops.Get = math.NaN() })},
		"no weight":      {testPart(func(p *Part) { p.Weight = 0 }), testPart(func(p *Part) { p.Name, p.Weight = "b", 0 })},
		"no access":      {testPart(func(p *Part) { p.Access.Kind = "x" })},
		"a bad exponent": {testPart(func(p *Part) { p.Access = Access{Kind: AccessZipf, Exponent: -1} })},
		"too hot":        {testPart(func(p *Part) { p.Access = Access{Kind: AccessHot, HotKeys: 1001} })},
		"no size":        {testPart(func(p *Part) { p.Sizes = Sizes{Kind: SizesList} })},
		"a bad sigma":    {testPart(func(p *Part) { p.Sizes = Sizes{Kind: SizesLogNormal, Bytes: 1, Sigma: math.Inf(1)} })},
	} {
		if err := (Mix{Parts: parts}).check(); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := DefaultMix().check(); err != nil {
		t.Error(err)
	}
}

func TestOpsAndSizesOfTheCommandLine(t *testing.T) {
	ops, err := ParseOps("get:8,head:1,put:0.5")
	if d := cmp.Diff(ops, Ops{Get: 8, Head: 1, Put: 0.5}); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, s := range []string{"", "get:-1", "get:x", "get,get", "delete", "get:0", "get:NaN"} {
		if ops, err := ParseOps(s); err == nil {
			t.Errorf("operations %q are %+v", s, ops)
		}
	}
	for s, want := range map[string]Sizes{
		"17":                          {Kind: SizesFixed, Bytes: 17},
		"4KiB":                        {Kind: SizesFixed, Bytes: 4096},
		"lognormal:1MiB,1.5":          {Kind: SizesLogNormal, Bytes: 1 << 20, Sigma: 1.5},
		"lognormal:1000,1,100,100GiB": {Kind: SizesLogNormal, Bytes: 1000, Sigma: 1, Min: 100, Max: 100 << 30},
	} {
		got, err := ParseSizes(s)
		if d := cmp.Diff(got, want); d != "" || err != nil {
			t.Errorf("%q: %s %v", s, d, err)
		}
	}
	for _, s := range []string{"", "-1", "1KB", "9999999GiB", "lognormal:1", "lognormal:0,1", "lognormal:1,-1", "lognormal:1,1,5,4"} {
		if sizes, err := ParseSizes(s); err == nil {
			t.Errorf("sizes %q are %+v", s, sizes)
		}
	}
	sizes, err := ReadSizes(strings.NewReader("1\n 20 \n3KiB\n"))
	if d := cmp.Diff(sizes, Sizes{Kind: SizesList, List: []int64{1, 20, 3072}}); d != "" || err != nil {
		t.Error(d, err)
	}
	if _, err := ReadSizes(strings.NewReader("1\nx\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a bad second line: %v", err)
	}
}

func BenchmarkDraw(b *testing.B) {
	p := testPlan(b, 1, DefaultMix().Parts[0])
	var line []byte
	for i := uint64(0); b.Loop(); i++ {
		q := p.draw(i, 0)
		line = p.appendKey(line[:0], &q)
	}
}

// What is accepted can be drawn from, and lies within its bounds.
func FuzzParseSizes(f *testing.F) {
	for _, s := range []string{"17", "4KiB", "lognormal:1MiB,1.5", "lognormal:1000,10,100,100GiB", "lognormal:1,0,5,5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sizes, err := ParseSizes(s)
		if err != nil {
			return
		}
		if err := sizes.check(); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		low, high := sizes.Bytes, sizes.Bytes
		if sizes.Kind == SizesLogNormal {
			if low, high = sizes.Min, sizes.Max; high == 0 {
				high = 1 << 30
			}
		}
		r := seeded(1)
		for range 100 {
			if n := sizes.draw(&r); n < low || n > high {
				t.Fatalf("%q: a size of %d", s, n)
			}
		}
	})
}

// What is accepted can be written as "NAME:WEIGHT,…" again, and means the same.
func FuzzParseOps(f *testing.F) {
	f.Add("get:8,head:1,put:0.5,range,list:1e-3")
	f.Fuzz(func(t *testing.T, s string) {
		ops, err := ParseOps(s)
		if err != nil {
			return
		}
		var texts []string
		for op, weight := range ops.weights() {
			texts = append(texts, fmt.Sprintf("%v:%v", Op(op), weight))
		}
		again, err := ParseOps(strings.Join(texts, ","))
		if err != nil || again != ops {
			t.Fatalf("%q is %+v, and that is %+v, %v", s, ops, again, err)
		}
	})
}
