package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A member is a node in a process of its own.
type member struct {
	id            string
	process       *exec.Cmd
	client, admin string // addresses
	gossip        string
	quota         *quota // nil: none
}

// A cluster is some members over one directory.
type cluster struct {
	members []*member
	owner   *member
	path    string // of the hot key
}

// startCluster starts n members, each on one processor, that make copies of hot
// keys or do not, and stores an object of size bytes.
func startCluster(binary, dir string, n int, size int64, copies bool) (c *cluster, err error) {
	c = &cluster{}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	for i := range n {
		m, err := startMember(binary, dir, i, c.members, copies)
		if err != nil {
			return c, err
		}
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		if err := m.awaitMembers(n); err != nil {
			return c, err
		}
	}
	return c, c.store(size)
}

func startMember(binary, dir string, i int, others []*member, copies bool) (*member, error) {
	m := &member{id: fmt.Sprint("node-", i)}
	args := []string{
		"serve", "--name", m.id, "--data-dir", filepath.Join(dir, m.id), "--local-path", filepath.Join(dir, "origin"), "--log-format", "text",
		"--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--gossip-listen", "127.0.0.1:0",
		"--canary-interval", "0", "--drain-delay", "0", "--ssd-bytes", "0", fmt.Sprintf("--hot-copies=%v", copies),
	}
	if len(others) > 0 {
		args = append(args, "--join", others[0].gossip)
	}
	m.process = exec.Command(binary, args...)
	m.process.Env = append(os.Environ(), "GOMAXPROCS=1")
	log, err := m.process.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := m.process.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		line := lines.Text()
		addr := field(line, "addr")
		switch {
		case strings.Contains(line, "for=client"):
			m.client = addr
		case strings.Contains(line, "for=admin"):
			m.admin = addr
		case strings.Contains(line, "msg=gossiping"):
			m.gossip = addr
		case strings.Contains(line, "msg=ready"):
			go io.Copy(io.Discard, log) // until the process ends
			return m, nil
		}
	}
	_ = m.process.Process.Kill()
	_ = m.process.Wait()
	return nil, fmt.Errorf("%s did not start", m.id)
}

// field returns the value of a field of a log line.
func field(line, name string) string {
	_, rest, _ := strings.Cut(line, " "+name+"=")
	value, _, _ := strings.Cut(rest, " ")
	return value
}

// awaitMembers waits until the member sees n that serve.
func (m *member) awaitMembers(n int) error {
	for range 300 {
		var ring struct {
			Members []struct{ State string }
		}
		if err := getJSON("http://"+m.admin+"/ring", &ring); err != nil {
			return err
		}
		serving := 0
		for _, other := range ring.Members {
			if other.State == "serving" {
				serving++
			}
		}
		if serving == n {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s does not see %d members", m.id, n)
}

// store puts the object that will be hot, and finds out whose it is.
func (c *cluster) store(size int64) error {
	const key = "cache/builds/sha256:0f343b0931126a20f133d67c2b018a3b/output.tar"
	c.path = "/micelio/" + key
	req, err := http.NewRequest(http.MethodPut, "http://"+c.members[0].client+c.path, bytes.NewReader(make([]byte, size)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT: %s", resp.Status)
	}
	var where struct{ Owner string }
	if err := getJSON("http://"+c.members[0].admin+"/where/"+key, &where); err != nil {
		return err
	}
	for _, m := range c.members {
		if m.id == where.Owner {
			c.owner = m
			return nil
		}
	}
	return fmt.Errorf("the owner is %q", where.Owner)
}

func getJSON(url string, v any) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// clients returns the addresses of all members.
func (c *cluster) clients() (addrs []string) {
	for _, m := range c.members {
		addrs = append(addrs, m.client)
	}
	return addrs
}

// stop ends all members and waits for them.
func (c *cluster) stop() {
	for _, m := range c.members {
		_ = m.process.Process.Signal(os.Interrupt)
	}
	for _, m := range c.members {
		_ = m.process.Wait()
		m.quota.remove()
	}
}

// clockTick is the unit of processor time in /proc: USER_HZ, 100 on every Linux.
const clockTick = 10 * time.Millisecond

// cpu returns the processor time that the member has used.
func (m *member) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc: %q", stat)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc: %q", stat)
	}
	return time.Duration(user+system) * clockTick, nil
}
