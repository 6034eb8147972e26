package main

import (
	"bufio"
	"strings"
	"testing"
)

func TestAnAnswerIsReadToItsEnd(t *testing.T) {
	in := bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nX-Cache: hot\r\nContent-Length: 5\r\n\r\nhello" +
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Cache: ram\r\n\r\n" + "HTTP/1.1 503 Slow Down\r\n\r\n"))
	for _, want := range []string{"hot", "ram"} {
		if tier, err := answer(in); err != nil || tier != want {
			t.Errorf("%q, %v; want %q", tier, err, want)
		}
	}
	if _, err := answer(in); err == nil {
		t.Error("a 503 is no answer that counts")
	}
	for _, cut := range []string{"", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "HTTP/1.1 200 OK\r\n\r\n"} {
		if tier, err := answer(bufio.NewReader(strings.NewReader(cut))); err == nil {
			t.Errorf("%q was taken for an answer of %q", cut, tier)
		}
	}
}

// The busiest node is what bounds a cluster.
func TestCapacityFollowsTheBusiestNode(t *testing.T) {
	if got := (sample{owner: 20, busiest: 10}).capacity(); got != 50_000 {
		t.Errorf("%v requests a second, want 50000", got)
	}
	if got := (sample{owner: 10, busiest: 40}).capacity(); got != 25_000 {
		t.Errorf("%v requests a second, want 25000", got)
	}
}
