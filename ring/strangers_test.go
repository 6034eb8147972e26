package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// junk returns something that no member sends. Part of it begins as gossip of
// the cluster does, or as what the library's own messages look like.
func junk(rng *rand.Rand, label []byte, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	switch rng.IntN(5) {
	case 0:
		copy(b, label)
	case 1: // encrypted, of either version
		copy(b, append(bytes.Clone(label), byte(rng.IntN(2))))
	case 2: // a message in the open
		copy(b, append(bytes.Clone(label), byte(rng.IntN(20))))
	case 3: // a label that is cut short
		copy(b, label[:min(2, len(label))])
	}
	return b
}

// besiege lets strangers do to a node all they can think of.
func besiege(t *testing.T, addr string, label []byte, rng *rand.Rand) {
	t.Helper()
	udp, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for range 3000 {
		size := rng.IntN(1400)
		if rng.IntN(20) == 0 {
			size = rng.IntN(65000)
		}
		_, _ = udp.Write(junk(rng, label, size)) // lost or not, it is junk
	}
	for range 60 {
		say(t, addr, junk(rng, label, 1+rng.IntN(4096)))
	}
	// Messages that announce more than anybody may send, and go on and on.
	for _, size := range []uint32{1 << 31, 20 << 20, 1 << 20} {
		endless := append(bytes.Clone(label), 10) // the type of an encrypted message
		endless = binary.BigEndian.AppendUint32(endless, size)
		say(t, addr, append(endless, make([]byte, 4*maxStreamBytes)...))
	}
}

