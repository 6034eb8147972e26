package main

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/micelio/micelio/bench/nodes"
	"github.com/micelio/micelio/bench/proc"
)

// A member is a node of a cluster.
type member struct {
	*nodes.Node
	quota *quota // nil: none
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
		if err := m.AwaitMembers(n); err != nil {
			return c, err
		}
	}
	return c, c.store(size)
}

func startMember(binary, dir string, i int, others []*member, copies bool) (*member, error) {
	id := fmt.Sprint("node-", i)
	o := nodes.Options{
		Binary: binary, Core: proc.Any, Dir: filepath.Join(dir, id), Origin: filepath.Join(dir, "origin"),
		Args: []string{"--ssd-bytes", "0", fmt.Sprintf("--hot-copies=%v", copies)},
	}
	if len(others) > 0 {
		o.Join = []*nodes.Node{others[0].Node}
	}
	n, err := nodes.Start(id, o)
	if err != nil {
		return nil, err
	}
	return &member{Node: n}, nil
}

// store puts the object that will be hot, and finds out whose it is.
func (c *cluster) store(size int64) error {
	const key = "cache/builds/sha256:0f343b0931126a20f133d67c2b018a3b/output.tar"
	c.path = "/micelio/" + key
	req, err := http.NewRequest(http.MethodPut, "http://"+c.members[0].Client+c.path, bytes.NewReader(make([]byte, size)))
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
	owner, err := c.members[0].Owner(key)
	if err != nil {
		return err
	}
	for _, m := range c.members {
		if m.ID == owner {
			c.owner = m
			return nil
		}
	}
	return fmt.Errorf("the owner is %q", owner)
}

// clients returns the addresses of all members.
func (c *cluster) clients() (addrs []string) {
	for _, m := range c.members {
		addrs = append(addrs, m.Client)
	}
	return addrs
}

// stop ends all members and waits for them.
func (c *cluster) stop() {
	for _, m := range c.members {
		m.Stop()
		m.quota.remove()
	}
}

// cpu returns the processor time that the member has used.
func (m *member) cpu() (time.Duration, error) {
	u, err := m.Process.Use()
	return u.CPU, err
}
