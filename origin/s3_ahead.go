package origin

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/micelio/micelio/object"
)

// A prefetch is a part that is read into memory before its turn.
type prefetch struct {
	part part
	done chan struct{} // closed when the following are set
	got  *fetched
	err  error

	stop context.CancelFunc
	s    *S3
	size int64 // of memory
}

// readAhead asks for the parts that follow, as far as there is memory for them:
// one connection to S3 brings 50 to 90 MB a second, whatever the network could.
func (b *s3Body) readAhead() {
	streams := b.s.cfg.Parallel
	if b.current != nil && b.current.turn != nil {
		streams-- // what is being read is one of them
	}
	for len(b.ahead) < streams && b.next < b.end {
		next := part{b.next, min(b.end, b.next+b.s.cfg.PartSize) - 1}
		size := next.last - next.first + 1
		if !b.s.memory.TryAcquire(size) {
			return
		}
		b.next = next.last + 1
		ctx, stop := context.WithCancel(b.ctx)
		p := &prefetch{part: next, done: make(chan struct{}), stop: stop, s: b.s, size: size}
		b.ahead = append(b.ahead, p)
		b.s.tasks.Go(func() {
			defer close(p.done)
			p.got, p.err = p.run(ctx, b.key, b.pin)
		})
	}
}

// run reads the part.
func (p *prefetch) run(ctx context.Context, key object.Key, pin object.ETag) (*fetched, error) {
	defer p.stop()
	got, err := p.s.fetch(ctx, key, p.part, pin)
	if err != nil {
		return nil, err
	}
	if got.offset != p.part.first || got.length != p.size || got.info.ETag != pin {
		got.close()
		return nil, fmt.Errorf("%w: S3 answered another part or version", object.ErrUnavailable)
	}
	one := &s3Body{s: p.s, ctx: ctx, key: key, pin: pin, pos: p.part.first, end: p.part.last + 1, next: p.part.last + 1}
	one.take(got)
	defer one.Close()
	buf := p.s.partBuffer(p.size)
	if _, err := io.ReadFull(one, *buf); err != nil {
		p.s.parts.Put(buf)
		return nil, err
	}
	return &fetched{
		info: got.info, offset: p.part.first, length: p.size,
		body: io.NopCloser(bytes.NewReader(*buf)), turn: nil,
		cancel: func(error) {
			p.s.parts.Put(buf)
			p.s.memory.Release(p.size)
		},
	}, nil
}

// partBuffer returns a buffer of size bytes. Clearing new ones of this size
// takes a tenth of the time of a read.
func (s *S3) partBuffer(size int64) *[]byte {
	if buf, ok := s.parts.Get().(*[]byte); ok && int64(cap(*buf)) >= size {
		*buf = (*buf)[:size]
		return buf
	}
	buf := make([]byte, size, s.cfg.PartSize)
	return &buf
}

// wait returns the part, whose memory the caller gives back with finish or
// close.
func (p *prefetch) wait(ctx context.Context) (*fetched, error) {
	select {
	case <-p.done:
		return p.got, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// forget gives up the parts that were asked for ahead.
func (b *s3Body) forget() {
	for _, p := range b.ahead {
		p.stop()
		b.s.tasks.Go(func() {
			<-p.done
			if p.got != nil {
				p.got.close()
			} else {
				p.s.memory.Release(p.size)
			}
		})
	}
	b.ahead, b.next = nil, 0
}
