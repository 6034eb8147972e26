package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A traffic is the workers of a forge that use a cluster through a load balancer
// while something happens to it, and check every byte that they get. Objects that
// never change are shared by all; each worker has keys of its own besides, which
// it rewrites, so that it knows at every moment what they may hold.
type traffic struct {
	t       *testing.T
	client  *http.Client
	nodes   []*balanced
	workers int
	pace    time.Duration // between the operations of a worker
	mix     mix
	seed    uint64

	began time.Time

	mu      sync.Mutex // guards the following
	items   []item     // that are stored
	made    uint64     // the seed that was given out last
	group   map[string]int
	samples []sample
	wrong   int
	causes  map[string]int // of what failed
}

// A mix says how many of a hundred operations are of a kind; the rest are reads
// of objects that never change.
type mix struct{ creates, rewrites, rereads int }

// An item is an object that never changes: its bytes follow from its seed.
type item struct {
	key  string
	seed uint64
	size int
}

func (i item) body() []byte { return randomBytes(i.seed, i.size) }

// newItem makes one of up to largest bytes. Every second one carries its digest.
func newItem(seed uint64, largest int) item {
	i := item{seed: seed, size: 1 + int(seed*2_654_435_761%uint64(largest))}
	i.key = keyOf(seed%2 == 0, i.body())
	return i
}

// A kind is what a worker does.
type kind uint8

const (
	readItem kind = iota // of an object that never changes
	createItem
	rewriteOwn
	readOwn
)

var kindNames = [...]string{readItem: "read", createItem: "create", rewriteOwn: "rewrite", readOwn: "reread"}

// A sample is what became of one operation.
type sample struct {
	at, took time.Duration // since the traffic began; until the last byte, or it was given up
	kind     kind
	group    int  // of the key, 0 for any
	failed   bool // the first attempt
	lost     bool // the second attempt, through another node, too
}

const (
	// patience is how long a worker waits for an answer: what is slow on a machine
	// that has much to do has not failed.
	trafficPatience = 10 * time.Second

	// ownKeys are those of each worker.
	ownKeys = 4

	// largestItem bounds the objects that workers make, in bytes.
	largestItem = 16 << 10
)

// newTraffic returns workers of a fleet's nodes who do perSecond operations
// together.
func newTraffic(t *testing.T, nodes []*hosted, perSecond int, m mix) *traffic {
	const workers = 16
	seed := rand.Uint64()
	tr := &traffic{
		t: t, workers: workers, pace: workers * time.Second / time.Duration(perSecond), mix: m, seed: seed, made: seed % (1 << 23),
		client: &http.Client{Timeout: trafficPatience, Transport: &http.Transport{MaxIdleConnsPerHost: workers, DisableCompression: true}},
		group:  map[string]int{}, causes: map[string]int{}, began: time.Now(),
	}
	for _, n := range nodes {
		tr.nodes = append(tr.nodes, &balanced{hosted: n, open: true, unready: n.cmd == nil})
	}
	t.Cleanup(tr.client.CloseIdleConnections)
	return tr
}

// store puts so many objects into the cluster before anybody reads.
func (tr *traffic) store(count, largest int) {
	tr.t.Helper()
	for range count {
		tr.made++
		tr.items = append(tr.items, newItem(tr.made, largest))
	}
	tr.visit(http.MethodPut)
	if tr.t.Failed() {
		tr.t.FailNow()
	}
}

// visit stores or reads every object that never changes, each through any node
// that is ready, and counts as no operation of a worker's.
func (tr *traffic) visit(method string) {
	tr.t.Helper()
	tr.mu.Lock()
	items := slices.Clone(tr.items)
	tr.mu.Unlock()
	keys := make([]string, len(items))
	for i, it := range items {
		keys[i] = it.key
	}
	each(tr.t, keys, 8, func(i int, key string) error {
		var body []byte
		if method == http.MethodPut {
			body = items[i].body()
		}
		random := rand.New(rand.NewPCG(tr.seed, uint64(i)))
		n := tr.pick(random, nil)
		r, err := tr.once(n, method, key, body)
		if err != nil {
			r, err = tr.once(tr.pick(random, n), method, key, body)
		}
		if err == nil && (r.status != http.StatusOK || body == nil && !bytes.Equal(r.body, items[i].body())) {
			err = fmt.Errorf("%s: %d, %d bytes of %d", method, r.status, len(r.body), items[i].size)
		}
		return err
	})
}

