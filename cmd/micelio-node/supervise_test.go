package main

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/internal/sdnotify"
	"github.com/micelio/micelio/node"
)

// A manager is what stands at the other end of a notify socket.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, path}
}

// hear returns the lines of the next message that begins with one.
func (m *manager) hear(first string) []string {
	m.t.Helper()
	buf := make([]byte, 4096)
	for {
		n, err := m.conn.Read(buf)
		if err != nil {
			m.t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(buf[:n])), "\n")
		if strings.HasPrefix(lines[0], first) {
			return lines
		}
	}
}

func (m *manager) notifier(watchdogUsec string) *sdnotify.Notifier {
	m.t.Helper()
	env := map[string]string{"NOTIFY_SOCKET": m.path, "WATCHDOG_USEC": watchdogUsec}
	n, err := sdnotify.Open(func(name string) string { return env[name] }, 1)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { n.Close() })
	return n
}

func openNode(t *testing.T) *node.Node {
	t.Helper()
	dir := t.TempDir()
	cfg := node.DefaultConfig()
	cfg.DataDir, cfg.LocalPath = filepath.Join(dir, "data"), filepath.Join(dir, "origin")
	cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.SSDBytes, cfg.DrainDelay, cfg.CanaryInterval = 64<<20, 0, 0
	n, err := node.Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAServiceManagerHearsOfTheWholeLife(t *testing.T) {
	m, n := newManager(t), openNode(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- supervise(ctx, n, "micelio", m.notifier("20000"), slog.New(slog.DiscardHandler)) }()
	if got := m.hear("STATUS="); !slices.Equal(got, []string{"STATUS=looking for the cluster"}) {
		t.Errorf("at first: %q", got)
	}
	m.hear("READY=1")
	select {
	case <-n.Ready():
	default:
		t.Error("the manager hears that the node is ready before it is")
	}
	if got := m.hear("STATUS=ready; "); !strings.Contains(got[0], "; 1 of 1 members serve, epoch ") || !strings.HasSuffix(got[0], n.Addr()) {
		t.Errorf("ready: %q", got)
	}
	for range 3 {
		m.hear("WATCHDOG=1")
	}
	if got := m.hear("STATUS=ready; "); len(got) != 1 || !strings.HasSuffix(got[0], n.Addr()) {
		t.Errorf("alive: %q", got)
	}
	stop()
	if got := m.hear("STOPPING=1"); !slices.Equal(got, []string{"STOPPING=1", "STATUS=draining"}) {
		t.Errorf("at the end: %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A wedged node is one whose sockets take connections and whose handlers do not
// answer: here it is opened and never run.
func TestANodeThatDoesNotAnswerFeedsNoWatchdog(t *testing.T) {
	m, n := newManager(t), openNode(t)
	v := &visitor{node: n, bucket: "micelio"}
	h := &herald{answers: v.answers, status: v.status, manager: m.notifier("20000"), log: slog.New(slog.DiscardHandler)}
	h.look(t.Context(), time.Second, h.manager.Watchdog()/2, true)
	got := m.hear("")
	if len(got) != 1 || !strings.HasPrefix(got[0], "STATUS=does not answer itself: client listener: ") {
		t.Errorf("got %q", got)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if err := n.Run(over); err != nil { // gives back what it opened
		t.Error(err)
	}
}

// pending returns what has been sent to the manager and not read yet.
func (m *manager) pending() (all string) {
	m.t.Helper()
	raw, err := m.conn.SyscallConn()
	if err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		var n int
		var fault error
		if err := raw.Control(func(fd uintptr) { n, _, fault = syscall.Recvfrom(int(fd), buf, syscall.MSG_DONTWAIT) }); err != nil {
			m.t.Fatal(err)
		}
		if fault != nil {
			return all
		}
		all += string(buf[:n])
	}
}

// A look can come to nothing on a machine that is busy, at once or after all the time
// that it has, and what is said of the node in words can take its time too.
func TestOneLookThatFailsEndsNoNode(t *testing.T) {
	const limit = 30 * time.Second
	for name, fails := range map[string]func(ctx context.Context) error{
		"at once":    func(context.Context) error { return syscall.EMFILE },
		"by silence": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t)
				looks, ready := 0, make(chan struct{})
				h := &herald{ready: ready, manager: m.notifier("30000000"), log: slog.New(slog.DiscardHandler)}
				h.answers = func(ctx context.Context) error {
					if looks++; looks%4 == 0 {
						return fails(ctx)
					}
					return nil
				}
				h.status = func(ctx context.Context) string { <-ctx.Done(); return "slow" }
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { h.run(ctx, nil); close(ended) }()
				close(ready)
				longest, fed := time.Duration(0), time.Now()
				for range 300 {
					time.Sleep(time.Second)
					synctest.Wait()
					if strings.Contains(m.pending(), sdnotify.Alive) {
						longest, fed = max(longest, time.Since(fed)), time.Now()
					}
				}
				stop()
				<-ended
				if longest = max(longest, time.Since(fed)); longest > limit*3/4 {
					t.Errorf("the watchdog was not fed for %v; its limit is %v", longest, limit)
				}
				if looks < 20 {
					t.Errorf("only %d looks", looks)
				}
			})
		})
	}
}
