package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// inside returns the private address that a host has besides its other one, of
// a network that only the hosts are on, as containers are on one of their own.
func inside(i int) string { return "10.77.0." + strconv.Itoa(firstHost+i) }

// Nodes in containers listen on all addresses, and know of no other than that of
// a node to join. Each tells the others the address of the network that they are
// on, and comes back under another one as the node that it was.
func TestNodesInContainersFindEachOther(t *testing.T) {
	const nodes = 3
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("4f", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, net: startNetwork(t, nodes), kept: dir, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
	t.Cleanup(f.client.CloseIdleConnections)
	for i := range nodes {
		f.net.in("host"+strconv.Itoa(i), "address", "add", inside(i)+"/24", "dev", "eth0")
		f.net.in("host"+strconv.Itoa(i), "route", "add", "default", "dev", "eth0", "src", inside(i))
		name := "node-" + strconv.Itoa(i+1)
		n := &hosted{fleet: f, host: i, name: name, data: filepath.Join(dir, name), args: []string{
			"--name=" + name, "--data-dir=" + filepath.Join(dir, name), "--local-path=" + filepath.Join(dir, "origin"),
			"--join=" + inside(0) + ":" + strconv.Itoa(gossipPort) + "," + inside(1) + ":" + strconv.Itoa(gossipPort),
			"--cluster-secret-file=" + secret, "--allow-anonymous", "--log-format=json", "--drain-delay=0s",
			"--listen=:8080", "--peer-listen=:8081", "--admin-listen=:8082", "--gossip-listen=:7946",
		}}
		f.nodes = append(f.nodes, n)
		t.Cleanup(n.kill)
		n.start()
	}
	for _, n := range f.nodes {
		n.awaitReady()
	}
	f.awaitAgreement(settleWithin)
	for i, n := range f.nodes {
		if err := f.nodes[0].knows(n.name, inside(i)); err != nil {
			t.Error(err)
		}
	}

	moved := f.nodes[2]
	moved.kill()
	f.net.in("host2", "address", "del", inside(2)+"/24", "dev", "eth0")
	f.net.in("host2", "address", "add", inside(90)+"/24", "dev", "eth0")
	f.net.in("host2", "route", "replace", "default", "dev", "eth0", "src", inside(90))
	moved.start()
	if err := eventually(settleWithin, func() error { return f.nodes[0].knows(moved.name, inside(90)) }); err != nil {
		t.Error(err)
	}
	moved.awaitReady()
	f.awaitAgreement(settleWithin)
}

// knows reports as an error how a node knows another one, unless by its present
// address.
func (n *hosted) knows(name, host string) error {
	body, err := n.ask("/ring", settleWithin)
	if err != nil {
		return err
	}
	var r struct {
		Members []struct{ ID, Peer string }
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return err
	}
	for _, m := range r.Members {
		if m.ID == name && strings.HasPrefix(m.Peer, host+":") {
			return nil
		}
	}
	return fmt.Errorf("%s is not known at %s: %+v", name, host, r.Members)
}
