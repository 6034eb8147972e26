package console

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// hostile is a key that is markup, if anything takes it for that.
const hostile = `x/<img src=x onerror=document.title="broken"><script>alert(1)</script>`

// A script is a source that plays a node of a lively cluster. What it tells can
// be changed while it is watched.
type script struct {
	mu       sync.Mutex
	counters Counters
	random   *rand.Rand
	change   func(*Status) // of what it tells
	statuses int           // that were asked for
}

func newScript(start time.Time) *script {
	s := &script{random: rand.New(rand.NewPCG(1, 2)), change: func(*Status) {}}
	s.counters.At = start
	s.advance(start)
	return s
}

// played returns the console of a script that has some time behind it.
func played(behind time.Duration) (*Console, *script) {
	source := newScript(time.Now().Add(-behind))
	c := New(source, Options{})
	for at := source.counters.At; at.Before(time.Now().Add(-sampleEvery)); at = at.Add(sampleEvery) {
		source.advance(at)
		c.history.sample(source.counters)
	}
	return c, source
}

// set changes what the script tells from now on.
func (s *script) set(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change = change
}

func bounds() []float64 {
	all := make([]float64, 18)
	for i := range all {
		all[i] = 50e-6 * math.Pow(2, float64(i))
	}
	return all
}

// advance plays until a time: load by day and night of twenty minutes, a deploy
// half an hour in that asks for what nobody has.
func (s *script) advance(to time.Time) {
	c := &s.counters
	// Who has the last ones has them as they were.
	c.Tiers, c.Answers = slices.Clone(c.Tiers), slices.Clone(c.Answers)
	seconds := to.Sub(c.At).Seconds()
	c.At = to
	phase := float64(to.Unix()%1200) / 1200 * 2 * math.Pi
	load := 4200 + 1400*math.Sin(phase) + 300*s.random.NormFloat64()
	cold := .004
	if m := to.Unix() % 3600; m > 1700 && m < 1900 {
		cold = .12
	}
	places := []struct {
		from       string
		share, p50 float64
	}{
		{"hot", .11, 60e-6}, {"ram", .71 - cold, 180e-6}, {"ssd", .14, 900e-6}, {"fill", cold / 4, 18e-3}, {"peer", cold / 4, 4e-3},
		{"cdn", cold / 4, 22e-3}, {"origin", cold / 4, 65e-3}, {"", .03, 8e-3},
	}
	for i, p := range places {
		if len(c.Answers) == i {
			c.Answers = append(c.Answers, AnswerCount{From: p.from, Bounds: bounds()})
		}
		a := &c.Answers[i]
		n := int64(max(0, load*p.share*seconds*(1+.05*s.random.NormFloat64())))
		buckets := make([]int64, len(a.Bounds))
		for b, bound := range a.Bounds {
			buckets[b] = int64(math.Round(float64(n) / (1 + math.Pow(p.p50/bound, 4))))
			if b < len(a.Buckets) {
				buckets[b] += a.Buckets[b]
			}
		}
		a.Buckets, a.Count = buckets, a.Count+n
		c.Requests += n
	}
	for i, t := range []struct {
		name string
		hit  float64
	}{{"ram", .84 - cold}, {"ssd", .93 - 2*cold}} { // "hot" counts no look-ups
		if len(c.Tiers) == i {
			c.Tiers = append(c.Tiers, TierCount{Name: t.name})
		}
		hits := t.hit + .01*s.random.NormFloat64()
		c.Tiers[i].Hits += int64(load * seconds * hits)
		c.Tiers[i].Misses += int64(load * seconds * (1 - hits))
		c.Tiers[i].Evictions += int64(load * seconds * cold * .6)
	}
	c.BytesOut += int64(load * seconds * 31_000)
	c.BytesIn += int64(load * seconds * 900)
	c.Origin += int64(load * seconds * cold * .9)
	c.CPU += seconds * load / 9000
}

func (s *script) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(time.Now())
	return s.counters
}

