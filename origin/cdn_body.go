package origin

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
)

const (
	// cdnMinRate is what a body must bring, in bytes a second, while somebody
	// waits for it; cdnRateWindow is how much waiting is looked at at once. Time
	// that the reader takes does not count.
	cdnMinRate    = 64 << 10
	cdnRateWindow = 10 * time.Second
)

var errClosedBody = errors.New("origin: read of a closed body")

// A cdnBody streams a large object from the CDN and, if that breaks off, from
// upstream. Its last bytes are handed out after the whole has been proven.
type cdnBody struct {
	read     *cdnRead
	size     int64
	off      int64         // bytes handed out
	src      io.ReadCloser // nil after it broke
	broken   error         // why
	upstream bool          // src is upstream's
	hash     hash.Hash     // of what was handed out
	waited   time.Duration // for the CDN in this window of rate
	brought  int64         // bytes in it
	err      error         // how it ended
}

func (b *cdnBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.size-b.off)]
	for {
		if b.src == nil {
			if b.err = b.resume(); b.err != nil {
				return 0, b.err
			}
		}
		n, err := b.receive(p)
		b.hash.Write(p[:n])
		b.off += int64(n)
		if b.off == b.size {
			return b.finish(n)
		}
		if b.off >= cdnWhole {
			b.read.settle(pace.OK) // a body may take hours, which no breaker waits for
		}
		if err != nil {
			b.src.Close()
			b.src, b.broken = nil, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// receive reads once from where the bytes come from, with a clock if that is the
// CDN.
func (b *cdnBody) receive(p []byte) (int, error) {
	if b.upstream {
		return b.src.Read(p)
	}
	timeout := b.read.cdn.cfg.Timeout
	b.read.clock.Reset(timeout)
	start := time.Now()
	n, err := b.src.Read(p)
	b.read.clock.Stop()
	b.waited += time.Since(start)
	b.brought += int64(n)
	if b.waited >= cdnRateWindow {
		if float64(b.brought) < cdnMinRate*b.waited.Seconds() && err == nil {
			err = errCDNSlow
		}
		b.waited, b.brought = 0, 0
	}
	return n, err
}

// finish ends the body with the n bytes that complete it, if they do.
func (b *cdnBody) finish(n int) (int, error) {
	b.src.Close()
	b.src, b.err = nil, io.EOF
	if b.read.proof.accepts(b.hash) {
		b.read.end(pace.OK)
		return n, nil
	}
	b.read.wrong()
	b.read.end(pace.Failure)
	b.err = wrap("get", b.read.key, fmt.Errorf("%w: the CDN had wrong bytes", object.ErrDigest))
	return 0, b.err
}

// resume goes on from upstream, once. What has been handed out was proven by
// nobody, so the proof still is one of the whole.
func (b *cdnBody) resume() error {
	r := b.read
	if err := r.ctx.Err(); err != nil {
		return wrap("get", r.key, err)
	}
	if b.upstream {
		if b.broken == io.EOF {
			b.broken = io.ErrUnexpectedEOF
		}
		return b.broken
	}
	miss := r.failure(b.broken)
	r.end(miss.outcome)
	r.cdn.count(func(s *CDNStats) { s.Resumed++ })
	r.cdn.cfg.Log.DebugContext(r.ctx, "continued upstream", "key", r.key, "at", b.off, "reason", miss.reason, "err", miss.err)
	opt := object.GetOptions{Range: object.From(b.off)}
	if r.known != nil {
		opt.IfMatch = object.MatchETag(r.known.ETag)
	}
	obj, err := r.cdn.upstream.Get(r.ctx, r.key, opt)
	switch {
	case errors.Is(err, object.ErrNotFound), errors.Is(err, object.ErrPrecondition), errors.Is(err, object.ErrRange):
		// It has been replaced. That is no answer to this read, which has begun.
		return wrap("get", r.key, fmt.Errorf("%w: the rest is gone: %v", object.ErrUnavailable, err))
	case err != nil:
		return err
	case obj.Offset != b.off || obj.Length != b.size-b.off || obj.Size != b.size:
		obj.Body.Close()
		return wrap("get", r.key, fmt.Errorf("%w: upstream has another object of %d bytes", object.ErrUnavailable, obj.Size))
	}
	b.src, b.upstream = obj.Body, true
	return nil
}

// Close ends the read. A reader who leaves early says nothing about the CDN.
func (b *cdnBody) Close() error {
	if b.src != nil {
		b.src.Close()
		b.src = nil
	}
	if b.err == nil {
		b.err = errClosedBody
	}
	b.read.end(pace.Ignore)
	return nil
}