// run has the workers work until stop is closed. The load balancer learns
// meanwhile which nodes are ready.
func (tr *traffic) run(stop <-chan struct{}) {
	checked, end := make(chan struct{}), make(chan struct{})
	go func() { defer close(checked); tr.balance(end) }()
	var working sync.WaitGroup
	for id := range tr.workers {
		w := &worker{traffic: tr, id: id, rand: rand.New(rand.NewPCG(tr.seed, uint64(id)))}
		w.zipf = rand.NewZipf(w.rand, 1.1, 8, uint64(max(len(tr.items), 1)-1))
		working.Go(func() {
			tick := time.NewTicker(tr.pace)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					w.step()
				case <-stop:
					return
				}
			}
		})
	}
	working.Wait()
	close(end)
	<-checked
}

// start is run in the background; the function that it returns ends it.
func (tr *traffic) start() (end func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); tr.run(stop) }()
	return sync.OnceFunc(func() { close(stop); <-stopped })
}

func (tr *traffic) now() time.Duration { return time.Since(tr.began) }

// once sends one request. What is no answer about the object is an error: the
// client may try again elsewhere.
func (tr *traffic) once(n *balanced, method, key string, body []byte) (*reply, error) {
	var sent io.Reader
	if body != nil {
		sent = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, n.url(key), sent)
	if err != nil {
		return nil, err
	}
	return send(tr.client, req)
}

// note keeps what became of an operation.
func (tr *traffic) note(s sample, causes ...string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.samples = append(tr.samples, s)
	for _, cause := range causes {
		tr.causes[cause]++
	}
}

// maxWrong bounds how many wrong answers are told of, one by one.
const maxWrong = 20

// accuse reports an answer that may not be.
func (tr *traffic) accuse(format string, args ...any) {
	tr.mu.Lock()
	tr.wrong++
	told := tr.wrong <= maxWrong
	tr.mu.Unlock()
	if told {
		tr.t.Errorf("after %.3f s: %s", tr.now().Seconds(), fmt.Sprintf(format, args...))
	}
}

// A worker does one operation after the other.
type worker struct {
	*traffic
	id   int
	rand *rand.Rand
	zipf *rand.Zipf
	own  [ownKeys]register
}

func (w *worker) step() {
	switch n := w.rand.IntN(100); {
	case n < w.mix.creates:
		w.create()
	case n < w.mix.creates+w.mix.rewrites:
		w.rewrite(w.rand.IntN(ownKeys))
	case n < w.mix.creates+w.mix.rewrites+w.mix.rereads:
		w.reread(w.rand.IntN(ownKeys))
	default:
		w.read()
	}
}

// do sends a request and, if it has no answer, sends it once more to another
// node. unknown is told of each attempt that has none.
func (w *worker) do(k kind, method, key string, body []byte, unknown func()) (*reply, bool) {
	s := sample{at: w.now(), kind: k, group: w.groupOf(key)}
	var causes []string
	n := w.pick(w.rand, nil)
	r, err := w.once(n, method, key, body)
	if err != nil {
		unknown()
		s.failed = true
		causes = append(causes, cause(k, n, err))
		n = w.pick(w.rand, n)
		if r, err = w.once(n, method, key, body); err != nil {
			unknown()
			s.lost = true
			causes = append(causes, "again: "+cause(k, n, err))
		}
	}
	s.took = w.now() - s.at
	w.note(s, causes...)
	return r, err == nil
}

func (tr *traffic) groupOf(key string) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.group[key]
}

