package ring

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
)

// A State is how far a member is in its life.
type State uint8

const (
	// Joining members are known but own no keys yet.
	Joining State = iota

	// Serving members own keys.
	Serving

	// Draining members own no keys any more and are about to leave. They still
	// answer other nodes until they exit.
	Draining
)

var stateNames = [...]string{Joining: "joining", Serving: "serving", Draining: "draining"}

func (s State) valid() bool { return int(s) < len(stateNames) }

// String returns the state in lower case.
func (s State) String() string {
	if !s.valid() {
		return "state(" + strconv.Itoa(int(s)) + ")"
	}
	return stateNames[s]
}

// MarshalText returns the state as String does. An unknown state is an error.
func (s State) MarshalText() ([]byte, error) {
	if !s.valid() {
		return nil, fmt.Errorf("unknown member state %d", s)
	}
	return []byte(stateNames[s]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("unknown member state %q", text)
	}
	*s = State(i)
	return nil
}

// A Member is one node as the others know it. Members are values: a copy is as
// good as the original.
type Member struct {
	// ID is the node's identity on the ring. It stays the same over restarts
	// and changes of address, so that a node gets its keys back. 1 to 64
	// letters, digits, '.', '_' and '-'.
	ID string `json:"id"`

	// Boot tells the starts of one node apart: its start time in nanoseconds
	// since 1970. A quick restart raises no other sign, so whatever is kept
	// about a node (connections, failure counts) is keyed by it.
	Boot uint64 `json:"boot,string"`

	State State `json:"state"`

	// Weight is how much the member shall own in proportion to the others, 1 to
	// MaxWeight: one of weight 2 has twice the keys of one of weight 1. 0 is 1.
	// A node changes it by starting again; keys then move only to it or from it.
	Weight int `json:"weight,omitempty"`

	// Where the node's listeners are reached, as host:port. Only PeerAddr is
	// required.
	PeerAddr  string `json:"peer_addr"`
	DataAddr  string `json:"data_addr,omitempty"`
	AdminAddr string `json:"admin_addr,omitempty"`

	// PlacementKey names the key that the placement has of the member's cluster
	// secret, and says nothing about either; 0 without a secret. Open sets it.
	PlacementKey uint64 `json:"-"`
}

// MaxWeight is the most that Member.Weight can be.
const MaxWeight = 10

// weight returns the weight that counts, whatever the member says.
func (m Member) weight() uint8 { return uint8(min(max(m.Weight, 1), MaxWeight)) }

// maxIDLen bounds Member.ID in bytes. With it three addresses of 53 bytes each
// fit the metadata; pod and host names are shorter (63).
const maxIDLen = 64

// check returns what makes the member unfit to be shown to other nodes.
func (m Member) check() error {
	var errs []error
	errs = append(errs, checkID(m.ID))
	if !m.State.valid() {
		errs = append(errs, fmt.Errorf("unknown member state %d", m.State))
	}
	if m.Weight < 0 || m.Weight > MaxWeight {
		errs = append(errs, fmt.Errorf("weight %d is not from 1 to %d", m.Weight, MaxWeight))
	}
	for _, a := range []struct {
		name, addr string
		required   bool
	}{{"peer", m.PeerAddr, true}, {"data", m.DataAddr, false}, {"admin", m.AdminAddr, false}} {
		if a.addr == "" && !a.required {
			continue
		}
		if err := checkAddr(a.addr); err != nil {
			errs = append(errs, fmt.Errorf("%s address: %w", a.name, err))
		}
	}
	return errors.Join(errs...)
}

func checkID(id string) error {
	if id == "" || len(id) > maxIDLen {
		return fmt.Errorf("the node id has %d bytes, 1 to %d are allowed", len(id), maxIDLen)
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("the node id %q contains %q: only letters, digits, '.', '_' and '-' are allowed", id, c)
		}
	}
	return nil
}

// checkAddr accepts host:port that another machine could dial: a wildcard host
// or port 0 means something else there than here.
func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return fmt.Errorf("%q has no host that another node can reach", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no port number from 1 to 65535", addr)
	}
	return nil
}

// compare orders members by identity and, within one, the entry to believe
// last: the latest start, then the later state. The rest only makes the order
// total, so that every node keeps the same one of two conflicting entries.
func compare(a, b Member) int {
	return cmp.Or(
		cmp.Compare(a.ID, b.ID),
		cmp.Compare(a.Boot, b.Boot),
		cmp.Compare(a.State, b.State),
		cmp.Compare(a.Weight, b.Weight),
		cmp.Compare(a.PlacementKey, b.PlacementKey),
		cmp.Compare(a.PeerAddr, b.PeerAddr),
		cmp.Compare(a.DataAddr, b.DataAddr),
		cmp.Compare(a.AdminAddr, b.AdminAddr),
	)
}

// unique returns the members sorted by ID, one for each: the last in the order
// of compare. It does not change its argument.
func unique(members []Member) []Member {
	sorted := slices.SortedFunc(slices.Values(members), compare)
	out := sorted[:0]
	for i, m := range sorted {
		if i+1 == len(sorted) || sorted[i+1].ID != m.ID {
			out = append(out, m)
		}
	}
	return slices.Clip(out)
}