func (s *script) Status(counted Counters) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses++
	now := time.Now()
	status := play(now, counted.Answers)
	status.Tiers = append(status.Tiers, Tier{Name: "hot", Objects: 37, Bytes: 88_000_000, Capacity: 512 << 20, Hits: 38_112_004})
	for _, t := range counted.Tiers {
		tier := Tier{Name: t.Name, Hits: t.Hits, Misses: t.Misses, Evictions: t.Evictions}
		switch t.Name {
		case "ram":
			tier.Objects, tier.Bytes, tier.Capacity = 211_840, 3_984_588_800, 4<<30
		case "ssd":
			tier.Objects, tier.Bytes, tier.Capacity, tier.Damaged = 4_918_223, 338_000_000_000, 512<<30, 2
		}
		status.Tiers = append(status.Tiers, tier)
	}
	s.change(&status)
	return status
}

func (s *script) Where(ctx context.Context, key string) (Where, error) {
	switch {
	case strings.HasPrefix(key, "/"):
		return Where{}, errors.New("object: invalid key: begins with /")
	case key == "slow":
		<-ctx.Done()
		return Where{}, ctx.Err()
	}
	partition := 10934
	return Where{
		Key: key, Class: "verified", Epoch: "91ab3c77d2e01f54", Partition: &partition, Owner: "build-eu-2", Route: []string{"build-eu-2", "build-eu-5", "build-eu-1"},
		Copies: []Copy{
			{Node: "build-eu-1", Tiers: []string{"hot"}, Size: 1_482_113, ETag: `"9bb58f26192e4ba00f01e2e7b136bbd8"`, Age: 3},
			{Node: "build-eu-2", Tiers: []string{"ram", "ssd"}, Size: 1_482_113, ETag: `"9bb58f26192e4ba00f01e2e7b136bbd8"`, Age: 8114},
			{Node: "build-eu-3"},
			{Node: "build-eu-4", Error: "connection refused"},
			{Node: "build-eu-5"},
		},
	}, nil
}

