package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// atOnce is how many of the tests that may do so run at the same time, beyond the
// number of processors: most of them wait for other processes and for time to
// pass.
const atOnce = 1

func run(m *testing.M) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+atOnce)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "micelio-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "micelio-node")
	build := exec.Command("go", "build", "-o", binary, "github.com/micelio/micelio/cmd/micelio-node")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A process is one running node.
type process struct {
	t    testing.TB
	args []string
	cmd  *exec.Cmd
	log  *logWatch
	addr map[string]string // by listener: client, peer, admin, gossip
	done chan struct{}     // closed when it has ended
}

// start runs a node on free ports, or the given ones, and waits until it says
// that it is ready.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args}
	p.launch(append([]string{
		"--listen=127.0.0.1:0", "--peer-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--gossip-listen=127.0.0.1:0",
		"--drain-delay=0s", "--log-format=json",
		"--canary-interval=0s", // its requests would be counted with those of a test
	}, args...))
	t.Cleanup(p.kill)
	return p
}

func (p *process) launch(args []string) {
	p.t.Helper()
	p.log = &logWatch{ready: make(chan struct{}), addr: map[string]string{}}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = environment()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		p.log.read(stderr)
		p.cmd.Wait()
	}()
	select {
	case <-p.log.ready:
	case <-p.done:
		p.t.Fatalf("the node ended before it was ready:\n%s", p.log.text())
	}
	p.addr = p.log.addr
}

// restart starts the node again, at the addresses it had.
func (p *process) restart() {
	p.t.Helper()
	p.launch(append([]string{
		"--listen=" + p.addr["client"], "--peer-listen=" + p.addr["peer"], "--admin-listen=" + p.addr["admin"],
		"--gossip-listen=" + p.addr["gossip"], "--drain-delay=0s", "--log-format=json", "--canary-interval=0s",
	}, p.args...))
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// terminate ends it as an operator would and returns its exit code.
func (p *process) terminate() int {
	p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) url(path string) string   { return "http://" + p.addr["client"] + path }
func (p *process) admin(path string) string { return "http://" + p.addr["admin"] + path }

// environment is ours without anything that would configure a node or send a
// client elsewhere.
func environment(extra ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "MICELIO_"), strings.HasPrefix(name, "STORAGE_"), strings.HasPrefix(name, "S3_"),
			strings.HasPrefix(name, "AWS_"), strings.HasSuffix(strings.ToLower(name), "_proxy"):
		default:
			env = append(env, v)
		}
	}
	return append(env, extra...)
}

// A logWatch reads a node's log and picks out what the tests wait for.
type logWatch struct {
	ready chan struct{} // closed at the line "ready"
	addr  map[string]string

	mu    sync.Mutex // guards the following
	lines bytes.Buffer
}

func (l *logWatch) read(r io.Reader) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		l.mu.Lock()
		l.lines.Write(sc.Bytes())
		l.lines.WriteByte('\n')
		l.mu.Unlock()
		var line struct{ Msg, For, Addr string }
		if json.Unmarshal(sc.Bytes(), &line) != nil {
			continue
		}
		switch line.Msg {
		case "listening":
			l.addr[line.For] = line.Addr
		case "gossiping":
			l.addr["gossip"] = line.Addr
		case "ready":
			close(l.ready)
		}
	}
}

func (l *logWatch) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// startCluster runs n nodes over one local origin and waits until all agree on
// the ring.
func startCluster(t *testing.T, n int, args ...string) []*process {
	t.Helper()
	dir := t.TempDir()
	var nodes []*process
	for i := range n {
		own := append([]string{
			"--name=node-" + strconv.Itoa(i+1), "--data-dir=" + filepath.Join(dir, "node-"+strconv.Itoa(i+1)),
			"--local-path=" + filepath.Join(dir, "origin"),
		}, args...)
		if i > 0 {
			own = append(own, "--join="+nodes[0].addr["gossip"])
		}
		nodes = append(nodes, start(t, own...))
	}
	agree(t, nodes)
	return nodes
}

// agree waits until all nodes show the same epoch with all of them serving.
func agree(t *testing.T, nodes []*process) {
	t.Helper()
	await(t, "one epoch on all nodes", func() bool {
		epochs := map[string]bool{}
		for _, p := range nodes {
			r := p.ring()
			serving := 0
			for _, m := range r.Members {
				if m.State == "serving" {
					serving++
				}
			}
			if serving != len(nodes) {
				return false
			}
			epochs[r.Epoch] = true
		}
		return len(epochs) == 1
	})
}

type ringReport struct {
	Epoch   string
	Members []struct{ ID, State string }
}

func (p *process) ring() (r ringReport) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.get(p.admin("/ring"))), &r); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// get returns the body of a 200.
func (p *process) get(url string) string {
	p.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("GET %s: %s, %v: %.300s", url, resp.Status, err, b)
	}
	return string(b)
}

// metric sums the samples of a metric whose labels contain all of those given.
func (p *process) metric(name string, labels ...string) (sum float64) {
	p.t.Helper()
	for line := range strings.Lines(p.get(p.admin("/metrics"))) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, l := range labels {
			ok = ok && strings.Contains(rest, l)
		}
		if ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
			if err != nil {
				p.t.Fatalf("metric %q: %v", line, err)
			}
			sum += v
		}
	}
	return sum
}

// peakRSS returns the most memory the process has ever had resident, in bytes.
func (p *process) peakRSS() int64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return kib << 10
		}
	}
	p.t.Fatal("no VmHWM in /proc")
	return 0
}

// await polls for a state that is reached by other processes, which no test can
// be told of. It fails only when the test's own time runs out.
func await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	deadline, ok := t.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		if time.Until(deadline) < 5*time.Second {
			t.Fatalf("never reached: %s", what)
		}
		<-tick.C
	}
}

// put stores a body and expects 200.
func (p *process) put(path string, body io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPut, p.url(path), body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT %s: %s: %.300s", path, resp.Status, b)
	}
	return nil
}
