package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A formerOwner is another node as far as it has objects at hand.
type formerOwner struct {
	objecttest.Memory
	after time.Duration // before it answers
	breaks, stalls,
	lies int64 // its bodies do so from this byte on; 0: they do not
	asked int
}

func (f *formerOwner) GetCached(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	f.asked++
	if err := sleep(ctx, f.after); err != nil {
		return nil, err
	}
	obj, err := f.Memory.Get(ctx, key, opt)
	if err != nil {
		return nil, fmt.Errorf("%w", peer.ErrNotCached)
	}
	obj.Body = &formerBody{ReadCloser: obj.Body, f: f, ctx: ctx}
	return obj, nil
}

func (f *formerOwner) HeadCached(ctx context.Context, key object.Key) (object.Info, error) {
	f.asked++
	if err := sleep(ctx, f.after); err != nil {
		return object.Info{}, err
	}
	info, err := f.Memory.Head(ctx, key, object.HeadOptions{})
	if err != nil {
		return object.Info{}, peer.ErrNotCached
	}
	return info, nil
}

// formerBody hands out a thousand bytes at a time.
type formerBody struct {
	io.ReadCloser
	f   *formerOwner
	ctx context.Context
	pos int64
}

func (b *formerBody) Read(p []byte) (int, error) {
	switch {
	case b.f.breaks > 0 && b.pos >= b.f.breaks:
		return 0, io.ErrUnexpectedEOF
	case b.f.stalls > 0 && b.pos >= b.f.stalls:
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), 1000)])
	if b.f.lies > 0 && b.pos >= b.f.lies && n > 0 {
		p[0] ^= 1
	}
	b.pos += int64(n)
	return n, err
}

// slowStore is the Store behind: it counts, and takes its time.
type slowStore struct {
	objecttest.Memory
	after time.Duration
	away  bool
	asked []object.GetOptions
}

func (s *slowStore) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	s.asked = append(s.asked, opt)
	if err := sleep(ctx, s.after); err != nil {
		return nil, err
	}
	if s.away {
		return nil, object.ErrUnavailable
	}
	return s.Memory.Get(ctx, key, opt)
}

// A fillRig is a node "new" that owns keys which were "old"'s until now, and
// "older"'s before that.
type fillRig struct {
	*testing.T
	*previous
	old, older, stranger *formerOwner
	behind               *slowStore
	suspects             []string
}

func newFillRig(t *testing.T) *fillRig {
	t.Helper()
	var views []*ring.View
	all := []ring.Member{
		{ID: "older", PeerAddr: "older:1"}, {ID: "old", PeerAddr: "old:1"}, {ID: "new", PeerAddr: "new:1"},
		{ID: "stranger", PeerAddr: "stranger:1"}, // which never owned anything
	}
	for i, serves := range []string{"older", "old", "new"} {
		members := slices.Clone(all)
		for j := range members {
			members[j].State = ring.Joining
			if members[j].ID == serves {
				members[j].State = ring.Serving
			}
		}
		v, err := ring.NewView(members)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			v = v.After(views[i-1], time.Now())
		}
		views = append(views, v)
	}
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		t.Fatal(err)
	}
	r := &fillRig{T: t, old: new(formerOwner), older: new(formerOwner), stranger: new(formerOwner), behind: new(slowStore)}
	peers := map[string]cachedPeer{"old:1": r.old, "older:1": r.older, "stranger:1": r.stranger}
	r.previous = &previous{
		Store: r.behind, self: "new", view: func() *ring.View { return views[2] }, class: classes.Of,
		log: slog.New(slog.DiscardHandler), stats: new(fillStats), patience: fillPatience, stall: fillStall,
		dial:    func(m ring.Member) cachedPeer { return peers[m.PeerAddr] },
		suspect: func(m ring.Member) bool { return slices.Contains(r.suspects, m.ID) },
	}
	return r
}

// give stores an object of a class, the same, at some places.
func (r *fillRig) give(class object.Class, size int, places ...object.Store) (object.Key, []byte) {
	r.Helper()
	body := make([]byte, size)
	made(body, 0)
	key := object.Key("cache/x/sha256:1/out")
	if class == object.Verified {
		key = object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(body)))
	}
	if class == object.Mutable {
		key = "sessions/1/head"
	}
	for _, s := range places {
		if _, err := s.Put(r.Context(), key, object.BytesSource(body), object.PutOptions{Version: "1"}); err != nil {
			r.Fatal(err)
		}
	}
	return key, body
}

// want reads an object and says where it has to come from, after how long, and
// how often the Store behind was asked so far.
func (r *fillRig) want(key object.Key, body []byte, tier object.Tier, took time.Duration, behind int) {
	r.Helper()
	began := time.Now()
	obj, err := r.Get(r.Context(), key, object.GetOptions{})
	if err != nil {
		r.Errorf("%s: %v", key, err)
		return
	}
	defer obj.Body.Close()
	got, err := io.ReadAll(obj.Body)
	if err != nil || !bytes.Equal(got, body) {
		r.Errorf("%s: %d of %d bytes, %v", key, len(got), len(body), err)
	}
	if obj.Tier != tier || time.Since(began) != took || len(r.behind.asked) != behind {
		r.Errorf("from %q after %v, %d questions behind; want %q, %v, %d", obj.Tier, time.Since(began), len(r.behind.asked), tier, took, behind)
	}
}

// inTime runs a test in virtual time.
func inTime(t *testing.T, test func(*fillRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newFillRig(t)) })
}
