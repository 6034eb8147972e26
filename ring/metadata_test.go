package ring

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"
)

var someMember = Member{
	ID: "node-1.rack_2", Boot: 1764000000000000001, State: Serving, Weight: 3,
	PeerAddr: "10.0.0.1:8081", DataAddr: "cache.example:8080", AdminAddr: "[fd00::1]:8082",
}

func mustEncode(t testing.TB, m Member) []byte {
	t.Helper()
	buf, err := encodeMetadata(m)
	if err != nil {
		t.Fatal(err)
	}
	return buf
}

func TestMetadataComeBackAsTheyWere(t *testing.T) {
	bare := Member{ID: "a", PeerAddr: "h:1", State: Draining}
	for _, m := range []Member{someMember, bare} {
		got, err := decodeMetadata(mustEncode(t, m))
		if err != nil || got != m {
			t.Errorf("got %+v, %v\nwant %+v", got, err, m)
		}
	}
}

func TestMetadataThatDoNotFitAreRefused(t *testing.T) {
	for _, n := range []int{200, 254, 255, 300} {
		m := someMember
		m.PeerAddr = strings.Repeat("h", n) + ":1"
		if buf, err := encodeMetadata(m); err == nil {
			t.Errorf("an address of %d bytes: %d bytes of metadata, no error", len(m.PeerAddr), len(buf))
		}
	}
}

// The longest id leaves room for addresses of the length that maxIDLen says, and
// not for a byte more.
func TestTheLongestIDLeavesRoomForAddresses(t *testing.T) {
	const most = 53
	address := func(n int) string { return strings.Repeat("h", n-len(":65535")) + ":65535" }
	m := Member{ID: strings.Repeat("i", maxIDLen), PeerAddr: address(most), DataAddr: address(most), AdminAddr: address(most)}
	if got, err := decodeMetadata(mustEncode(t, m)); err != nil || got != m {
		t.Errorf("got %+v, %v\nwant %+v", got, err, m)
	}
	m.PeerAddr, m.DataAddr, m.AdminAddr = address(most+1), address(most+1), address(most+1)
	if buf, err := encodeMetadata(m); err == nil {
		t.Errorf("three addresses of %d bytes: %d bytes of metadata, no error", most+1, len(buf))
	}
}

func TestForeignMetadataAreRefusedForTheirReason(t *testing.T) {
	edit := func(f func(b []byte) []byte) []byte { return f(mustEncode(t, someMember)) }
	for name, c := range map[string]struct {
		buf  []byte
		want error
	}{
		"nothing":          {nil, errMetadata},
		"another version":  {edit(func(b []byte) []byte { b[0]++; return b }), errVersion},
		"version alone":    {[]byte{metadataVersion + 1}, errVersion},
		"other parameters": {edit(func(b []byte) []byte { b[10] ^= 1; return b }), errParameters},
		"no known weight":  {edit(func(b []byte) []byte { b[26] = MaxWeight + 1; return b }), errMetadata},
		"unknown state":    {edit(func(b []byte) []byte { b[1] = 77; return b }), errMetadata},
		"cut short":        {edit(func(b []byte) []byte { return b[:len(b)-1] }), errMetadata},
		"fixed part only":  {edit(func(b []byte) []byte { return b[:metadataFixed] }), errMetadata},
		"fixed part short": {edit(func(b []byte) []byte { return b[:metadataFixed-1] }), errMetadata},
		"left over":        {edit(func(b []byte) []byte { return append(b, 0) }), errMetadata},
		"too long":         {make([]byte, maxMetadata+1), errMetadata},
		"slash in the id":  {mustEncode(t, Member{ID: "a/b", PeerAddr: "h:1"}), errMetadata},
		"wildcard address": {mustEncode(t, Member{ID: "a", PeerAddr: "0.0.0.0:1"}), errMetadata},
		"no peer address":  {mustEncode(t, Member{ID: "a"}), errMetadata},
	} {
		if m, err := decodeMetadata(c.buf); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, m, err, c.want)
		}
	}
}

func TestANameThatIsNotOfItsMetadataIsRefused(t *testing.T) {
	n := &memberlist.Node{Name: someMember.gossipName(), Addr: net.IPv4(10, 0, 0, 1), Meta: mustEncode(t, someMember)}
	var d delegate
	if m, err := d.admit(n); err != nil || m != someMember {
		t.Fatalf("%+v, %v", m, err)
	}
	n.Name = "other/1"
	if m, err := d.admit(n); !errors.Is(err, errMetadata) {
		t.Errorf("%+v, %v", m, err)
	}
}

