package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/history"
)

var (
	consistencyFor  = flag.Duration("consistency.for", 0, "go on with faults for so long; 0: until each was there once")
	consistencySeed = flag.Uint64("consistency.seed", 0, "order and victims of the faults; 0: another one each time")
	consistencyOps  = flag.Int64("consistency.ops", 0, "go on until there were so many operations; 0: 50000 over a directory, 25000 over S3, where one takes longer")
	consistencyRate = flag.Int("consistency.rate", 1000, "operations a second, at most")
	consistencyKeep = flag.String("consistency.keep", "", "folder for logs and histories, which stay there; by default only those of a failure stay, in a folder of their own")
)

// Five processes, each on a host of its own, and users who read, write, compare
// and swap and delete through all of them while everything that can break breaks.
// What the users saw of each key must be what one register would have shown them,
// and what broke must not matter any more soon after its end.

func TestMutableKeysAreLinearizableOverS3(t *testing.T) { testConsistency(t, true) }

func TestMutableKeysAreLinearizableOverADirectory(t *testing.T) { testConsistency(t, false) }

const consistencyNodes = 5

// enoughWithin bounds how long users go on when all faults are over. A machine of
// two cores needs none of it, one that is shared may.
const enoughWithin = 3 * time.Minute

func testConsistency(t *testing.T, overS3 bool) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel() // they wait for their rate and for faults to pass
	seed := *consistencySeed
	if seed == 0 {
		seed = rand.Uint64()>>1 | 1
	}
	r := &ordeal{t: t, rand: rand.New(rand.NewPCG(seed, 0)), kept: keep(t), overS3: overS3}
	t.Logf("-consistency.seed=%d", seed)
	r.fleet = startFleet(t, consistencyNodes, overS3, r.kept, "--ram-bytes=16MiB", "--ssd-bytes=1GiB", "--canary-interval=500ms")
	r.load = &load{
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: users, DisableCompression: true}},
		seed:   seed, fill: newFillers(), pace: users * time.Second / time.Duration(*consistencyRate), failed: r.illegal, deletesIf: !overS3,
	}
	defer r.load.client.CloseIdleConnections()
	for _, n := range r.fleet.nodes {
		r.load.urls, r.load.nodes = append(r.load.urls, strings.TrimSuffix(n.url("x"), "x")), append(r.load.nodes, n.name)
	}
	r.storeProbes()

	stop, stopped := make(chan struct{}), make(chan struct{})
	r.load.began = time.Now()
	r.say("seed %d, %d users, %d operations a second at most", seed, users, *consistencyRate)
	go func() { defer close(stopped); r.load.run(stop) }()
	defer func() { // Fatal ends this goroutine
		close(stop)
		<-stopped
		r.load.report(t)
		r.wantNoRefusalOfUnconditionalWrites()
		r.wantFreshCanaries()
	}()
	for round := 0; round == 0 || time.Since(r.load.began) < *consistencyFor; round++ {
		for _, fault := range shuffled(r.rand, overS3) {
			if t.Failed() || round > 0 && time.Since(r.load.began) > *consistencyFor {
				return
			}
			r.endure(fault)
		}
	}
	enough := *consistencyOps
	if enough == 0 {
		enough = 50_000
		if overS3 {
			enough = 25_000
		}
	}
	err := eventually(enoughWithin, func() error {
		if n := r.load.ops.Load(); n < enough && !t.Failed() {
			return fmt.Errorf("%d operations, want %d", n, enough)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// wantFreshCanaries checks that the nodes watched each other all the time, and
// saw nothing that was stale.
func (r *ordeal) wantFreshCanaries() {
	for _, n := range r.fleet.nodes {
		page, err := n.ask("/metrics", 10*time.Second)
		if err != nil {
			r.t.Errorf("%s: %v", n.name, err)
			continue
		}
		for line := range strings.Lines(string(page)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch {
			case name == "micelio_stale_reads_total" && value != "0", strings.HasPrefix(name, `micelio_canary_rounds_total{result="stale"`):
				r.t.Errorf("%s: %s", n.name, line)
			case strings.HasPrefix(name, `micelio_canary_rounds_total{result="fresh"`):
				r.t.Logf("%s: %s", n.name, line)
			}
		}
	}
}

// keep returns the folder of what a failure leaves behind.
func keep(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(*consistencyKeep, t.Name())
	if *consistencyKeep == "" {
		var err error
		if dir, err = os.MkdirTemp("", "micelio-"+t.Name()+"-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("logs, faults and histories are in %s", dir)
			} else {
				os.RemoveAll(dir)
			}
		})
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// An ordeal is one run.
type ordeal struct {
	t      *testing.T
	rand   *rand.Rand
	kept   string
	overS3 bool
	fleet  *fleet
	load   *load

	mu    sync.Mutex // guards the following
	found int
}

// say notes what happens, with the time on the clock of the histories.
func (r *ordeal) say(format string, args ...any) {
	line := fmt.Sprintf("%8.3f s  ", float64(r.load.now())/1e9) + fmt.Sprintf(format, args...)
	r.t.Log(line)
	file, err := os.OpenFile(filepath.Join(r.kept, "faults.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(file, time.Now().UTC().Format("15:04:05.000"), line)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		r.t.Error(err)
	}
}

// endure lets a fault happen and pass, and waits until everything is well.
func (r *ordeal) endure(fault fault) {
	turn := r.rand.Perm(len(r.fleet.nodes))
	lasts := time.NewTimer(fault.lasts)
	defer lasts.Stop()
	what, end := fault.begin(r.fleet, turn)
	r.say("%s: %s", fault.name, what)
	<-lasts.C
	end()
	ended := time.Now()
	r.say("%s: over", fault.name)
	ctx, cancel := context.WithTimeout(context.Background(), fault.back)
	defer cancel()
	if err := eventually(fault.back, func() error { return r.answered(ctx) }); err != nil {
		r.t.Errorf("%s: not everything is answered %v after its end: %v", fault.name, fault.back, err)
	}
	answered := time.Since(ended)
	r.fleet.awaitAgreement(max(0, settleWithin-answered))
	r.say("%s: answered again after %.1f s, one ring after %.1f s", fault.name, answered.Seconds(), time.Since(ended).Seconds())
}

// probes are keys that nothing happens to: what does not answer for one has not
// recovered.
const probes = 20

func probe(i int) string { return "projects/" + strconv.Itoa(i) + "/head" }

func (r *ordeal) storeProbes() {
	r.t.Helper()
	for i := range probes {
		if err := r.probe(r.t.Context(), http.MethodPut, r.fleet.nodes[i%len(r.fleet.nodes)], i); err != nil {
			r.t.Fatal(err)
		}
	}
}

// answered asks every node for every probe, and writes some.
func (r *ordeal) answered(ctx context.Context) error {
	failures := make([]error, len(r.fleet.nodes)*probes)
	var all sync.WaitGroup
	for at := range failures {
		all.Go(func() {
			node, i := at%len(r.fleet.nodes), at/len(r.fleet.nodes)
			method := http.MethodGet
			if i%len(r.fleet.nodes) == node {
				method = http.MethodPut
			}
			failures[at] = r.probe(ctx, method, r.fleet.nodes[node], i)
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

func (r *ordeal) probe(ctx context.Context, method string, n *hosted, i int) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	body := ""
	if method == http.MethodPut {
		body = strconv.Itoa(i)
	}
	req, err := http.NewRequestWithContext(ctx, method, n.url(probe(i)), strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := r.load.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || method == http.MethodGet && string(got) != strconv.Itoa(i) {
		return fmt.Errorf("%s of probe %d through %s: %s, %.100q", method, i, n.name, resp.Status, got)
	}
	return nil
}

// illegal keeps a history that no register could have.
func (r *ordeal) illegal(ops []history.Op, faults []history.Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found++
	dir := filepath.Join(r.kept, fmt.Sprintf("illegal-%d", r.found))
	if _, err := history.Save(dir, ops, faults, history.Options{}); err != nil {
		r.t.Error(err)
	}
	text := fmt.Sprint(faults)
	r.t.Errorf("illegal, in %s: %.3000s", dir, text)
}

// wantNoRefusalOfUnconditionalWrites: what has no condition cannot be refused for
// one, whatever becomes of it on its way.
func (r *ordeal) wantNoRefusalOfUnconditionalWrites() {
	for _, kind := range []history.Kind{history.Write, history.Delete} {
		for _, status := range []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed} {
			if n := r.load.counts[fmt.Sprintf("%s %s %d", kind, history.Failed, status)]; n > 0 {
				r.t.Errorf("%d operations without a condition, %s, were answered %d", n, kind, status)
			}
		}
	}
}
