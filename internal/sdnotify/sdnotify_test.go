package sdnotify_test

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/micelio/micelio/internal/sdnotify"
)

const pid = 4711

// env returns what os.Getenv would.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestAManagerHearsWhatIsSaid(t *testing.T) {
	for _, address := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@micelio-notify-%d", time.Now().UnixNano())} {
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer manager.Close()
		n, err := sdnotify.Open(env("NOTIFY_SOCKET", address), pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Send(sdnotify.Ready, sdnotify.Status("3 members\nMAINPID=1")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1024)
		got, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if want := "READY=1\nSTATUS=3 members MAINPID=1\n"; string(buf[:got]) != want {
			t.Errorf("%s: got %q, want %q", address, buf[:got], want)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWithoutAManagerNothingIsSaid(t *testing.T) {
	n, err := sdnotify.Open(env(), pid)
	if n != nil || err != nil {
		t.Fatalf("got %v, %v", n, err)
	}
	if n.Send(sdnotify.Ready) != nil || n.Watchdog() != 0 || n.Close() != nil {
		t.Error("a nil Notifier does something")
	}
}

func TestASocketThatIsNotThereIsAnError(t *testing.T) {
	n, err := sdnotify.Open(env("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone")), pid)
	if err == nil {
		t.Errorf("got %v, want an error", n)
	}
}

func TestOnlyOurOwnWatchdogIsFed(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"30000000", "4711", 30 * time.Second},
		{"30000000", "", 30 * time.Second},
		{"30000000", "4712", 0},
		{"", "4711", 0},
		{"0", "4711", 0},
		{"-5", "4711", 0},
		{"soon", "4711", 0},
		{"9223372036854775807", "4711", 0}, // systemd's infinity: nobody watches
	} {
		n, err := sdnotify.Open(env("NOTIFY_SOCKET", address, "WATCHDOG_USEC", tt.usec, "WATCHDOG_PID", tt.pid), pid)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Watchdog(); got != tt.want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: got %v, want %v", tt.usec, tt.pid, got, tt.want)
		}
		n.Close()
	}
}
