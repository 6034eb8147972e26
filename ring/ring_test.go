package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick makes a cluster on loopback converge, and see a crash, in a second or
// two.
var quick = Timing{
	ProbeInterval: 200 * time.Millisecond, ProbeTimeout: 100 * time.Millisecond, SuspicionMult: 3,
	GossipInterval: 20 * time.Millisecond, PushPullInterval: time.Second, StreamTimeout: time.Second,
	RejoinInterval: 500 * time.Millisecond, JoinRetry: 50 * time.Millisecond,
	JoinQuiet: 50 * time.Millisecond, JoinWait: 100 * time.Millisecond,
}

func quickConfig(id string, seeds ...string) Config {
	return Config{
		Self:    Member{ID: id, State: Serving, PeerAddr: "127.0.0.1:8081"},
		Bind:    "127.0.0.1:0",
		Cluster: "test",
		Seeds:   seeds,
		Timing:  quick,
	}
}

// start opens a ring and runs it until the test ends.
func start(t *testing.T, cfg Config) *Ring {
	t.Helper()
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// startThree starts n1, n2 and n3 and waits until each sees all.
func startThree(t *testing.T) []*Ring {
	t.Helper()
	first := start(t, quickConfig("n1"))
	rings := []*Ring{first, start(t, quickConfig("n2", first.Addr())), start(t, quickConfig("n3", first.Addr()))}
	for _, r := range rings {
		await(t, r, "three members", func(v *View) bool { return len(v.owners) == 3 })
	}
	return rings
}

// patience is what a test waits for the cluster before it gives up: far longer
// than anything here takes.
const patience = time.Minute

// await waits until the ring's view is as ok wants it.
func await(t *testing.T, r *Ring, what string, ok func(*View) bool) *View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		changed := r.Changed()
		v := r.View()
		if ok(v) {
			return v
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s never saw %s, but %+v", r.Self().ID, what, v.Members())
		}
	}
}

// records is a slog.Handler that hands out the lines with all of some words.
type records struct {
	mu    sync.Mutex
	lines []string
	added chan struct{} // closed and renewed
}

func newRecords() *records { return &records{added: make(chan struct{})} }

func (h *records) Enabled(context.Context, slog.Level) bool { return true }
func (h *records) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *records) WithGroup(string) slog.Handler            { return h }

func (h *records) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
	close(h.added)
	h.added = make(chan struct{})
	return nil
}

func (h *records) await(t *testing.T, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		h.mu.Lock()
		added, lines := h.added, h.lines
		h.mu.Unlock()
		for _, line := range lines {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return
			}
		}
		select {
		case <-added:
		case <-ctx.Done():
			t.Fatalf("no line with %q in the log:\n%s", words, strings.Join(lines, "\n"))
		}
	}
}

