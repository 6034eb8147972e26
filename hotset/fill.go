package hotset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

const (
	// maxFills is how many copies are fetched at once, and how many more wait: a
	// hot key that finds no place is read again at once, and asks again.
	maxFills = 8

	// fillTimeout ends a fetch. One that takes so long is of no use: it is longer
	// than a copy lives.
	fillTimeout = 10 * time.Second

	// sweepInterval is how often copies that have ended give back their memory.
	sweepInterval = time.Second
)

// A fill fetches a copy.
type fill struct {
	key  object.Key
	hash uint64
	room int64    // what the copy will take, at most
	old  *hotCopy // that it renews, nil if it is the first

	void bool // the key was written since it began; guarded by Store.mu
}

// A fetched is what a fill brings.
type fetched struct {
	*hotCopy
	again bool // it is the old copy's bytes, whose memory is taken already
}

var (
	errCooled = errors.New("the key is not hot any more")
	errNoRoom = errors.New("there is no room for a copy")
	errVoid   = errors.New("the key was written meanwhile")
)

// Run fetches copies until ctx ends, and returns when nothing is under way any
// more. It is called once, and returns nil.
func (s *Store) Run(ctx context.Context) error {
	var fills sync.WaitGroup
	defer fills.Wait()
	for range maxFills {
		fills.Go(func() {
			for {
				select {
				case f := <-s.jobs:
					s.run(ctx, f)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-sweep.C:
			s.sketch.pass(0) // a rate that has fallen lets more reads be noted
			s.mu.Lock()
			s.sweepLocked(time.Now())
			s.mu.Unlock()
		case <-ctx.Done():
			return nil
		}
	}
}

// begin hands a fill to Run, unless there is one of the key or too many of others.
func (s *Store) begin(f *fill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fills[f.key] == nil {
		select {
		case s.jobs <- f:
			s.fills[f.key] = f
			return
		default:
		}
	}
	if f.old != nil {
		f.old.renewing.Store(false)
	}
}

// run carries out a fill. If it brings nothing, an old copy lives on to its end,
// and the next read of the key that is noted begins another fill.
func (s *Store) run(ctx context.Context, f *fill) {
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	got, err := s.fetch(ctx, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fills, f.key)
	if err == nil {
		err = s.keepLocked(f, got)
	}
	if errors.Is(err, object.ErrNotFound) {
		s.dropLocked(f.hash, f.key)
	}
	s.counters.ended(err, got.again)
}

// fetch returns the copy that a fill brings, whose memory has been taken.
func (s *Store) fetch(ctx context.Context, f *fill) (fetched, error) {
	heat := s.sketch.of(f.hash)
	if f.old != nil {
		if !s.hot(heat, keepFactor) || !s.cfg.Elsewhere(f.key) {
			return fetched{}, errCooled
		}
		asked := time.Now()
		info, err := s.cfg.Below.Head(ctx, f.key, object.HeadOptions{})
		switch {
		case err != nil:
			return fetched{}, err
		case info.ETag == f.old.info.ETag && info.Version == f.old.info.Version:
			next := &hotCopy{hash: f.old.hash, info: f.old.info, bytes: f.old.bytes, cost: f.old.cost, born: f.old.born}
			next.live(asked)
			return fetched{next, true}, nil
		case info.Size > s.maxObject:
			return fetched{}, errNoRoom
		}
		f.room = roomFor(info) // somebody has deleted it and stored something else
	}
	if !s.take(f.room, heat.rate) {
		return fetched{}, errNoRoom
	}
	c, err := s.read(ctx, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.giveBackLocked(f.room)
		return fetched{}, err
	}
	s.giveBackLocked(f.room - c.cost)
	return fetched{hotCopy: c}, nil
}

// read reads an object whole, and proves it where its key or its owner says how.
func (s *Store) read(ctx context.Context, f *fill) (*hotCopy, error) {
	asked := time.Now()
	obj, err := s.cfg.Below.Get(ctx, f.key, object.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer obj.Body.Close()
	if obj.Node == "" { // this node's own answer, as in consider
		return nil, errCooled
	}
	if obj.Length != obj.Size || obj.Info.Key != f.key {
		return nil, fmt.Errorf("hotset: %d of %d bytes of %q in answer to a read of all of %q", obj.Length, obj.Size, obj.Info.Key, f.key)
	}
	if roomFor(obj.Info) > f.room {
		return nil, errNoRoom
	}
	content, want := obj.Body, obj.SHA256
	if class, digest := s.cfg.Class(f.key); class == object.Verified {
		want = digest
	}
	if !want.IsZero() {
		content = object.VerifyBody(content, obj.Size, want)
	}
	c := &hotCopy{hash: f.hash, info: keepable(obj.Info), bytes: buffer(obj.Size), born: asked.Add(-obj.Age)}
	c.info.SHA256 = want
	c.cost = costOf(c.info, int64(cap(c.bytes)))
	if err := readAll(content, c.bytes); err != nil {
		return nil, err
	}
	if err := readAll(obj.Body, nil); err != nil { // a proof ends with the last byte that was announced
		return nil, err
	}
	c.live(asked)
	return c, nil
}

// readAll fills p, and fails unless r then ends cleanly.
func readAll(r io.Reader, p []byte) error {
	if _, err := io.ReadFull(r, p); err != nil {
		if err == io.EOF { // which is what an empty reader says, and not that it is right
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	var one [1]byte
	switch n, err := io.ReadFull(r, one[:]); {
	case n > 0:
		return errors.New("hotset: more bytes than announced")
	case err != io.EOF:
		return err
	}
	return nil
}

// live sets the times of a copy that was asked for at this moment.
func (c *hotCopy) live(asked time.Time) {
	life := minLife + rand.N(MaxLife-minLife)
	c.renew, c.ends = asked.Add(life/2+rand.N(life/4)), asked.Add(life)
}
