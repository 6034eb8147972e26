package ring

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever asks for a comparison of tables waits for a few members at most,
// however many there are and however ill.
func TestSyncTriesAFewMembersOnly(t *testing.T) {
	r, err := Open(quickConfig("n1"))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	var answering sync.WaitGroup
	t.Cleanup(answering.Wait) // after the listeners are closed
	for i := range 4 * seedFanout {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		answering.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				asked.Add(1)
				_ = conn.Close() // without an answer
			}
		})
		t.Cleanup(func() { _ = l.Close() })
		m := Member{ID: fmt.Sprint("ill-", i), Boot: 1, State: Serving, PeerAddr: l.Addr().String()}
		r.roster.put(m.gossipName(), peer{Member: m, gossip: l.Addr().String()}, time.Now())
	}
	r.Sync(t.Context())
	if got := asked.Load(); got != seedFanout {
		t.Errorf("%d members were asked, want %d", got, seedFanout)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
