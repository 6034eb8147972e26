package e2e

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// OneByOne is a proxy in front of an S3 service that lets it do one thing to an
// object at a time. Some services cannot do that themselves: versitygw takes the
// ETag, the metadata and the bytes of a read from the object's name one after the
// other, whatever is renamed to it meanwhile, and removes what a conditional DELETE
// names after it has looked at it. A cluster cannot keep the order of what its
// origin mixes up, so this stands between them where the order is judged.
//
// What it has received it does, also if the sender is gone, and the answer of a
// service that is away is a connection that breaks.
type oneByOne struct {
	service string // HOST:PORT
	client  *http.Transport

	all  sync.RWMutex // held by one who works on many objects, and shared by all others
	gets atomic.Int64 // of objects, without those by which a node tries the service at its start

	mu   sync.Mutex               // guards the following
	held map[string]*sync.RWMutex // by path
}

// startOneByOne serves at a listener until the test ends.
func startOneByOne(t *testing.T, l net.Listener, service string) *oneByOne {
	t.Helper()
	o := &oneByOne{service: service, held: map[string]*sync.RWMutex{}, client: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	server := &http.Server{Handler: o, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)} // connections break on purpose
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { server.Close(); <-done; o.client.CloseIdleConnections() })
	return o
}

func (o *oneByOne) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(r.Body)
	if err != nil { // or what was sent in part would be done
		panic(http.ErrAbortHandler)
	}
	header, status, body, err := o.do(r, sent)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the sender may be gone
}

// do passes a request on when it has its turn.
func (o *oneByOne) do(r *http.Request, sent []byte) (header http.Header, status int, body []byte, err error) {
	defer o.turn(r)()
	if r.Method == http.MethodGet && !r.URL.Query().Has("list-type") && strings.Count(r.URL.Path, "/") > 1 &&
		!strings.Contains(r.URL.Path, "/.micelio-probe/") {
		o.gets.Add(1)
	}
	out, err := http.NewRequest(r.Method, "http://"+o.service, bytes.NewReader(sent))
	if err != nil {
		return nil, 0, nil, err
	}
	out.URL.Opaque, out.Host, out.Header = r.RequestURI, r.Host, r.Header // which are signed
	resp, err := o.client.RoundTrip(out)
	if err != nil {
		return nil, 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.Header, resp.StatusCode, body, err
}

// turn waits until a request may be done, and returns what ends its turn.
func (o *oneByOne) turn(r *http.Request) (over func()) {
	switch query := r.URL.Query(); {
	case r.Method == http.MethodPost && query.Has("delete"): // of many objects
		o.all.Lock()
		return o.all.Unlock
	case query.Has("list-type"), query.Has("partNumber"), r.Method == http.MethodPost && query.Has("uploads"):
		return func() {} // is no object yet, or none in particular
	}
	o.mu.Lock()
	lock := o.held[r.URL.Path]
	if lock == nil {
		lock = &sync.RWMutex{}
		o.held[r.URL.Path] = lock
	}
	o.mu.Unlock()
	o.all.RLock()
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		lock.RLock()
		return func() { lock.RUnlock(); o.all.RUnlock() }
	}
	lock.Lock()
	return func() { lock.Unlock(); o.all.RUnlock() }
}

// listen returns a listener of this process on a host.
func (n *network) listen(host, port int) net.Listener {
	n.t.Helper()
	// A socket belongs to where the thread was that made it. The thread comes back:
	// if it ended, the kernel would end the processes that were started from it,
	// which asked for that (Pdeathsig).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		n.t.Fatal(err)
	}
	defer home.Close()
	there, err := os.Open("/var/run/netns/" + n.hosts[host])
	if err != nil {
		n.t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		n.t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(n.host(host), strconv.Itoa(port)))
	if failed := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); failed != nil {
		panic(failed) // nothing that runs on this thread later would be where it belongs
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}