// cause is why an attempt failed, without what differs from one to the next.
func cause(k kind, n *balanced, err error) string {
	text := short(err)
	if i := strings.Index(text, "<Message>"); i >= 0 {
		text = text[:i]
	}
	return kindNames[k] + " through " + n.name + ": " + text
}

// read asks for an object that is there, mostly for one of the popular ones.
func (w *worker) read() {
	w.mu.Lock()
	i := int(w.zipf.Uint64())
	if late := len(w.items) - 1 - i; w.mix.creates > 0 && w.rand.IntN(4) == 0 {
		i = late // which somebody may just have stored
	}
	it := w.items[i]
	w.mu.Unlock()
	r, ok := w.do(readItem, http.MethodGet, it.key, nil, func() {})
	switch {
	case !ok:
	case r.status != http.StatusOK:
		w.accuse("GET %s, which is there: %d from %s", it.key, r.status, r.header.Get("Micelio-Node"))
	case !bytes.Equal(r.body, it.body()):
		w.accuse("GET %s: %d bytes that are not its %d, from %s by %s", it.key, len(r.body), it.size, r.header.Get("X-Cache"), r.header.Get("Micelio-Node"))
	}
}

// create stores a new object that never changes, for all to read.
func (w *worker) create() {
	w.mu.Lock()
	w.made++
	seed := w.made
	w.mu.Unlock()
	it := newItem(seed, largestItem)
	r, ok := w.do(createItem, http.MethodPut, it.key, it.body(), func() {})
	switch {
	case !ok:
	case r.status != http.StatusOK:
		w.accuse("PUT %s, twice at most with the same bytes: %d %.200q", it.key, r.status, r.body)
	default:
		w.mu.Lock()
		w.items = append(w.items, it)
		w.mu.Unlock()
	}
}

func (w *worker) ownKey(i int) string { return w.keyOf(w.id, i) }

// keyOf returns the name of a key that is a worker's own.
func (tr *traffic) keyOf(id, i int) string {
	return fmt.Sprintf("sessions/%x-%d-%d/state", tr.seed, id, i)
}

// rewrite stores the next version of a key that only this worker writes.
func (w *worker) rewrite(i int) {
	reg := &w.own[i]
	reg.last++
	value := fmt.Sprintf("%s version %d %s", w.ownKey(i), reg.last, strings.Repeat("x", w.rand.IntN(2000)))
	r, ok := w.do(rewriteOwn, http.MethodPut, w.ownKey(i), []byte(value), func() { reg.unknown = append(reg.unknown, value) })
	switch {
	case !ok:
	case r.status != http.StatusOK:
		w.accuse("PUT %s: %d %.200q", w.ownKey(i), r.status, r.body)
	default:
		reg.now = value
	}
}

// reread asks for a key of this worker's own.
func (w *worker) reread(i int) {
	reg := &w.own[i]
	r, ok := w.do(readOwn, http.MethodGet, w.ownKey(i), nil, func() {})
	if !ok {
		return
	}
	value := string(r.body)
	switch {
	case r.status == http.StatusNotFound:
		value = ""
	case r.status != http.StatusOK:
		w.accuse("GET %s: %d %.200q", w.ownKey(i), r.status, r.body)
		return
	}
	if !reg.holds(value) {
		w.accuse("GET %s through %s: %.80q, want %.80q or one of %d without an answer", w.ownKey(i), r.header.Get("Micelio-Node"), value, reg.now, len(reg.unknown))
	}
}

// A register is what one worker knows of a key that it alone writes, one
// operation at a time. now is what the key held last; a write without an answer
// may be done later, at most once for each time that it was sent.
type register struct {
	last    int
	now     string // "" for nothing
	unknown []string
}

// holds reports whether a read may see a value, and learns from it.
func (r *register) holds(value string) bool {
	if value == r.now {
		return true
	}
	i := slices.Index(r.unknown, value)
	if i < 0 {
		return false
	}
	r.now, r.unknown = value, slices.Delete(r.unknown, i, i+1)
	return true
}
