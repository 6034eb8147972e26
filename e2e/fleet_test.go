package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/micelio/micelio/origin/s3test"
)

// The ports of every host of a fleet.
const (
	clientPort = 8080
	peerPort   = 8081
	adminPort  = 8082
	gossipPort = 7946
	originPort = 7070

	// servicePort is the S3 service's own, behind the proxy at originPort.
	servicePort = 7071
)

// A fleet is a cluster whose nodes run on hosts of a network of their own, and
// can be hurt.
type fleet struct {
	t      *testing.T
	net    *network
	nodes  []*hosted
	origin *s3test.Server // on the host behind the nodes'; nil over a directory
	front  *oneByOne      // before the origin; nil over a directory
	kept   string         // folder of what a failure leaves behind
	client *http.Client   // for questions about the nodes
}

// A hosted node is a process on a host of its own.
type hosted struct {
	fleet *fleet
	host  int
	name  string
	args  []string
	data  string // folder

	cmd  *exec.Cmd     // its present life
	done chan struct{} // closed when that has ended
	left bool          // it was drained, and is not meant to be in the ring
}

// startFleet runs some nodes over an S3 service or a shared directory. Their logs
// go to the folder kept.
func startFleet(t *testing.T, nodes int, overS3 bool, kept string, args ...string) *fleet {
	t.Helper()
	f := prepareFleet(t, nodes, overS3, kept, args...)
	f.startAll(f.nodes)
	return f
}

// prepareFleet is startFleet that starts no node yet.
func prepareFleet(t *testing.T, nodes int, overS3 bool, kept string, args ...string) *fleet {
	t.Helper()
	hosts := nodes
	if overS3 {
		hosts++
	}
	f := &fleet{t: t, net: startNetwork(t, hosts), kept: kept, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
	t.Cleanup(f.client.CloseIdleConnections)
	dir := t.TempDir()
	if overS3 {
		f.origin = s3test.VersityGW(t, s3test.At(f.net.addr(nodes, servicePort), f.net.command(nodes)...))
		f.front = startOneByOne(t, f.net.listen(nodes, originPort), f.net.addr(nodes, servicePort))
		args = slices.Concat(args, over(f.origin, "http://"+f.net.addr(nodes, originPort)), []string{"--s3-allow-http", "--s3-part-size=5MiB"})
	} else {
		args = append(args, "--local-path="+filepath.Join(dir, "origin"), "--bucket=micelio")
	}
	var seeds string
	for i := range nodes {
		seeds += "," + f.net.addr(i, gossipPort)
	}
	for i := range nodes {
		n := &hosted{fleet: f, host: i, name: "node-" + strconv.Itoa(i+1), data: filepath.Join(dir, "node-"+strconv.Itoa(i+1))}
		n.args = append([]string{
			"--name=" + n.name, "--data-dir=" + n.data, "--join=" + seeds[1:], "--allow-anonymous", "--log-format=json", "--drain-delay=1s",
			"--listen=" + f.net.addr(i, clientPort), "--peer-listen=" + f.net.addr(i, peerPort),
			"--admin-listen=" + f.net.addr(i, adminPort), "--gossip-listen=" + f.net.addr(i, gossipPort),
		}, args...)
		f.nodes = append(f.nodes, n)
		t.Cleanup(n.kill)
	}
	return f
}

// startAll starts some nodes and waits until they and all who were there before
// agree on the ring.
func (f *fleet) startAll(nodes []*hosted) {
	f.t.Helper()
	for _, n := range nodes {
		n.start()
	}
	for _, n := range nodes {
		n.awaitReady()
	}
	f.awaitAgreement(settleWithin)
}

// start begins a life of the node, and does not wait until it is ready.
func (n *hosted) start() {
	t := n.fleet.t
	t.Helper()
	log, err := os.OpenFile(filepath.Join(n.fleet.kept, n.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	words := slices.Concat(n.fleet.net.command(n.host), []string{binary}, n.args)
	cmd, done := exec.Command(words[0], words[1:]...), make(chan struct{})
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.cmd, n.done, n.left = cmd, done, false
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is asked where it matters
	}()
}

// awaitReady waits until the node is ready, and fails the test if it ends first.
func (n *hosted) awaitReady() {
	n.fleet.t.Helper()
	await(n.fleet.t, n.name+" is ready", func() bool {
		select {
		case <-n.done:
			n.fleet.t.Fatalf("%s ended before it was ready: %v; its log is in %s", n.name, n.cmd.ProcessState, n.fleet.kept)
		default:
		}
		_, err := n.ask("/readyz", time.Second)
		return err == nil
	})
}

// kill ends the node as a crash would, also if it stands still.
func (n *hosted) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill() // it may have ended by itself
		<-n.done
	}
}

func (n *hosted) signal(s syscall.Signal) {
	n.fleet.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.fleet.t.Fatalf("%v to %s: %v", s, n.name, err)
	}
}

// drain ends the node as an operator would.
func (n *hosted) drain() {
	n.fleet.t.Helper()
	n.signal(syscall.SIGTERM)
	<-n.done
	n.left = true
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		n.fleet.t.Errorf("%s ended with %d after SIGTERM", n.name, code)
	}
}

// wipe removes the copies that the node keeps on its disk.
func (n *hosted) wipe() {
	n.fleet.t.Helper()
	if err := os.RemoveAll(filepath.Join(n.data, "cache")); err != nil {
		n.fleet.t.Fatal(err)
	}
}

func (n *hosted) url(key string) string {
	return "http://" + n.fleet.net.addr(n.host, clientPort) + escape("/micelio/"+key)
}

var errStatus = errors.New("unexpected status")

// ask returns the body of a page of the node's admin listener.
func (n *hosted) ask(path string, within time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.fleet.net.addr(n.host, adminPort)+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := n.fleet.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s", errStatus, resp.Status)
	}
	return body, err
}

// settleWithin is how long the nodes may take to agree on the ring again,
// whatever happened.
const settleWithin = 20 * time.Second

// members are the nodes that are meant to be in the ring.
func (f *fleet) members() (nodes []*hosted) {
	for _, n := range f.nodes {
		if n.cmd != nil && !n.left {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// awaitAgreement waits until all members show one ring with all of them in it.
func (f *fleet) awaitAgreement(within time.Duration) {
	f.t.Helper()
	if err := eventually(within, f.agreed); err != nil {
		f.t.Errorf("the nodes do not agree on the ring after %v: %v", within, err)
	}
}

func (f *fleet) agreed() error {
	epochs, members := map[string]string{}, f.members()
	for _, n := range members {
		r, err := n.ring()
		if err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if serving := r.serving(); len(serving) != len(members) {
			return fmt.Errorf("%s sees %v serve", n.name, serving)
		}
		epochs[r.Epoch] = n.name
	}
	if len(epochs) > 1 {
		return fmt.Errorf("epochs differ: %v", epochs)
	}
	return nil
}

// ring returns the ring as the node sees it.
func (n *hosted) ring() (r ringReport, err error) {
	body, err := n.ask("/ring", time.Second)
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	return r, err
}

// serving returns who serves.
func (r *ringReport) serving() (ids []string) {
	for _, m := range r.Members {
		if m.State == "serving" {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// eventually calls reached until it returns nil, which it must within a time,
// and returns its last error otherwise.
func eventually(within time.Duration, reached func() error) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := reached()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return err
		case <-again.C:
		}
	}
}