// Gossip can bring a foreign node without a join, and a join a table with one.
func TestForeignNodesAreKeptOutOnEveryWay(t *testing.T) {
	d := &delegate{name: "self/1", roster: newTestRoster(), refused: newRefusals(slog.New(slog.DiscardHandler))}
	good := &memberlist.Node{Name: someMember.gossipName(), Meta: mustEncode(t, someMember)}
	foreign := &memberlist.Node{Name: good.Name, Meta: append([]byte{99}, good.Meta[1:]...)}
	self := &memberlist.Node{Name: d.name}
	dead := &memberlist.Node{Name: "x/1", State: memberlist.StateDead}
	left := &memberlist.Node{Name: "x/1", State: memberlist.StateLeft}

	for _, n := range []*memberlist.Node{good, self} {
		if err := d.NotifyAlive(n); err != nil {
			t.Errorf("%s is not let in: %v", n.Name, err)
		}
	}
	if err := d.NotifyAlive(foreign); !errors.Is(err, errVersion) {
		t.Errorf("a foreign node by gossip: %v", err)
	}
	if err := d.NotifyMerge([]*memberlist.Node{good, self, dead, left}); err != nil {
		t.Errorf("a table without a living foreign node: %v", err)
	}
	if err := d.NotifyMerge([]*memberlist.Node{good, foreign}); !errors.Is(err, errVersion) {
		t.Errorf("a table with a foreign node: %v", err)
	}
	d.NotifyJoin(foreign)
	d.NotifyUpdate(self)
	if len(d.roster.peers) != 0 {
		t.Errorf("members %v", d.roster.peers)
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	good := mustEncode(f, someMember)
	f.Add(good)
	f.Add(good[:metadataFixed])
	f.Add([]byte{metadataVersion})
	f.Add(append(binary.BigEndian.AppendUint64(bytes.Clone(good[:10]), parameters()), 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 'a', 255, 0, 0))
	f.Fuzz(func(t *testing.T, buf []byte) {
		m, err := decodeMetadata(buf)
		if err != nil {
			return
		}
		if again := mustEncode(t, m); !bytes.Equal(again, buf) {
			t.Errorf("two encodings of %+v:\n%x\n%x", m, buf, again)
		}
	})
}

func FuzzMetadataOfAnyMember(f *testing.F) {
	f.Add("node-1", "10.0.0.1:8081", "", "", uint64(1), byte(1))
	f.Add(strings.Repeat("x", 64), "h:65535", "[::1]:1", "h:1", uint64(1)<<63, byte(2))
	f.Add("a/b", ":1", "h", "h:0", uint64(0), byte(3))
	f.Fuzz(func(t *testing.T, id, peer, data, admin string, boot uint64, state byte) {
		m := Member{ID: id, Boot: boot, State: State(state), PeerAddr: peer, DataAddr: data, AdminAddr: admin}
		buf, err := encodeMetadata(m)
		if err != nil {
			return
		}
		if len(buf) > maxMetadata {
			t.Fatalf("%d bytes", len(buf))
		}
		got, err := decodeMetadata(buf)
		if fit := m.check() == nil; fit != (err == nil) || (fit && got != m) {
			t.Errorf("%+v came back as %+v, %v", m, got, err)
		}
	})
}

func TestAMemberIsReadableJSON(t *testing.T) {
	buf, err := json.Marshal(someMember)
	want := `{"id":"node-1.rack_2","boot":"1764000000000000001","state":"serving","weight":3,` +
		`"peer_addr":"10.0.0.1:8081","data_addr":"cache.example:8080","admin_addr":"[fd00::1]:8082"}`
	if diff := cmp.Diff(want, string(buf)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	var got Member
	if err := json.Unmarshal(buf, &got); err != nil || got != someMember {
		t.Errorf("%+v, %v", got, err)
	}
	for _, s := range []State{Joining, Serving, Draining} {
		text, err := s.MarshalText()
		var back State
		if err != nil || back.UnmarshalText(text) != nil || back != s || string(text) != s.String() {
			t.Errorf("%s came back as %s", s, back)
		}
	}
	if _, err := State(3).MarshalText(); err == nil {
		t.Error("an unknown state has a text")
	}
	var s State
	if s.UnmarshalText([]byte("gone")) == nil {
		t.Error("an unknown text is a state")
	}
}
