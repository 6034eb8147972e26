package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/bench/nodes"
	"github.com/micelio/micelio/bench/proc"
)

// The names of the contenders.
const (
	micelioName    = "micelio"
	staticName     = "nginx, static files"
	proxyName      = "nginx, proxy_cache hit"
	varnishName    = "Varnish, RAM hit"
	groupcacheName = "groupcache + net/http"
	netHTTPName    = "bare net/http, bytes in memory"
)

// A contender is a server that has the objects.
type contender struct {
	name  string
	addr  string
	procs []*proc.Process // all that answer, whose processor time is counted
	tier  string          // that X-Cache must name when an object is hot; empty: not looked at
	node  *nodes.Node     // nil unless it is ours
	log   *tail
}

// A stage is what the contenders stand on.
type stage struct {
	dir            string
	binary         string // micelio-node
	server, client int    // processors
	objects        *corpus
	origin         string // address of an HTTP server over the objects
	running        []*contender
	missing        []string // why contenders are not there
}

// start starts the contenders that are wanted and can be had.
func (s *stage) start(ctx context.Context, wanted func(name string) bool) error {
	for _, kind := range []struct {
		name  string
		start func(context.Context) (*contender, error)
	}{
		{micelioName, s.startMicelio},
		{staticName, s.startStatic},
		{proxyName, s.startProxy},
		{varnishName, s.startVarnish},
		{groupcacheName, s.startGroupcache},
		{netHTTPName, s.startNetHTTP},
	} {
		if !wanted(kind.name) {
			continue
		}
		log.Printf("starting %s", kind.name)
		c, err := kind.start(ctx)
		if err != nil && (ctx.Err() != nil || kind.name == micelioName) {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		if err != nil {
			s.leaveOut(kind.name, err)
			continue
		}
		c.name = kind.name
		s.running = append(s.running, c)
	}
	return nil
}

// leaveOut notes why a contender takes no part in something. The tables have the
// first line of it.
func (s *stage) leaveOut(what string, err error) {
	log.Printf("%s is left out: %v", what, err)
	line, _, _ := strings.Cut(err.Error(), "\n")
	s.missing = append(s.missing, fmt.Sprintf("%s (%s)", what, line))
}

// stop ends all that run.
func (s *stage) stop() {
	for _, c := range s.running {
		log.Printf("stopping %s", c.name)
		c.stop()
	}
}

func (c *contender) stop() {
	for _, p := range c.procs {
		p.Stop()
	}
}

// use returns what each process of the contender has used, with its children.
func (c *contender) use() ([]proc.Use, error) {
	all := make([]proc.Use, len(c.procs))
	for i, p := range c.procs {
		var err error
		if all[i], err = p.Use(); err != nil {
			return nil, fmt.Errorf("%w; its log ends:\n%s", err, c.log)
		}
	}
	return all, nil
}

// ramBytes is the memory for objects of whoever has a bound for it: all of them
// fit.
const ramBytes = 1 << 30

func (s *stage) startMicelio(context.Context) (*contender, error) {
	n, err := nodes.Start("micelio", nodes.Options{
		Binary: s.binary, Core: s.server, Dir: filepath.Join(s.dir, "micelio"), Origin: s.objects.root,
		Args: []string{"--ram-bytes", fmt.Sprint(ramBytes), "--ssd-bytes", fmt.Sprint(2 << 30)},
	})
	if err != nil {
		return nil, err
	}
	return &contender{addr: n.Client, procs: []*proc.Process{n.Process}, tier: "ram", node: n, log: &tail{}}, nil
}

// run starts a program that is to listen on addr, and waits until it does.
func (s *stage) run(ctx context.Context, addr string, env []string, program string, args ...string) (*contender, error) {
	c := &contender{addr: addr, log: &tail{}}
	p, err := proc.Start(s.server, env, c.log, program, args...)
	if err != nil {
		return nil, err
	}
	c.procs = []*proc.Process{p}
	for deadline := time.Now().Add(60 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return c, conn.Close()
		}
		select {
		case <-p.Ended():
			return nil, fmt.Errorf("it has ended; its log ends:\n%s", c.log)
		case <-ctx.Done():
			c.stop()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
			if time.Now().After(deadline) {
				c.stop()
				return nil, fmt.Errorf("it does not listen; its log ends:\n%s", c.log)
			}
		}
	}
}

// free returns an address that nobody listens on, for programs that cannot take
// port 0. Somebody else may be faster to take it.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// lookFor returns where a program is. Debian has servers where no user's path
// leads.
func lookFor(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// A tail keeps the end of a log. It may be used at once by several.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if most := 2 * tailBytes; len(t.kept) > most {
		t.kept = slices.Clone(t.kept[len(t.kept)-tailBytes:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.kept[max(0, len(t.kept)-tailBytes):]))
}

// A reply is what a contender answered to one request.
type reply struct {
	status int
	etag   string
	tier   string // X-Cache
	length int64  // of the body that came
}

// ask asks once and checks the bytes of a whole answer. What is hot afterwards has
// been asked for before.
func ask(addr, method string, o item, fields ...string) (reply, error) {
	req, err := http.NewRequest(method, "http://"+addr+o.path(), nil)
	if err != nil {
		return reply{}, err
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, resp.Body)
	r := reply{resp.StatusCode, resp.Header.Get("ETag"), resp.Header.Get("X-Cache"), n}
	if err == nil && method == http.MethodGet && r.status == http.StatusOK {
		if got := hex.EncodeToString(hash.Sum(nil)); got != o.digest {
			err = fmt.Errorf("the %d bytes of the answer hash to %s, want %s", n, got, o.digest)
		}
	}
	return r, err
}

// check asks for an object until it is hot, and checks its bytes.
func (c *contender) check(o item, tier string) (reply, error) {
	var r reply
	for range 20 {
		var err error
		if r, err = ask(c.addr, http.MethodGet, o); err != nil {
			return r, fmt.Errorf("%s: %w", c.name, err)
		}
		if r.status != http.StatusOK || r.length != o.size {
			return r, fmt.Errorf("%s: answer %d with %d bytes, want 200 with %d", c.name, r.status, r.length, o.size)
		}
		if tier == "" || c.node == nil || r.tier == tier {
			return r, nil
		}
		time.Sleep(50 * time.Millisecond) // it goes up when nobody waits for it
	}
	return r, fmt.Errorf("%s: X-Cache is %q, want %q", c.name, r.tier, tier)
}

// clean is an environment without what this one is set to.
func clean(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, more...)
}
