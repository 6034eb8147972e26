package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/micelio/micelio/object"
)

// An s3Body yields the bytes from pos to end of one version. It reads them from
// one answer after the other; while one is being read the next parts may be
// under way already. What breaks off is asked for again, from where it broke.
// It belongs to one reader.
type s3Body struct {
	s   *S3
	ctx context.Context
	key object.Key
	pin object.ETag

	pos, end int64
	current  *fetched // carries the bytes from pos on; nil between two answers
	left     int64    // bytes that current still has for us
	broken   int      // answers that broke off since the last byte
	ahead    []*prefetch
	next     int64 // first byte that nobody has been asked for
	err      error // sticky
}

func (s *S3) newBody(ctx context.Context, key object.Key, got *fetched, from, to int64) io.ReadCloser {
	b := &s3Body{s: s, ctx: ctx, key: key, pin: got.info.ETag, pos: from, end: to}
	b.take(got)
	return b
}

// take makes an answer the one to read.
func (b *s3Body) take(got *fetched) {
	b.current, b.left = got, min(got.length, b.end-b.pos)
	b.next = max(b.next, b.pos+b.left)
	// Who reads slowly must not take the place of others: after its time the
	// request counts no more, it only keeps its connection.
	if got.turn != nil {
		got.release = time.AfterFunc(b.s.cfg.Timeout, got.turn.free)
	}
	got.whole = b.left == got.length
}

// Read implements io.Reader.
func (b *s3Body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.err == nil {
		if b.pos == b.end {
			b.err = io.EOF
			break
		}
		if b.current == nil {
			if b.err = b.advance(); b.err != nil {
				break
			}
		}
		b.readAhead()
		n, err := b.readCurrent(p)
		if n > 0 {
			return n, nil // an error comes back with the next call
		}
		b.err = err
	}
	return 0, b.err
}

// readCurrent reads from the answer at hand and lets go of it at its end. No
// byte and no error: go on with the next answer.
func (b *s3Body) readCurrent(p []byte) (int, error) {
	n, err := b.patiently(p[:min(int64(len(p)), b.left)])
	b.pos += int64(n)
	b.left -= int64(n)
	if n > 0 {
		b.broken = 0
	}
	if b.left == 0 {
		b.drop()
		return n, nil
	}
	if err == nil {
		return n, nil
	}
	b.drop()
	if b.ctx.Err() != nil {
		return n, b.ctx.Err()
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.resume(err)
}

// patiently reads from the answer, but not for ever.
func (b *s3Body) patiently(p []byte) (int, error) {
	if b.current.turn == nil {
		return b.current.body.Read(p) // from memory
	}
	clock := time.AfterFunc(b.s.bodyPatience(), func() { b.current.cancel(errNoAnswer) })
	n, err := b.current.body.Read(p)
	if !clock.Stop() && err != nil {
		err = errNoAnswer
	}
	return n, err
}

// bodyPatience is how long a body may stand still.
func (s *S3) bodyPatience() time.Duration { return s.cfg.Timeout * 3 / 2 }

// resume decides whether a body that broke off goes on.
func (b *s3Body) resume(why error) error {
	if b.broken++; b.broken >= readAttempts || !b.s.pace.again(b.ctx, b.broken) {
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		return fmt.Errorf("origin: body of %q broke off at byte %d: %w: %w", b.key, b.pos, object.ErrUnavailable, why)
	}
	b.s.pace.counts.resumed.Add(1)
	return nil
}

// advance gets the answer that carries the byte at pos.
func (b *s3Body) advance() error {
	if len(b.ahead) > 0 && b.ahead[0].part.first == b.pos {
		got, err := b.ahead[0].wait(b.ctx)
		if err == nil {
			b.ahead = b.ahead[1:]
			b.take(got)
			return nil
		}
		b.forget() // and ask for the part itself, which says what is wrong
	}
	last := min(b.end, b.pos+b.s.cfg.PartSize) - 1
	if len(b.ahead) > 0 {
		last = min(last, b.ahead[0].part.first-1)
	}
	got, err := b.s.fetch(b.ctx, b.key, part{b.pos, last}, b.pin)
	if err == nil && (got.offset != b.pos || got.info.ETag != b.pin) {
		got.close()
		err = fmt.Errorf("%w: S3 answered another part or version", object.ErrUnavailable)
	}
	if err != nil {
		return fmt.Errorf("origin: rest of %q from byte %d: %w", b.key, b.pos, replaced(err))
	}
	b.take(got)
	return nil
}

// replaced makes the refusals that follow a change of the object what they are
// for a reader who has a part already: the rest of it is not to be had.
func replaced(err error) error {
	if errors.Is(err, object.ErrPrecondition) || errors.Is(err, object.ErrNotFound) || errors.Is(err, object.ErrRange) {
		return fmt.Errorf("%w: the object was replaced while it was being read (%v)", object.ErrUnavailable, err)
	}
	return err
}

// drop lets go of the current answer.
func (b *s3Body) drop() {
	got := b.current
	b.current = nil
	got.finish(b.left)
}

// finish gives an answer back. left says how much of it was not read.
func (f *fetched) finish(left int64) {
	if f.release != nil {
		f.release.Stop()
	}
	if left == 0 && f.whole {
		// The end of the body must be seen for the connection to be kept.
		_, _ = f.body.Read(make([]byte, 1))
	}
	f.close()
}

// Close implements io.Closer.
func (b *s3Body) Close() error {
	if b.current != nil {
		b.drop()
	}
	b.forget()
	if b.err == nil {
		b.err = errClosed
	}
	return nil
}

var errClosed = errors.New("origin: read of a closed body")
