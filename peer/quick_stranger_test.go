package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

func TestStrangersGetNoLane(t *testing.T) {
	for name, c := range strangers() {
		t.Run(name, func(t *testing.T) {
			var asked, refused atomic.Int32
			s := NewQuickServer(hotFunc(func(object.Key, *object.Info) ([]byte, bool) {
				asked.Add(1)
				return nil, false
			}))
			t.Cleanup(s.Close)
			addr := serve(t, NewHandler(untouchable{}, HandlerConfig{
				Cluster: testConfig.Cluster, Secrets: [][]byte{ourSecret}, Quick: s, Refused: func(code string) {
					if code == c.code {
						refused.Add(1)
					}
				},
			}))
			stranger := poolOf(t, c.cfg).Client(addr)
			if _, err := stranger.openQuick(t.Context()); !errors.Is(err, object.ErrUnavailable) {
				t.Errorf("a lane for a stranger: %v", err)
			}
			if n := refused.Load(); n != 1 || asked.Load() != 0 || len(s.conns) != 0 {
				t.Errorf("%d refused, %d asked, %d lanes", n, asked.Load(), len(s.conns))
			}
		})
	}
}

// Whoever answers must prove that it is of the cluster before it is spoken to.
func TestALaneToAStrangerIsNone(t *testing.T) {
	var heard atomic.Int64
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+quickProtocol+
			"\r\nMicelio-Cluster: the%20cluster\r\nMicelio-From: owner\r\nMicelio-Quick: "+strings.Repeat("0", 32)+"\r\n\r\n")
		n, _ := io.Copy(io.Discard, rw)
		heard.Add(n)
	}))
	c := poolOf(t, secretly(ourSecret)).Client(addr)
	if _, err := c.openQuick(t.Context()); !errors.Is(err, errStranger) {
		t.Errorf("it was believed: %v", err)
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("%d bytes were told to it", n)
	}
}

// laneOf opens a lane of which the test has the connection.
func laneOf(t *testing.T, hot AtOnceReader, secrets ...[]byte) (lane *quickLane, served *QuickServer, refused *atomic.Int32) {
	t.Helper()
	refused = new(atomic.Int32)
	s := NewQuickServer(hot)
	t.Cleanup(s.Close)
	addr := serve(t, NewHandler(untouchable{}, HandlerConfig{
		Node: "owner", Cluster: testConfig.Cluster, Secrets: secrets, Quick: s, Refused: func(code string) {
			if code == badRequest.code {
				refused.Add(1)
			}
		},
	}))
	l, err := poolOf(t, secretly(secrets...)).Client(addr).openQuick(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.conn.Close() })
	return l, s, refused
}

// asking returns a record of asks.
func asking(key *laneKey, keys ...object.Key) []byte {
	w := recordWriter{key: key, open: -1}
	for id, k := range keys {
		ask := appendAsk(nil, uint32(id), k)
		copy(w.frame(len(ask)), ask)
	}
	return w.bytes()
}

func TestWhatIsNoRequestEndsTheLane(t *testing.T) {
	head := func(n uint32, rest string) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, n), rest...)
	}
	for name, junk := range map[string][]byte{
		"an empty record":         head(0, ""),
		"an endless record":       head(recordLimit+1, ""),
		"an immense record":       head(1<<32-1, ""),
		"HTTP":                    []byte("GET / HTTP/1.1\r\n\r\n"),
		"no frame":                head(1, "\x00"),
		"an unknown frame":        head(1, "\x05"),
		"an answer":               head(absentSize, string(rune(frameAbsent))+"\x00\x00\x00\x00"),
		"a cut frame":             head(3, "\x01\x00\x00"),
		"an ask for nothing":      head(askHead, "\x01\x00\x00\x00\x00\x00\x00"),
		"an ask beyond its end":   head(askHead+1, "\x01\x00\x00\x00\x00\x02\x00k"),
		"an ask for a long key":   asking(nil, object.Key(strings.Repeat("k", object.MaxKeyLen+1))),
		"something behind an ask": head(askHead+2, "\x01\x00\x00\x00\x00\x01\x00k\x09"),
	} {
		t.Run(name, func(t *testing.T) {
			l, s, refused := laneOf(t, oneKey())
			if _, err := l.conn.Write(junk); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, l.conn) // until the server hangs up
			for refused.Load() == 0 {
				runtime.Gosched()
			}
			s.Close()
		})
	}
}

// With a secret every bit, and the place of every record, is proven.
func TestWhatWasChangedOnTheWayEndsTheLane(t *testing.T) {
	for name, change := range map[string]func(l *quickLane) []byte{
		"a bit": func(l *quickLane) []byte {
			b := asking(l.out.key, "key")
			b[len(b)/2] ^= 1
			return b
		},
		"the length": func(l *quickLane) []byte {
			b := append(asking(l.out.key, "key"), 0)
			b[0]++
			return b
		},
		"sent twice": func(l *quickLane) []byte {
			b := asking(l.out.key, "key")
			return append(b, b...)
		},
		"one left out": func(l *quickLane) []byte {
			asking(l.out.key, "key")
			return asking(l.out.key, "key")
		},
		"not sealed":  func(l *quickLane) []byte { return asking(nil, "key", "another key") },
		"sent back":   func(l *quickLane) []byte { return asking(l.in.key, "key") },
		"from a lane": func(l *quickLane) []byte { return asking(otherLaneKey(l), "key") },
	} {
		t.Run(name, func(t *testing.T) {
			l, _, refused := laneOf(t, oneKey(), ourSecret)
			if _, err := l.conn.Write(change(l)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, l.conn)
			for refused.Load() == 0 {
				runtime.Gosched()
			}
		})
	}
}

