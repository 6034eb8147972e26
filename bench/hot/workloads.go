package main

import (
	"context"
	"fmt"
	"log"
	"path/filepath"
	"time"

	"github.com/micelio/micelio/bench/drive"
	"github.com/micelio/micelio/bench/nodes"
	"github.com/micelio/micelio/bench/proc"
)

// The names of the workloads.
const (
	hotWork   = "hot"
	etagWork  = "304"
	rangeWork = "range"
	headWork  = "HEAD"
	largeWork = "large"
	peerWork  = "peers"
	slowWork  = "peers, one connection"
)

func zipfWork(conns int) string { return fmt.Sprint("zipf, ", conns) }

// hotConns are the connections of the measurements that do not say otherwise,
// largeConns those for large objects, and zipfConns those for zipf.
const (
	hotConns   = 64
	largeConns = 4
)

func zipfConns() []int { return []int{1, 64, 512} }

// mark is what a header of ours has to contain of an answer from a tier.
func mark(tier string) []byte { return fmt.Appendf(nil, "\r\nX-Cache: %s\r\n", tier) }

// mark is what the header of an answer from a tier has to contain, nil at a
// contender that says nothing of tiers.
func (c *contender) mark(tier string) []byte {
	if c.node == nil {
		return nil
	}
	return mark(tier)
}

// hot measures one object at all contenders.
func (b *bench) hot(ctx context.Context, take time.Duration) error {
	o := b.objects.hot
	return b.play(ctx, b.running, &workload{
		name: hotWork, conns: hotConns, take: take, path: o.path(), allocs: true,
		shots: func(c *contender, _ int) (func() *drive.Shot, error) {
			if _, err := c.check(o, c.tier); err != nil {
				return nil, err
			}
			return inTurns([]*drive.Shot{{Raw: request("GET", o.path()), Status: 200, Body: o.size, Mark: c.mark(c.tier)}}), nil
		},
	})
}

// kinds measures other requests for that object.
func (b *bench) kinds(ctx context.Context, take time.Duration) error {
	o := b.objects.hot
	one := func(name, method string, status int, body int64, field func(reply) string) *workload {
		return &workload{
			name: name, conns: hotConns, take: take, allocs: true,
			shots: func(c *contender, _ int) (func() *drive.Shot, error) {
				r, err := c.check(o, c.tier)
				if err != nil {
					return nil, err
				}
				var fields []string
				if f := field(r); f != "" {
					fields = append(fields, f)
				}
				got, err := ask(c.addr, method, o, fields...)
				if err != nil || got.status != status || got.length != body {
					return nil, fmt.Errorf("answer %d with %d bytes, %v; want %d with %d", got.status, got.length, err, status, body)
				}
				return inTurns([]*drive.Shot{{Raw: request(method, o.path(), fields...), Status: status, Body: body, Mark: c.mark(c.tier)}}), nil
			},
		}
	}
	return b.play(ctx, b.running,
		one(etagWork, "GET", 304, 0, func(r reply) string { return "If-None-Match: " + r.etag }),
		one(rangeWork, "GET", 206, rangeBytes, func(reply) string { return fmt.Sprintf("Range: bytes=0-%d", rangeBytes-1) }),
		one(headWork, "HEAD", 200, 0, func(reply) string { return "" }))
}

