package e2e

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// drillSecret is that of the drills' cluster.
const drillSecret = "a secret of the drills, and of nobody else"

// secretFlags are those of a node with a secret.
func secretFlags(secret string) []string {
	return []string{"--cluster-secret=" + secret}
}

// strangers send what no node sends to the ports that are for nodes, keep
// connections open, ask for objects and write some under another cluster's name,
// and one runs a node of another cluster that joins this one. The nodes go on,
// with the same ring, and no worker notices.
func (d *drills) strangers(t *testing.T) {
	tr, f := d.traffic(t, everyday), d.fleet
	rings, pids := f.epochs(), f.lives()
	end := tr.start()
	defer end()
	before := tr.wait(long(10*time.Second, time.Second))
	from := tr.now()
	others := []*hosted{f.foreigner("another", drillSecret), f.foreigner("micelio", "what somebody took for the secret of the drills")}
	for _, other := range others {
		t.Cleanup(other.kill)
		other.start()
	}
	s := &strangers{t: t, traffic: tr, stop: make(chan struct{}), sent: map[string]int{}}
	gone := sync.OnceFunc(func() { close(s.stop); s.all.Wait() })
	defer gone()
	for i, n := range f.nodes {
		s.annoy(uint64(i), n)
	}
	looking := time.NewTicker(250 * time.Millisecond)
	defer looking.Stop()
	for over := time.Now().Add(long(30*time.Second, 3*time.Second)); time.Now().Before(over); <-looking.C {
		if now := f.epochs(); !slices.Equal(now, rings) {
			t.Fatalf("the rings are %v, and were %v", now, rings)
		}
	}
	gone()
	during := span{from, tr.now()}
	for _, other := range others {
		if r, err := other.ring(); err != nil || slices.ContainsFunc(r.serving(), func(id string) bool { return id != other.name }) {
			t.Errorf("a node of another cluster sees %v serve, %v", r.serving(), err)
		}
		other.kill()
	}
	end()
	if got := f.lives(); !slices.Equal(got, pids) {
		t.Errorf("processes %v, and before %v", got, pids)
	}
	o, was := tr.of(during, anything), tr.of(before, anything)
	t.Logf("before %v", was)
	t.Logf("during %v; p99 is %.1f times that before", o, o.ratio(was))
	t.Logf("strangers sent %v", s.sent)
	tr.report()
	if o.lost > 0 {
		t.Errorf("%d operations failed twice", o.lost)
	}
}

// lives returns the processes of the nodes, 0 for those that have ended.
func (f *fleet) lives() (pids []int) {
	for _, n := range f.nodes {
		pid := n.cmd.Process.Pid
		select {
		case <-n.done:
			pid = 0
		default:
		}
		pids = append(pids, pid)
	}
	return pids
}

// epochs returns the ring of each node: its epoch and who serves.
func (f *fleet) epochs() (rings []string) {
	f.t.Helper()
	for _, n := range f.nodes {
		r, err := n.ring()
		if err != nil {
			f.t.Errorf("%s: %v", n.name, err)
		}
		rings = append(rings, r.Epoch+" "+strings.Join(r.serving(), " "))
	}
	return rings
}

// foreigner is a node of another cluster, or with another secret, on a host of its
// own, that was told to join this one.
func (f *fleet) foreigner(cluster, secret string) *hosted {
	host := f.net.addHost()
	name := "foreigner-" + cluster
	n := &hosted{fleet: &fleet{t: f.t, net: f.net, kept: f.kept, client: f.client}, host: host, name: name, data: filepath.Join(f.kept, name)}
	var seeds []string
	for i := range f.nodes {
		seeds = append(seeds, f.net.addr(i, gossipPort))
	}
	n.args = append([]string{
		"--name=" + n.name, "--data-dir=" + n.data, "--cluster=" + cluster, "--join=" + strings.Join(seeds, ","), "--allow-anonymous", "--log-format=json",
		"--listen=" + f.net.addr(host, clientPort), "--peer-listen=" + f.net.addr(host, peerPort),
		"--admin-listen=" + f.net.addr(host, adminPort), "--gossip-listen=" + f.net.addr(host, gossipPort),
	}, secretFlags(secret)...)
	f.t.Cleanup(func() { os.RemoveAll(n.data) })
	return n
}

