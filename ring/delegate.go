package ring

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// A delegate is what the gossip library calls back. Its methods run under the
// library's lock: see roster.
type delegate struct {
	name    string // this node's own in the gossip
	roster  *roster
	refused *refusals
	keys    placementKeys
}

var (
	_ memberlist.Delegate      = (*delegate)(nil)
	_ memberlist.EventDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate = (*delegate)(nil)
	_ memberlist.MergeDelegate = (*delegate)(nil)
)

// NodeMeta returns this node's metadata. Its length was checked when it was
// encoded; the limit is twice that.
func (d *delegate) NodeMeta(int) []byte {
	d.roster.mu.Lock()
	defer d.roster.mu.Unlock()
	return bytes.Clone(d.roster.metadata)
}

// NotifyAlive keeps nodes out that would place keys elsewhere or cannot be
// understood.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	if n.Name == d.name {
		return nil
	}
	return d.refuse(n)
}

// refuse returns the error that keeps a node out, after noting it, or nil.
func (d *delegate) refuse(n *memberlist.Node) error {
	_, err := d.admit(n)
	if err != nil {
		d.refused.note(foreignness(err.Error()), text(n.Address()), err.Error())
	}
	return err
}

// foreignness returns the reason for an error of admit, of which the gossip
// library passes on no more than the text.
func foreignness(said string) string {
	switch {
	case strings.Contains(said, errParameters.Error()):
		return refusedParameters
	case strings.Contains(said, errVersion.Error()):
		return refusedVersion
	case strings.Contains(said, errSecret.Error()):
		return refusedSecret
	}
	return refusedMetadata
}

// NotifyMerge refuses to join a cluster that NotifyAlive would keep out, so that
// the attempt fails with the reason on both sides instead of having no effect.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if n.Name == d.name || (n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect) {
			continue
		}
		if err := d.refuse(n); err != nil {
			return err
		}
	}
	return nil
}

// admit reads a node's metadata.
func (d *delegate) admit(n *memberlist.Node) (Member, error) {
	m, err := decodeMetadata(n.Meta)
	if err == nil && m.gossipName() != n.Name {
		err = fmt.Errorf("%w: it is of %q", errMetadata, m.gossipName())
	}
	if _, ok := d.keys.named(m.PlacementKey); err == nil && !ok {
		err = errSecret
	}
	if err != nil {
		return Member{}, fmt.Errorf("refused node %q at %s: %w", n.Name, n.Address(), err)
	}
	return m, nil
}

func (d *delegate) NotifyJoin(n *memberlist.Node)   { d.put(n) }
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.put(n) }

func (d *delegate) put(n *memberlist.Node) {
	if n.Name == d.name {
		return // own state is set by its owner, not by gossip
	}
	if m, err := d.admit(n); err == nil { // NotifyAlive let it in
		d.roster.put(n.Name, peer{Member: m, gossip: n.Address()}, time.Now())
	}
}

func (d *delegate) NotifyLeave(n *memberlist.Node) { d.roster.remove(n.Name, time.Now()) }

// The ring sends no messages and shares no state besides the metadata.

func (d *delegate) NotifyMsg([]byte)                {}
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (d *delegate) LocalState(bool) []byte          { return nil }
func (d *delegate) MergeRemoteState([]byte, bool)   {}