func TestANodeAloneSeesItself(t *testing.T) {
	r := start(t, quickConfig("n1"))
	if m, ok := r.View().Owner("k"); !ok || m != r.Self() || m.Boot == 0 {
		t.Errorf("owner %+v, %v", m, ok)
	}
	if !r.Joined() {
		t.Error("a node without seeds is not joined")
	}
	if err := r.SetState(t.Context(), Draining); err != nil {
		t.Error(err)
	}
	if _, ok := r.View().Owner("k"); ok {
		t.Error("a draining node owns a key")
	}
	if err := r.Leave(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestThreeNodesAgree(t *testing.T) {
	rings := startThree(t)
	want := rings[0].View()
	for _, r := range rings {
		if v := r.View(); v.Epoch() != want.Epoch() {
			t.Errorf("%s has another epoch", r.Self().ID)
		}
		if !r.Joined() {
			t.Errorf("%s is not joined", r.Self().ID)
		}
		for _, other := range rings {
			if m, _ := want.Member(other.Self().ID); m != other.Self() {
				t.Errorf("%+v is known as %+v", other.Self(), m)
			}
		}
	}
}

func TestAJoiningNodeOwnsNothingUntilItServes(t *testing.T) {
	first := start(t, quickConfig("n1"))
	cfg := quickConfig("n2", first.Addr())
	cfg.Self.State = Joining
	second := start(t, cfg)
	v := await(t, first, "n2", func(v *View) bool { _, ok := v.Member("n2"); return ok })
	if v.Share("n2") != 0 || v.Share("n1") != 1 {
		t.Errorf("shares %v and %v", v.Share("n1"), v.Share("n2"))
	}
	if err := second.SetState(t.Context(), Serving); err != nil {
		t.Fatal(err)
	}
	if second.View().Share("n2") == 0 {
		t.Error("the own view did not follow at once")
	}
	await(t, first, "n2 serving", func(v *View) bool { return v.Share("n2") > 0 })
}

func TestADrainingNodeOwnsNothingAndIsStillThere(t *testing.T) {
	rings := startThree(t)
	if err := rings[1].SetState(t.Context(), Draining); err != nil {
		t.Fatal(err)
	}
	for _, r := range rings {
		v := await(t, r, "n2 draining", func(v *View) bool { return v.Share("n2") == 0 })
		if m, ok := v.Member("n2"); !ok || m.State != Draining {
			t.Errorf("%s sees %+v, %v", r.Self().ID, m, ok)
		}
	}
}

func TestALeaveIsSeenByAll(t *testing.T) {
	rings := startThree(t)
	if err := rings[2].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range rings[:2] {
		await(t, r, "n3 gone", func(v *View) bool { _, ok := v.Member("n3"); return !ok && len(v.owners) == 2 })
	}
	if err := rings[2].SetState(t.Context(), Serving); !errors.Is(err, errClosed) {
		t.Errorf("set state after leave: %v", err)
	}
	if err := rings[2].Leave(t.Context()); err != nil {
		t.Errorf("a second leave: %v", err)
	}
}

func TestACrashIsSeenByAll(t *testing.T) {
	rings := startThree(t)
	if err := rings[2].Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range rings[:2] {
		await(t, r, "n3 gone", func(v *View) bool { return len(v.Members()) == 2 })
	}
	if err := rings[2].Leave(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("leave after close: %v", err)
	}
}

// The new start is elsewhere, and the old one has not yet been found dead.
func TestARestartReplacesTheNodeAtOnce(t *testing.T) {
	rings := startThree(t)
	epoch := rings[0].View().Epoch()
	if err := rings[2].Close(); err != nil {
		t.Fatal(err)
	}
	cfg := quickConfig("n3", rings[0].Addr())
	cfg.Self.PeerAddr = "127.0.0.1:9999"
	again := start(t, cfg)
	if old := rings[2].Self(); again.Self().Boot <= old.Boot || again.Addr() == rings[2].Addr() {
		t.Fatalf("started as %+v at %s after %+v at %s", again.Self(), again.Addr(), old, rings[2].Addr())
	}
	for _, r := range rings[:2] {
		v := await(t, r, "the new n3", func(v *View) bool { m, _ := v.Member("n3"); return m == again.Self() })
		if v.Epoch() != epoch {
			t.Errorf("%s moved keys", r.Self().ID)
		}
	}
}

func TestTheSameIDTwiceIsLogged(t *testing.T) {
	log := newRecords()
	cfg := quickConfig("n1")
	cfg.Log = slog.New(log)
	first := start(t, cfg)
	second := start(t, quickConfig("n1", first.Addr()))
	log.await(t, "ERROR another node has this node's id")
	await(t, first, "the later n1", func(v *View) bool { m, _ := v.Member("n1"); return m == second.Self() })
}

func TestClustersWithDifferentLabelsDoNotMerge(t *testing.T) {
	log := newRecords()
	cfg := quickConfig("n1")
	cfg.Log = slog.New(log)
	first := start(t, cfg)
	other := quickConfig("n2", first.Addr())
	other.Cluster = "other"
	second := start(t, other)
	log.await(t, "discarding stream with unacceptable label")
	for _, r := range []*Ring{first, second} {
		if n := len(r.View().Members()); n != 1 {
			t.Errorf("%s sees %d members", r.Self().ID, n)
		}
	}
	if second.Joined() {
		t.Error("joined a cluster of another name")
	}
}

// stranger is a node of other software: it speaks the gossip and shows some
// metadata.
type stranger struct {
	delegate
	meta []byte
}

func (s *stranger) NodeMeta(int) []byte { return s.meta }

func TestANodeWithOtherParametersIsRefusedLoudly(t *testing.T) {
	log := newRecords()
	cfg := quickConfig("n1")
	cfg.Log = slog.New(log)
	r := start(t, cfg)

	m := Member{ID: "n2", Boot: 1, State: Serving, PeerAddr: "127.0.0.1:1"}
	for name, c := range map[string]struct {
		meta []byte
		says string
	}{
		"parameters": {mustEncode(t, m), errParameters.Error()},
		"version":    {mustEncode(t, m), errVersion.Error()},
		"secret":     {mustEncode(t, m), errSecret.Error()},
		"nothing":    {nil, errMetadata.Error()},
	} {
		switch name {
		case "parameters":
			binary.BigEndian.PutUint64(c.meta[10:], 42)
		case "version":
			c.meta[0] = 99
		case "secret":
			c.meta[18] = 1 // this node has none
		}
		conf := memberlist.DefaultLocalConfig()
		conf.Name, conf.Label, conf.BindAddr, conf.BindPort = m.gossipName(), "test", "127.0.0.1", 0
		conf.Delegate, conf.LogOutput = &stranger{meta: c.meta}, io.Discard
		s, err := memberlist.Create(conf)
		if err != nil {
			t.Fatal(err)
		}
		// It may take the answer for a success: what counts is who sees whom.
		_, _ = s.Join([]string{r.Addr()})
		log.await(t, "WARN refused in the gossip", "refused node", c.says)
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	}
	if n := len(r.View().Members()); n != 1 {
		t.Errorf("%d members", n)
	}
}

func TestCallsAfterTheEndAreErrors(t *testing.T) {
	r, err := Open(quickConfig("n1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
	if err := r.Run(ctx); !errors.Is(err, errRunning) {
		t.Errorf("run again: %v", err)
	}
	if err := r.SetState(t.Context(), State(9)); err == nil {
		t.Error("an unknown state was set")
	}
	var tasks sync.WaitGroup
	for range 4 {
		tasks.Go(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	tasks.Wait()
	if err := r.SetState(t.Context(), Draining); !errors.Is(err, errClosed) {
		t.Errorf("set state: %v", err)
	}
	if r.View() == nil {
		t.Error("no view")
	}
}

func TestJitterStaysWithinItsBounds(t *testing.T) {
	const d = 10 * time.Second
	least, most := d, d
	for range 10000 {
		j := jitter(d)
		least, most = min(least, j), max(most, j)
	}
	if got := fmt.Sprintf("%.0f-%.0f", least.Seconds(), most.Seconds()); got != "8-12" {
		t.Errorf("10 s became %s s", got)
	}
}
