package nodes

import (
	"maps"
	"testing"
)

func TestFieldsOfALogLine(t *testing.T) {
	line := "time=2026-01-01 level=INFO msg=listening for=client addr=127.0.0.1:40123\n"
	if got := field(line, "addr"); got != "127.0.0.1:40123" {
		t.Errorf("addr is %q", got)
	}
	if got := field(line, "for"); got != "client" {
		t.Errorf("for is %q", got)
	}
}

// A log comes in pieces that end anywhere.
func TestANodeIsReadyWhenItSaysSo(t *testing.T) {
	const text = "msg=listening for=client addr=a:1\nmsg=listening for=admin addr=b:2\nmsg=gossiping addr=c:3 cluster=x\nmsg=ready node=n\n"
	l := &log{ready: make(chan struct{})}
	for _, c := range []byte(text) {
		select {
		case <-l.ready:
			continue
		default:
		}
		if _, err := l.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-l.ready:
	default:
		t.Fatal("it is not ready")
	}
	var n Node
	n.addresses(l.text())
	if n.Client != "a:1" || n.Admin != "b:2" || n.Gossip != "c:3" {
		t.Errorf("the addresses are %+v", n)
	}
}

func TestMetricsWithoutLabelsAreRead(t *testing.T) {
	got := parseMetrics("# HELP a of b\n# TYPE a gauge\na 36\nb{c=\"d\"} 1\nbytes_total 5.5e+06\nbroken\n")
	if want := (Metrics{"a": 36, "bytes_total": 5.5e6}); !maps.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}
