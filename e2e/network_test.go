package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// A network is a switch and hosts, each in a network namespace of its own, whose
// packets can be lost. The test itself has an address of the network too, so that
// it reaches every host, and nothing that the hosts lose.
type network struct {
	t      *testing.T
	id     string     // tells the networks of one machine apart
	prefix string     // what all addresses begin with
	hosts  []string   // namespaces
	lost   [][]string // lost[to][from]: what is done with packets, in nftables' words; "" for nothing
}

// firstHost is the last byte of the first host's address; that of the test is 1.
const firstHost = 10

// networkTries bounds how many address ranges are tried, of the 512 that RFC 2544
// sets aside for tests of networks and that therefore nobody else uses.
const networkTries = 50

// startNetwork makes a network of some hosts, which ends with the test. Where
// that is not permitted the test is skipped.
func startNetwork(t *testing.T, hosts int) *network {
	t.Helper()
	for _, name := range []string{"ip", "nft"} {
		tool(t, name)
	}
	n := &network{t: t}
	n.claim()
	n.in("switch", "link", "add", "switch", "type", "bridge")
	n.in("switch", "link", "set", "switch", "up")
	n.ip("link", "add", n.link(), "type", "veth", "peer", "name", "test", "netns", n.namespace("switch")) // goes with the namespace
	n.plug("test")
	n.ip("link", "set", n.link(), "up")
	n.ip("address", "add", n.prefix+"1/24", "dev", n.link())
	for range hosts {
		n.addHost()
	}
	return n
}

// addHost connects a further host and returns its number.
func (n *network) addHost() int {
	n.t.Helper()
	i := len(n.hosts)
	host := "host" + strconv.Itoa(i)
	n.ip("netns", "add", n.namespace(host))
	n.t.Cleanup(func() { n.remove(host) })
	n.ip("link", "add", host, "netns", n.namespace("switch"), "type", "veth", "peer", "name", "eth0", "netns", n.namespace(host))
	n.plug(host)
	n.in(host, "address", "add", n.host(i)+"/24", "dev", "eth0")
	n.in(host, "link", "set", "eth0", "up")
	n.in(host, "link", "set", "lo", "up")
	n.hosts = append(n.hosts, n.namespace(host))
	for to := range n.lost {
		n.lost[to] = append(n.lost[to], "")
	}
	n.lost = append(n.lost, make([]string, i+1))
	return i
}

// claim takes a range of addresses that nobody has: the namespace of the switch
// is called after it, and no two have one name.
func (n *network) claim() {
	n.t.Helper()
	var said []byte
	for range networkTries {
		high, low := 18+rand.IntN(2), rand.IntN(256)
		n.id, n.prefix = fmt.Sprintf("%dx%d", high, low), fmt.Sprintf("198.%d.%d.", high, low)
		var err error
		if said, err = exec.Command("ip", "netns", "add", n.namespace("switch")).CombinedOutput(); err == nil {
			n.t.Cleanup(func() { n.remove("switch") })
			return
		}
		if !strings.Contains(string(said), "File exists") {
			break
		}
	}
	if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
		n.t.Fatalf("network namespaces are not permitted, which takes root: %s", said)
	}
	n.t.Skipf("network namespaces are not permitted, which takes root: %s", said)
}

func (n *network) link() string                 { return "mic" + n.id }
func (n *network) namespace(role string) string { return "micelio-" + n.id + "-" + role }

// plug connects the end of a cable that is called so to the switch.
func (n *network) plug(name string) {
	n.t.Helper()
	n.in("switch", "link", "set", name, "master", "switch")
	n.in("switch", "link", "set", name, "up")
}

// ip runs the command of that name; in does it in a namespace.
func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (n *network) in(role string, args ...string) {
	n.t.Helper()
	n.ip(append([]string{"-n", n.namespace(role)}, args...)...)
}

func (n *network) remove(role string) {
	if out, err := exec.Command("ip", "netns", "del", n.namespace(role)).CombinedOutput(); err != nil {
		n.t.Errorf("removing a namespace: %v: %s", err, out)
	}
}

// host returns the address of a host.
func (n *network) host(i int) string { return n.prefix + strconv.Itoa(firstHost+i) }

// addr returns an address of a host with a port.
func (n *network) addr(i, port int) string { return net.JoinHostPort(n.host(i), strconv.Itoa(port)) }

// command runs a program, which comes behind it, on a host. The process that it
// starts becomes the program.
func (n *network) command(i int) []string { return []string{"ip", "netns", "exec", n.hosts[i]} }

// lose makes a host lose what others send it, that part of a hundred packets.
func (n *network) lose(to int, percent int, from ...int) {
	n.t.Helper()
	for _, i := range from {
		switch {
		case i == to:
		case percent == 0:
			n.lost[to][i] = ""
		case percent == 100:
			n.lost[to][i] = "drop"
		default:
			n.lost[to][i] = fmt.Sprintf("numgen random mod 100 < %d drop", percent)
		}
	}
	var rules strings.Builder
	for i, what := range n.lost[to] {
		if what != "" {
			fmt.Fprintf(&rules, "\t\tip saddr %s %s\n", n.host(i), what)
		}
	}
	cmd := exec.Command("ip", append(n.command(to)[1:], "nft", "-f", "-")...)
	cmd.Stdin = strings.NewReader("table ip faults\ndelete table ip faults\ntable ip faults {\n\tchain input {\n" +
		"\t\ttype filter hook input priority 0; policy accept;\n" + rules.String() + "\t}\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("nft: %v: %s", err, out)
	}
}

// cut makes two groups of hosts lose everything that they send each other.
func (n *network) cut(percent int, these, those []int) {
	n.t.Helper()
	for _, i := range these {
		n.lose(i, percent, those...)
	}
	for _, i := range those {
		n.lose(i, percent, these...)
	}
}
