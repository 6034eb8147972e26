package node

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/hotset"
	"github.com/micelio/micelio/object"
)

const (
	// hotShare is which part of the RAM tier's bytes copies of hot keys may take.
	hotShare = 8

	// hotFillShare is which part of the memory for fills they may take, out of
	// which they are lent, so that fills always have most of it.
	hotFillShare = 4

	// leastHotFill is the least memory for fills of which anything is lent: a
	// large fill waits until it gets 1 MiB.
	leastHotFill = 4 << 20

	// leastHot is the least that is worth the name, in bytes.
	leastHot = 256 << 10
)

// hotBytes returns what copies of hot keys may take, 0 if there are to be none.
func (c Config) hotBytes() int64 {
	most := min(c.RAMBytes/hotShare, c.FillMemoryBytes/hotFillShare)
	if !c.Tiered() || !c.HotCopies || c.FillMemoryBytes < leastHotFill || most < leastHot {
		return 0
	}
	return most
}

// copyHotKeys lets what clients see of the cluster answer hot keys of other nodes
// from copies. Peers do not see them: what a node answers for another one comes
// from its own stack.
func (n *Node) copyHotKeys() {
	most := n.cfg.hotBytes()
	if most == 0 {
		return
	}
	n.hot = hotset.New(hotset.Config{
		Below: n.store, Class: n.classes.Of, Capacity: most, Memory: n.cache,
		Elsewhere: func(key object.Key) bool {
			owner, ok := n.ring.View().Owner(string(key))
			return ok && owner.ID != n.id
		},
	})
	n.store = n.hot
	n.meter.registry.MustRegister(hotSnapshot{n.hot})
}

// hotSnapshot collects the figures that copies of hot keys keep themselves.
type hotSnapshot struct{ hot *hotset.Store }

// Describe sends no descriptions: the collector is checked when it collects.
func (hotSnapshot) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (s hotSnapshot) Collect(out chan<- prometheus.Metric) {
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	st := s.hot.Stats()
	send(out, g, "micelio_hot_copies", "Copies of other nodes' keys that are held because the keys are read very much.", float64(st.Copies))
	send(out, g, "micelio_hot_bytes", "Bytes that those copies take, overhead included, without those that were dropped while slow clients still read them.", float64(st.Bytes))
	send(out, g, "micelio_hot_capacity_bytes", "Most bytes that those copies may take.", float64(st.Capacity))
	send(out, c, "micelio_hot_hits_total", "Reads that a copy of a hot key answered.", float64(st.Hits))
	const fills = "Attempts to get or to prolong a copy of a hot key, by result."
	send(out, c, "micelio_hot_fills_total", fills, float64(st.Kept), "result", "kept")
	send(out, c, "micelio_hot_fills_total", fills, float64(st.Renewed), "result", "renewed")
	send(out, c, "micelio_hot_fills_total", fills, float64(st.Declined), "result", "declined")
	send(out, c, "micelio_hot_fills_total", fills, float64(st.Failed), "result", "failed")
}

type hotReport struct {
	Self  string   `json:"self"`
	On    bool     `json:"on"`   // whether hot keys are looked for
	Rate  float64  `json:"rate"` // reads a second through this node, of all keys
	Bytes int64    `json:"bytes"`
	Most  int64    `json:"capacity"`
	Keys  []hotKey `json:"keys"` // read most first
}

type hotKey struct {
	Key   object.Key `json:"key"` // as people may see it
	Class string     `json:"class"`
	Owner string     `json:"owner"`
	Rate  float64    `json:"rate"`  // reads a second through this node, at least
	Slack float64    `json:"slack"` // how many more there may be
	Copy  int64      `json:"copy"`  // bytes of this node's copy, 0 if there is none
}

// hotKeys is how many keys are listed.
const hotKeys = 100

func (n *Node) serveHot(w http.ResponseWriter, _ *http.Request) {
	report := hotReport{Self: n.id}
	if n.hot != nil {
		st := n.hot.Stats()
		report.On, report.Bytes, report.Most = true, st.Bytes, st.Capacity
	}
	report.Keys, report.Rate = n.hottest(hotKeys)
	writeJSON(w, http.StatusOK, report)
}

// hottest returns up to so many keys that are read most, most first, and how many reads
// a second there are of all keys. It finds none where none are looked for.
func (n *Node) hottest(most int) (hottest []hotKey, rate float64) {
	hottest = []hotKey{}
	if n.hot == nil {
		return hottest, 0
	}
	keys, rate := n.hot.Hottest(most)
	view := n.ring.View()
	for _, k := range keys {
		class, _ := n.classes.Of(k.Key)
		owner, _ := view.Owner(string(k.Key))
		hottest = append(hottest, hotKey{object.Key(n.shown(k.Key)), class.String(), owner.ID, k.Rate, k.Slack, k.Bytes})
	}
	return hottest, rate
}