// say writes to a node's stream port and waits until it hangs up.
func say(t *testing.T, addr string, b []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_, _ = conn.Write(b) // it may have hung up by then
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

// A foreignNode is one of the gossip library's own that wants to join.
func foreignNode(t *testing.T, addr, name, label string, key []byte) {
	t.Helper()
	conf := memberlist.DefaultLocalConfig()
	conf.Name, conf.Label, conf.SecretKey = name, label, key
	conf.BindAddr, conf.BindPort, conf.LogOutput = "127.0.0.1", 0, io.Discard
	conf.TCPTimeout = quick.StreamTimeout
	m := Member{ID: strings.Split(name, "/")[0], Boot: 7, State: Serving, PeerAddr: "127.0.0.1:1"}
	conf.Delegate = &stranger{meta: mustEncode(t, m)}
	s, err := memberlist.Create(conf)
	if err != nil {
		t.Error(err)
		return
	}
	if n, err := s.Join([]string{addr}); err == nil {
		t.Errorf("%s with label %q joined %d nodes", name, label, n)
	}
	// It goes on with what it may have heard: a member's name to accuse.
	_ = s.Leave(time.Second)
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
}

// Nothing that strangers do to the gossip ports of a cluster changes its view,
// its memory, or whether a member that comes finds it.
func TestStrangersChangeNothing(t *testing.T) {
	log := newRecords()
	var rings []*Ring
	join := func(id string) *Ring {
		cfg := withSecrets(id, [][]byte{secretA})
		cfg.Timing = Timing{StreamTimeout: quick.StreamTimeout} // so that nobody is suspected only because this machine is slow
		if len(rings) == 0 {
			cfg.Log = slog.New(log)
		} else {
			cfg.Seeds = []string{rings[0].Addr()}
		}
		r := start(t, cfg)
		rings = append(rings, r)
		return r
	}
	first := join("n1")
	join("n2")
	join("n3")
	cfg := withSecrets("", [][]byte{secretA})
	var views []*View
	for _, r := range rings {
		views = append(views, await(t, r, "three members", func(v *View) bool { return len(v.owners) == 3 }))
	}
	label, err := memberlist.AddLabelHeaderToPacket(nil, cfg.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()

	var strangers sync.WaitGroup
	for i, r := range rings {
		strangers.Go(func() { besiege(t, r.Addr(), label, rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	strangers.Go(func() { foreignNode(t, first.Addr(), "stranger/7", "test", nil) })
	strangers.Go(func() { foreignNode(t, first.Addr(), "n2/7", "test", bytes.Repeat([]byte{1}, 32)) })
	strangers.Go(func() { foreignNode(t, first.Addr(), "n3/7", "other", gossipKey(t, cfg)) })
	strangers.Wait()

	if after := heap(); after > before+8<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	for i, r := range rings {
		if r.View() != views[i] {
			t.Errorf("%s made another view: %+v", r.Self().ID, r.View().Members())
		}
	}
	counted := map[string]uint64{}
	for _, refused := range first.Refusals() {
		counted[refused.Reason] = refused.Count
	}
	for _, reason := range []string{refusedName, refusedSecret, refusedMalformed, refusedLimit} {
		if counted[reason] == 0 {
			t.Errorf("nobody was refused for %s: %v", reason, counted)
		}
	}
	// The siege takes less than twice refusalLogEvery, and has a few reasons.
	if lines := log.count("WARN"); lines > 4*len(remedies) {
		t.Errorf("%d warnings", lines)
	}
	join("n4")
	for _, r := range rings {
		await(t, r, "the fourth member", func(v *View) bool { return len(v.owners) == 4 })
	}
}

// Connections that say nothing cannot take all places from a member, not even
// from its own address.
func TestIdleConnectionsOfAStrangerAreFew(t *testing.T) {
	first := start(t, withSecrets("n1", [][]byte{secretA}))
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range 3 * maxStreamsFrom {
		c, err := net.Dial("tcp", first.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	// Those that are too many are closed at once, the others after a while.
	for _, c := range conns {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
	}
	limited := first.Refusals()[refusalIndex(t, refusedLimit)]
	if limited.Count < maxStreamsFrom {
		t.Errorf("only %d of %d connections were too many", limited.Count, len(conns))
	}
	second := start(t, withSecrets("n2", [][]byte{secretA}, first.Addr()))
	await(t, second, "two members", func(v *View) bool { return len(v.owners) == 2 })
}

// What the library says of those it refuses must be understood, or it floods the
// log. These are its words as of the version that is used.
func TestRefusalsAreFoundInTheLog(t *testing.T) {
	for line, want := range map[string]string{
		`discarding packet with unacceptable label "x": from=10.0.0.1:1`:                                             refusedName,
		`discarding stream with unacceptable label "": from=10.0.0.1:1`:                                              refusedMalformed,
		`Decrypt packet failed: no installed keys could decrypt the message from=10.0.0.1:1`:                         refusedSecret,
		`failed to receive: encryption is configured but remote state is not encrypted from=10.0.0.1:1`:              refusedSecret,
		`failed to receive: remote state is encrypted and encryption is not configured from=10.0.0.1:1`:              refusedSecret,
		`failed to receive: remote node state is larger than limit (2147483648) from=10.0.0.1:1`:                     refusedLimit,
		`failed to receive: ` + streamTooLong + ` from=10.0.0.1:1`:                                                   refusedLimit,
		`failed to receive: read tcp 10.0.0.2:7->10.0.0.1:1: i/o timeout from=10.0.0.1:1`:                            refusedStalled,
		`failed to receive and remove the stream label header: cannot decode label; stream has been truncated from=`: refusedMalformed,
		`msg type (77) not supported from=10.0.0.1:1`:                                                                refusedMalformed,
		`Push/Pull with n1/1 failed: dial tcp 10.0.0.1:1: i/o timeout`:                                               "",
		`Suspect n1/1 has failed, no acks received`:                                                                  "",
		`Refuting a suspect message (from: n2/1)`:                                                                    "",
	} {
		if got, refused := refusalIn(line); got != want || refused != (want != "") {
			t.Errorf("%q: %q, %v; want %q", line, got, refused, want)
		}
	}
	if from := sender("msg type (77) not supported from=10.0.0.1:1"); from != "10.0.0.1:1" {
		t.Errorf("from %q", from)
	}
}

// The library passes on the words of an error only, of both sides.
func TestARefusedJoinIsUnderstood(t *testing.T) {
	for said, want := range map[string]struct {
		reason string
		counts bool // here; the comparing of tables has counted it otherwise
	}{
		"failed to join 10.0.0.1:1: refused node \"b/1\" at 10.0.0.1:1: " + errParameters.Error() + ": 1, this node has 2": {refusedParameters, false},
		"failed to join 10.0.0.1:1: refused node \"b/1\" at 10.0.0.1:1: " + errVersion.Error() + ": 9":                     {refusedVersion, false},
		"failed to join 10.0.0.1:1: refused node \"b/1\" at 10.0.0.1:1: " + errMetadata.Error():                            {refusedMetadata, false},
		"failed to join 10.0.0.1:1: remote error: encryption is configured but remote state is not encrypted":              {refusedSecret, true},
		"failed to join 10.0.0.1:1: no installed keys could decrypt the message":                                           {refusedSecret, true},
		"failed to join 10.0.0.1:1: EOF":                                              {refusedUnanswered, true},
		"failed to join 10.0.0.1:1: dial tcp 10.0.0.1:1: connect: connection refused": {"", false},
		"failed to join 10.0.0.1:1: read tcp 10.0.0.2:1->10.0.0.1:1: i/o timeout":     {"", false},
	} {
		r := &Ring{refused: newRefusals(slog.New(slog.DiscardHandler))}
		r.noteRefusal("10.0.0.1:1", errors.New(said))
		if by := r.RefusedBy(); by.Reason != want.reason || (by.Count > 0) != (want.reason != "") {
			t.Errorf("%q: refused by %+v", said, by)
		}
		counted := uint64(0)
		for _, one := range r.Refusals() {
			counted += one.Count
		}
		if (counted == 1) != want.counts || counted > 1 {
			t.Errorf("%q: counted %d times", said, counted)
		}
	}
}

// count returns how many lines contain the words.
func (h *records) count(words string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, line := range h.lines {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}

func gossipKey(t *testing.T, cfg Config) []byte {
	t.Helper()
	ring, err := cfg.keyring()
	if err != nil {
		t.Fatal(err)
	}
	return ring.GetPrimaryKey()
}

func refusalIndex(t *testing.T, reason string) int {
	t.Helper()
	for i, r := range remedies {
		if r.reason == reason {
			return i
		}
	}
	t.Fatal(fmt.Errorf("no reason %q", reason))
	return 0
}

// heap returns the bytes in use, garbage apart.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held over
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
