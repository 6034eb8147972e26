package s3test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A port that was free when it was chosen was taken before versitygw had it, by
// one of the many outgoing connections of the tests beside it: the test failed
// with "address already in use" once in some dozen runs. Each program must say so
// in a way that start knows, also toxiproxy, which stays alive.
func TestATakenAddressIsReportedAndAnotherOneTried(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	addr := other.Listener.Addr().String()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"versitygw":        {"-q", "--access", "a", "--secret", "b", "--port", addr, "posix", t.TempDir()},
		"gofakes3":         {"-backend", "memory", "-host", addr},
		"toxiproxy-server": {"-host", host, "-port", port},
	} {
		alive := answers(plainClient(), "http://"+addr, http.StatusOK)
		if err := start(t, alive, program(t, name), args...); !errors.Is(err, errAddrInUse) {
			t.Errorf("%s at a taken address: %v, want %v", name, err, errAddrInUse)
		}
	}
}

func TestTheNextAddressIsTriedWhileOneIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := []string{"127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"} // anybody may listen at port 0
	addrs := append([]string{taken.Addr().String()}, free...)
	next := func() string { a := addrs[0]; addrs = addrs[1:]; return a }
	var asked []string
	got, err := tryAddrs(next, func(addr string) error {
		asked = append(asked, addr)
		if addr == free[0] {
			return errAddrInUse // taken between the look and the listening
		}
		return nil
	})
	if err != nil || got != free[1] || len(asked) != 2 {
		t.Errorf("listening at %q (%v) after asking for %q, want %q", got, err, asked, free[1])
	}
	always := func() string { return free[0] }
	if _, err := tryAddrs(always, func(string) error { return errAddrInUse }); !errors.Is(err, errAddrInUse) {
		t.Errorf("no address is free: %v", err)
	}
	other := errors.New("another fault")
	if _, err := tryAddrs(always, func(string) error { return other }); !errors.Is(err, other) {
		t.Errorf("another fault: %v", err)
	}
}