// strangers are those who have no business here.
type strangers struct {
	t       *testing.T
	traffic *traffic
	stop    chan struct{}
	all     sync.WaitGroup

	mu   sync.Mutex // guards the following
	sent map[string]int
}

// strangerPace is between two attempts of one stranger.
const strangerPace = 10 * time.Millisecond

// annoy begins to send a node all kinds of things.
func (s *strangers) annoy(seed uint64, n *hosted) {
	gossip, peers := n.fleet.net.addr(n.host, gossipPort), n.fleet.net.addr(n.host, peerPort)
	kinds := map[string]func(r *rand.Rand){
		"packets to gossip":      func(r *rand.Rand) { s.deliver("udp", gossip, junk(r, 1400), false) },
		"connections to gossip":  func(r *rand.Rand) { s.deliver("tcp", gossip, junk(r, 20_000), r.IntN(3) == 0) },
		"connections to peers":   func(r *rand.Rand) { s.deliver("tcp", peers, junk(r, 20_000), r.IntN(3) == 0) },
		"requests of no cluster": func(r *rand.Rand) { s.request(r, peers, "") },
		"requests of another":    func(r *rand.Rand) { s.request(r, peers, "another") },

		"requests without the secret": func(r *rand.Rand) { s.request(r, peers, "micelio") },
	}
	for i, do := range kinds {
		r := rand.New(rand.NewPCG(seed, uint64(len(i))))
		s.all.Go(func() {
			tick := time.NewTicker(strangerPace)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-s.stop:
					return
				}
				do(r)
				s.mu.Lock()
				s.sent[i]++
				s.mu.Unlock()
			}
		})
	}
}

// junk is random bytes, some of which begin like a message of the gossip or like a
// request.
func junk(r *rand.Rand, most int) []byte {
	b := randomBytes(r.Uint64(), 1+r.IntN(most))
	switch r.IntN(4) {
	case 0:
		b[0] = byte(r.IntN(16)) // the types of memberlist's messages are small numbers
	case 1:
		b[0] = 244 // that of one with a label
	case 2:
		head := fmt.Sprintf("PUT /o/sessions/1/state HTTP/1.1\r\nHost: x\r\nMicelio-Hop: 1\r\nContent-Length: %d\r\n\r\n", 2*len(b))
		b = append([]byte(head), b...)
	}
	return b
}

// deliver sends bytes and leaves, or stays until the end without another word.
func (s *strangers) deliver(network, to string, b []byte, stay bool) {
	conn, err := net.DialTimeout(network, to, time.Second)
	if err != nil {
		s.t.Errorf("%s: %v", to, err)
		return
	}
	_, _ = conn.Write(b) // a node may hang up at the first byte
	if !stay {
		conn.Close()
		return
	}
	s.all.Go(func() { <-s.stop; conn.Close() })
}

// request asks a node for what only its cluster may: nothing of that is done.
func (s *strangers) request(r *rand.Rand, to, cluster string) {
	s.traffic.mu.Lock()
	key := s.traffic.items[r.IntN(len(s.traffic.items))].key
	s.traffic.mu.Unlock()
	if r.IntN(2) == 0 {
		key = s.traffic.keyOf(r.IntN(s.traffic.workers), r.IntN(ownKeys))
	}
	method, body := []string{"GET", "HEAD", "PUT", "DELETE"}[r.IntN(4)], ""
	if method == "PUT" {
		body = "of a stranger"
	}
	head := fmt.Sprintf("%s /o/%s HTTP/1.1\r\nHost: x\r\nMicelio-Hop: 1\r\nContent-Length: %d\r\n", method, escape(key), len(body))
	if cluster != "" {
		head += "Micelio-Cluster: " + cluster + "\r\nMicelio-From: node-1\r\n"
	}
	conn, err := net.DialTimeout("tcp", to, time.Second)
	if err != nil {
		s.t.Errorf("%s: %v", to, err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(trafficPatience))
	if _, err := conn.Write([]byte(head + "\r\n" + body)); err != nil {
		return // it has hung up
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return // without an answer
	}
	resp.Body.Close()
	if resp.StatusCode < 400 {
		s.t.Errorf("%s %s of cluster %q: %s", method, key, cluster, resp.Status)
	}
}
