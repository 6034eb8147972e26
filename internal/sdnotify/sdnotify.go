// Package sdnotify tells the service manager that started this process how it
// is: the protocol of sd_notify(3). It decides nothing: when a service is ready
// or alive is for its caller to say.
package sdnotify

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// What a service says of itself, one to a line.
const (
	Ready    = "READY=1"    // it has started
	Stopping = "STOPPING=1" // it has begun to end
	Alive    = "WATCHDOG=1" // it is alive; see [Notifier.Watchdog]
)

// Status returns the line that says in words how the service is.
func Status(words string) string {
	return "STATUS=" + strings.Join(strings.Fields(words), " ") // a line break would begin another line
}

// A Notifier talks to the service manager. The methods of a nil Notifier do
// nothing: nobody wants to know. It is safe for concurrent use.
type Notifier struct {
	conn     net.Conn
	watchdog time.Duration
}

// Open returns a Notifier for the socket that the environment names, nil if it
// names none. getenv looks variables up as os.Getenv does, pid is this process:
// a watchdog that is another's is not ours to feed. The error is a socket that
// cannot be reached.
func Open(getenv func(string) string, pid int) (*Notifier, error) {
	address := getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil, nil
	}
	// Package net takes a leading @ for the zero byte of an abstract address, as
	// the protocol does.
	conn, err := net.Dial("unixgram", address)
	if err != nil {
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	n := &Notifier{conn: conn}
	if owner := getenv("WATCHDOG_PID"); owner != "" && owner != strconv.Itoa(pid) {
		return n, nil
	}
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 && usec <= int64(24*time.Hour/time.Microsecond) {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	return n, nil
}

// Watchdog returns how long the manager waits for the next Alive before it takes
// the service for dead, 0 if it does not watch. Say it at half that time or sooner.
func (n *Notifier) Watchdog() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Send tells the manager some lines at once. The error is a socket that is gone
// or full.
func (n *Notifier) Send(lines ...string) error {
	if n == nil {
		return nil
	}
	// A manager that does not read must not hold the service up.
	if err := n.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("notify socket: %w", err)
	}
	if _, err := n.conn.Write([]byte(strings.Join(lines, "\n") + "\n")); err != nil {
		return fmt.Errorf("notify socket: %w", err)
	}
	return nil
}

// Close gives the socket back.
func (n *Notifier) Close() error {
	if n == nil {
		return nil
	}
	return n.conn.Close()
}