// zipf measures many objects, some of which are asked for much more than others.
func (b *bench) zipf(ctx context.Context, take time.Duration) error {
	for _, c := range b.running {
		log.Printf("%s: reading %d objects once", c.name, len(b.objects.zipf))
		if err := b.warm(ctx, c, b.objects.zipf); err != nil && (c.node != nil || ctx.Err() != nil) {
			return err
		} else if err != nil {
			log.Print(err) // what it says to the reads that are measured decides
		}
	}
	plain, marked := gets(b.objects.zipf), gets(b.objects.zipf)
	for i := range marked {
		marked[i].Mark = mark("ram")
	}
	var works []*workload
	for _, conns := range zipfConns() {
		works = append(works, &workload{
			name: zipfWork(conns), conns: conns, take: take, allocs: true, loose: true,
			shots: func(c *contender, round int) (func() *drive.Shot, error) {
				if _, err := c.check(b.objects.zipf[round*97%len(b.objects.zipf)], c.tier); err != nil {
					return nil, err
				}
				shots := plain
				if c.node != nil {
					shots = marked
				}
				return drawn(shots, b.objects.draws, round*len(b.objects.draws)/7), nil
			},
		})
	}
	return b.play(ctx, b.running, works...)
}

// large measures a large object, at ours from the SSD tier.
func (b *bench) large(ctx context.Context, take time.Duration) error {
	o := b.objects.large
	for _, c := range b.running {
		if c.node == nil {
			continue
		}
		all, err := c.use()
		if err != nil {
			return err
		}
		b.rssBefore = float64(all[0].RSS)
	}
	return b.play(ctx, b.running, &workload{
		name: largeWork, conns: largeConns, take: take, buffer: 256 << 10, skip: map[string]bool{groupcacheName: true},
		shots: func(c *contender, round int) (func() *drive.Shot, error) {
			if round == 0 { // the sum of 64 MiB says the same each time
				if _, err := c.check(o, "ssd"); err != nil {
					return nil, err
				}
			}
			return inTurns([]*drive.Shot{{Raw: request("GET", o.path()), Status: 200, Body: o.size, Mark: c.mark("ssd")}}), nil
		},
	})
}

// The contenders of the measurement of peers.
const (
	ownerName = "the owner"
	otherName = "a node that does not own it"
)

// peers measures what it costs to ask a node that does not own a key, at two nodes
// that share a processor and make no copies of hot keys.
func (b *bench) peers(ctx context.Context, take time.Duration) error {
	var members []*nodes.Node
	defer func() {
		for _, n := range members {
			n.Stop()
		}
	}()
	for _, id := range []string{"entry", "owner"} {
		n, err := nodes.Start(id, nodes.Options{
			Binary: b.binary, Core: b.server, Dir: filepath.Join(b.dir, id), Origin: b.objects.root, Join: members,
			Args: []string{"--ssd-bytes", "0", "--hot-copies=false"},
		})
		if err != nil {
			return err
		}
		members = append(members, n)
	}
	for _, n := range members {
		if err := n.AwaitMembers(len(members)); err != nil {
			return err
		}
	}
	owned, err := ownedBy(members[0], "owner", b.objects.peers)
	if err != nil {
		return err
	}
	procs := []*proc.Process{members[0].Process, members[1].Process}
	owner := &contender{name: ownerName, addr: members[1].Client, procs: procs, tier: "ram", node: members[1], log: &tail{}}
	other := &contender{name: otherName, addr: members[0].Client, procs: procs, node: members[0], log: &tail{}}
	shots := func(c *contender, round int) (func() *drive.Shot, error) {
		_, err := c.check(owned[round%len(owned)], c.tier)
		return inTurns(gets(owned)), err
	}
	for _, c := range []*contender{owner, other} {
		if err := b.warm(ctx, c, owned); err != nil {
			return err
		}
	}
	return b.play(ctx, []*contender{owner, other},
		&workload{name: peerWork, conns: hotConns, take: take, shots: shots},
		&workload{name: slowWork, conns: 1, take: take, shots: shots})
}

// ownedBy returns those of some objects that belong to a node.
func ownedBy(n *nodes.Node, id string, all []item) (owned []item, err error) {
	for _, o := range all {
		owner, err := n.Owner(o.key())
		if err != nil {
			return nil, err
		}
		if owner == id {
			owned = append(owned, o)
		}
	}
	if len(owned) == 0 {
		return nil, fmt.Errorf("%s owns none of %d objects", id, len(all))
	}
	return owned, nil
}
