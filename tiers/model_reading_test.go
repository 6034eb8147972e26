package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/micelio/micelio/object"
)

// A crowdReading is an answer that is being read, by somebody who may do other
// things meanwhile.
type crowdReading struct {
	*object.Object
	ctx  context.Context
	end  func()
	key  *modelKey
	from int64 // when it was asked for
	want []byte
	lie  bool // want is longer than the object: a clean end is wrong

	open  bool
	got   int
	sound bool // all bytes so far were right
	leave int  // where the reader leaves, -1 if at the end
}

// hold reads an answer to its end, or leaves it open for a while. That is for
// phases with memory to spare: who holds one fill's memory and waits for
// another's may wait for ever.
func (w *member) hold(r *crowdReading) {
	if !r.open {
		r.close()
		return
	}
	if w.phase.fillMemory == 0 && len(w.held) < 4 && w.rnd.IntN(4) == 0 {
		w.held = append(w.held, r)
		return
	}
	for r.open {
		w.advance(r)
	}
}

// readOn reads some more of an answer that is held.
func (w *member) readOn(i int) {
	r := w.held[i]
	w.advance(r)
	if !r.open {
		w.held = append(w.held[:i], w.held[i+1:]...)
	}
}

// end closes what is open, read or not.
func (w *member) end() {
	for _, r := range w.held {
		for r.open && w.rnd.IntN(100) > 0 {
			w.advance(r)
		}
		r.close()
	}
	w.cancels.Wait()
}

func (r *crowdReading) close() {
	r.Body.Close()
	r.end()
	r.open = false
}

// advance reads one piece.
func (w *member) advance(r *crowdReading) {
	if r.leave >= 0 && r.got > r.leave {
		w.count("left")
		r.close()
		return
	}
	if w.rnd.IntN(4) == 0 {
		runtime.Gosched()
	}
	n, err := r.Body.Read(w.buf[:1+w.rnd.IntN(len(w.buf))])
	r.sound = r.sound && r.got+n <= len(r.want) && bytes.Equal(w.buf[:n], r.want[r.got:r.got+n])
	r.got += n
	if !r.sound && !w.phase.flips && !r.lie {
		w.Errorf("%s from %s: other bytes around %d of %d", r.Key, r.Tier, r.got, len(r.want))
		r.close()
		return
	}
	if err != nil {
		w.judge(r, err)
		r.close()
	}
}

// judge holds the end of a body against what was promised. No part of an object
// can be proven, but what was asked for in whole.
func (w *member) judge(r *crowdReading, err error) {
	unproven := w.phase.flips && (r.Length < r.Size || r.SHA256.IsZero())
	switch {
	case err == io.EOF && (r.got != len(r.want) || r.lie || !r.sound && !unproven):
		w.Errorf("%s from %s: a clean end after %d of %d bytes, they are right: %t, they are too many: %t",
			r.Key, r.Tier, r.got, len(r.want), r.sound, r.lie)
	case err == io.EOF:
		w.count("read")
		w.count(string(r.Tier))
	case r.ctx.Err() != nil && errors.Is(err, r.ctx.Err()):
		w.count("cancelled")
	case w.phase.faulty || w.wasReplaced(r.key, r.from):
		w.count("broken")
	default:
		w.Errorf("%s from %s: %d of %d bytes, %v, and nothing is broken", r.Key, r.Tier, r.got, len(r.want), err)
	}
}

// wasReplaced reports whether the rest of a version may be gone.
func (w *member) wasReplaced(k *modelKey, since int64) bool {
	states := k.during(since, w.origin.clock.Add(1))
	return len(states) > 1 || !states[0].there // then a copy outlived it
}