// digest makes a key's hexadecimal digits of a number.
func digest(n uint64) string {
	r := rand.New(rand.NewPCG(n, 7))
	return fmt.Sprintf("%016x%016x%016x%016x", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
}

// play is what a node says at a time.
func play(now time.Time, answers []AnswerCount) Status {
	age := float64(now.UnixMilli()%9000) / 1000
	s := Status{
		At: now,
		Node: Node{
			ID: "build-eu-1", Cluster: "forge-production", Version: "v1.3.0", Revision: "c66aa6d8e5426f7bd83013", Go: "go1.26.8", Bucket: "micelio", State: "ready",
			Started: now.Add(-76*time.Hour - 12*time.Minute), Data: "10.4.0.11:8080", Peer: "10.4.0.11:8081", Admin: "127.0.0.1:8082", Gossip: "10.4.0.11:7946",
			CPUSeconds: 92133, Memory: 5_404_811_264, Goroutines: 412, OpenFiles: 731,
		},
		Checks: []Check{
			{Name: "listeners", OK: true, Text: "client 10.4.0.11:8080"}, {Name: "ring", OK: true, Text: "epoch 91ab3c77d2e01f54, 5 members"},
			{Name: "membership", OK: true, Text: "5 of 5 known peers answer"}, {Name: "placement", OK: true, Text: "the table is the one of its epoch"},
			{Name: "not draining", OK: true, Text: "a draining node takes no new clients"}, {Name: "origin", OK: true, Text: "answered 80ms ago"},
			{Name: "warmth", Says: true, OK: true, Text: "peers are rarely asked in vain"}, {Name: "canary", OK: true, Text: "read its own write through all members 2s ago"},
		},
		Ring:      Ring{Epoch: "91ab3c77d2e01f54", Agreed: true},
		FillCount: 3,
		Fills: []Fill{
			{Key: "artifacts/sha256:" + digest(1), From: "origin", Bytes: int64(age * 110e6), Size: 1 << 30, Readers: 214, Age: age},
			{Key: "cache/linux-amd64/sha256:" + digest(2) + "/layer.tar.zst", From: "peer", Bytes: 8_400_000, Size: 12_000_000, Readers: 3, Age: .31},
			{Key: hostile, Size: -1, Readers: 1, Age: .004},
		},
		Upstreams: []Upstream{
			{Name: "origin", Place: "https://s3.eu-central-1.amazonaws.com/forge-artifacts", Breaker: "closed", InFlight: 6, Counts: map[string]int64{"ok": 1_844_201, "not_found": 88_120, "not_modified": 402_112, "unavailable": 14, "throttled": 3}},
			{Name: "cdn", Place: "https://cdn.forge.example/", Breaker: "half-open", InFlight: 1, Counts: map[string]int64{"ok": 91_044, "wrong_length": 3, "timeout": 41}, Note: "one request in ten tries it until it is well"},
		},
	}
	for i, id := range []string{"build-eu-1", "build-eu-2", "build-eu-3", "build-eu-4", "build-eu-5"} {
		m := Member{
			ID: id, State: "serving", Self: i == 0, Weight: 1, Share: []float64{.2012, .1987, .2034, .1966, .2001}[i], Epoch: s.Ring.Epoch, Breaker: "closed",
			Data: fmt.Sprintf("10.4.0.1%d:8080", i+1), Peer: fmt.Sprintf("10.4.0.1%d:8081", i+1), Admin: "127.0.0.1:8082",
			Heard: 1.2 * float64(i), RTT: []float64{0, 310e-6, 280e-6, 1.9e-3, 402e-6}[i],
		}
		if i == 0 {
			m.Breaker = ""
		}
		if i == 3 {
			m.Breaker, m.Error = "open", "read tcp 10.4.0.11:50122->10.4.0.14:8081: connection reset by peer"
		}
		s.Ring.Members = append(s.Ring.Members, m)
	}
	for _, a := range answers {
		s.Answers = append(s.Answers, Answer{From: a.From, Count: a.Count})
	}
	for i, key := range []string{"artifacts/sha256:" + digest(9), "cache/linux-amd64/sha256:" + digest(10) + "/index.json", "trees/4f/" + digest(11)[:38], "sessions/~5f3a9c01", hostile} {
		class := []string{"verified", "immutable", "immutable", "mutable", "mutable"}[i]
		s.Hot = append(s.Hot, HotKey{Key: key, Class: class, Owner: s.Ring.Members[(i*2+1)%5].ID, Rate: 812 / math.Pow(1.9, float64(i)), Copy: []int64{1_482_113, 0, 9_011, 0, 0}[i]})
	}
	for i := range 14 {
		s.Slow = append(s.Slow, Request{
			At: now.Add(-time.Duration(i*i*17) * time.Second), ID: strings.ToUpper(digest(uint64(40 + i))[:16]), Trace: digest(uint64(80 + i))[:32], Op: []string{"GET", "PUT", "GET", "HEAD"}[i%4],
			Key: "artifacts/sha256:" + digest(uint64(20+i)), Status: []int{200, 200, 206, 200, 503}[i%5], From: []string{"origin", "", "cdn", "peer", "fill"}[i%5], Node: s.Ring.Members[i%5].ID,
			Duration: 14.2 / math.Pow(1.4, float64(i)), Bytes: int64(2e9 / math.Pow(1.7, float64(i))),
		})
	}
	s.Slow[3].Key = hostile
	for i, name := range []string{
		"name", "listen", "peer-listen", "admin-listen", "gossip-listen", "join", "data-dir", "bucket", "ram-bytes", "ssd-bytes", "ssd-preallocate", "fill", "fill-memory-bytes", "hot-copies",
		"origin", "s3-endpoint", "s3-region", "s3-secret-access-key", "cdn-base-url", "cdn-timeout", "drain-delay", "drain-handover", "canary-interval", "log-level",
	} {
		setting := Setting{Name: name, Value: fmt.Sprint(i * 64), Source: "default"}
		switch i % 5 {
		case 0:
			setting.Value, setting.Source = "10.4.0.11:8080", "flag --"+name
		case 1:
			setting.Value, setting.Source = "-", "default: worked out from <listen>"
		case 2:
			setting.Value, setting.Source = "********", "environment "+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		}
		s.Settings = append(s.Settings, setting)
	}
	return s
}