// otherLaneKey is the key of another lane between the same two.
func otherLaneKey(l *quickLane) *laneKey {
	key, err := l.set.of.pool.keys[0].laneKey(newLaneNonce(), newLaneNonce(), toServer)
	if err != nil {
		panic(err)
	}
	return key
}

func TestASealedLaneHidesWhatItCarries(t *testing.T) {
	l, _, _ := laneOf(t, oneKey(), ourSecret)
	ask := asking(l.out.key, "key")
	if bytes.Contains(ask, []byte("key")) {
		t.Error("the key is to be read")
	}
	if _, err := l.conn.Write(ask); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1<<10)
	n, err := l.conn.Read(answer)
	if err != nil || n < 100 || bytes.Contains(answer[:n], []byte("keykey")) {
		t.Errorf("%d bytes, %v: %q", n, err, answer[:n])
	}
}

// A peer that answers what nobody asked is not listened to any more.
func TestAnAnswerThatNobodyAskedForEndsTheLane(t *testing.T) {
	for name, say := range map[string]func(w *recordWriter){
		"an id that is not there": func(w *recordWriter) { w.absent(5) },
		"an id that is too large": func(w *recordWriter) { w.absent(1 << 31) },
		"a question":              func(w *recordWriter) { copy(w.frame(askHead+1), appendAsk(nil, 0, "k")) },
		"no description":          func(w *recordWriter) { w.have(1<<16, nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			c := poolOf(t, testConfig).Client("owner:1")
			l := newQuickLane(c.quick, a, "owner", nil, nil)
			lanes := []*quickLane{l}
			c.quick.lanes.Store(&lanes)
			c.quick.all.Go(l.write)
			c.quick.all.Go(func() { l.end(l.read()) })
			go func() {
				defer b.Close()
				_, _ = b.Read(make([]byte, 1<<10))
				w := recordWriter{open: -1}
				say(&w)
				_, _ = b.Write(w.bytes())
				_, _ = b.Read(make([]byte, 1)) // until the other side has ended
			}()
			var into Answer
			if c.Quick("key", &into) {
				t.Error("it was believed")
			}
			<-l.done
		})
	}
}

func FuzzQuickRecord(f *testing.F) {
	have := recordWriter{open: -1}
	have.have(1<<16, []byte("description"), []byte("body"))
	have.absent(2)
	have.epoch(7)
	f.Add(have.bytes())
	f.Add(asking(nil, "key", "another key"))
	f.Add([]byte{1, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		// However it arrives, what is read is the same, and says what was there.
		whole := framesOf(bytes.NewReader(b))
		pieces := framesOf(&oneByte{b})
		if diff := cmp.Diff(whole, pieces, cmp.AllowUnexported(frame{})); diff != "" {
			t.Fatalf("in pieces:\n%s", diff)
		}
		w := recordWriter{open: -1}
		for _, f := range whole {
			switch f.kind {
			case frameAsk:
				ask := appendAsk(nil, f.id, object.Key(f.key))
				copy(w.frame(len(ask)), ask)
			case frameHave:
				w.have(f.id, f.info, f.body)
			case frameAbsent:
				w.absent(f.id)
			case frameEpoch:
				w.epoch(f.epoch)
			}
		}
		again := framesOf(bytes.NewReader(w.bytes()))
		if diff := cmp.Diff(whole, again, cmp.AllowUnexported(frame{})); diff != "" {
			t.Fatalf("written again:\n%s", diff)
		}
	})
}

// framesOf reads frames until something is wrong.
func framesOf(from io.Reader) (all []frame) {
	r := newRecordReader(from, nil)
	for {
		record, err := r.next()
		if err != nil {
			return all
		}
		if record == nil {
			if r.fill() != nil {
				return all
			}
			continue
		}
		record = bytes.Clone(record)
		for len(record) > 0 {
			f, rest, err := cutFrame(record)
			if err != nil {
				return all
			}
			all, record = append(all, f), rest
		}
	}
}

// oneByte is a reader of one byte at a time.
type oneByte struct{ rest []byte }

func (o *oneByte) Read(p []byte) (int, error) {
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1)], o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

func FuzzQuickInfo(f *testing.F) {
	full := fullInfo()
	seed, _ := appendQuickInfo(nil, &full)
	f.Add(string(seed))
	f.Add("\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	f.Fuzz(func(t *testing.T, s string) {
		var info, again object.Info
		if decodeQuickInfo(s, &info) != nil {
			return
		}
		b, ok := appendQuickInfo(nil, &info)
		if !ok && len(s) <= quickInfoLimit {
			t.Fatalf("%q cannot be written again", s)
		}
		if !ok {
			return
		}
		if err := decodeQuickInfo(string(b), &again); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if diff := cmp.Diff(info, again); diff != "" {
			t.Fatalf("%q:\n%s", s, diff)
		}
	})
}

func TestAQuickInfoSurvivesTheWire(t *testing.T) {
	for _, want := range []object.Info{
		fullInfo(), {}, {Modified: time.Unix(0, 0).UTC()}, {Modified: time.Unix(-5, 1).UTC()}, {Modified: time.Unix(1<<40, 999_999_999).UTC()},
	} {
		b, ok := appendQuickInfo(nil, &want)
		got := object.Info{Key: want.Key, Size: want.Size, Node: want.Node} // which the lane knows
		if err := decodeQuickInfo(string(b), &got); err != nil || !ok {
			t.Errorf("%+v: %v, %v", want, ok, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for n := range b {
			if decodeQuickInfo(string(b[:n]), new(object.Info)) == nil && n < len(b) && len(want.User) == 0 {
				t.Errorf("%d of %d bytes are taken for all", n, len(b))
			}
		}
	}
}
