package peer

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/micelio/micelio/internal/bulk"
	"github.com/micelio/micelio/object"
)

func (x *exchange) get(key object.Key) {
	if options, ok := cutCached(x.options); ok {
		x.getCached(key, options)
		return
	}
	opt, err := decodeGet(x.options)
	if err != nil {
		x.malformed(err)
		return
	}
	working := x.working()
	defer working.done() // also if the Store panics: it must not speak after the handler
	obj, err := x.store.Get(x.ctx, key, opt)
	working.done()
	if err != nil {
		x.fail(err)
		return
	}
	x.answer(key, obj)
}

// answer sends an object, or the part of it that was asked for.
func (x *exchange) answer(key object.Key, obj *object.Object) {
	defer obj.Body.Close()
	x.describe(obj.Info)
	header := x.w.Header()
	header["Content-Length"] = []string{strconv.FormatInt(obj.Length, 10)}
	status := http.StatusOK
	if obj.Length != obj.Size {
		status = http.StatusPartialContent
		header["Content-Range"] = []string{contentRange(obj.Offset, obj.Length, obj.Size)}
	}
	x.respond(status)
	x.stream(key, obj)
}

// stream writes the body of obj. If it cannot, it breaks the connection: an
// answer must not end cleanly without all its bytes.
func (x *exchange) stream(key object.Key, obj *object.Object) {
	out := &writer{exchange: x}
	var err error
	if memory, ok := obj.Body.(io.WriterTo); ok && obj.Length > bufferSize {
		err = out.hold(memory, obj.Length)
	} else {
		err = out.copy(&wholeReader{r: obj.Body, left: obj.Length})
	}
	switch {
	case err == nil:
		return
	case out.err != nil || x.ctx.Err() != nil:
		x.cfg.Log.DebugContext(x.ctx, "peer left during a body", "from", x.r.RemoteAddr, "key", key, "err", err)
	default:
		x.seen.Aborted = true
		x.cfg.Log.WarnContext(x.ctx, "body broke, connection to peer closed", "from", x.r.RemoteAddr, "key", key, "err", err)
	}
	x.seen.Err = err
	panic(http.ErrAbortHandler)
}

func (x *exchange) head(key object.Key) {
	if options, ok := cutCached(x.options); ok {
		x.headCached(key, options)
		return
	}
	opt, err := decodeHead(x.options)
	if err != nil {
		x.malformed(err)
		return
	}
	working := x.working()
	defer working.done() // also if the Store panics: it must not speak after the handler
	info, err := x.store.Head(x.ctx, key, opt)
	working.done()
	if err != nil {
		x.fail(err)
		return
	}
	x.describe(info)
	x.respond(http.StatusOK)
}

func (x *exchange) put(key object.Key) {
	opt, size, err := decodePut(x.options)
	if err == nil && x.r.ContentLength >= 0 && size != x.r.ContentLength {
		err = fmt.Errorf("%w: size %d, Content-Length %d", errField, size, x.r.ContentLength)
	}
	if err != nil {
		x.malformed(err)
		return
	}
	in := &reader{exchange: x}
	src := object.ReaderSource(in, size)
	if size == 0 {
		// A Store may know that there is nothing to read. That there is nothing
		// is known only at the end of the body, so it is read here.
		if _, err := io.Copy(io.Discard, &wholeReader{r: in}); err != nil {
			x.refuse(internal, fmt.Errorf("reading an empty body: %w", err))
			return
		}
		src = object.BytesSource(nil)
	}
	info, err := x.store.Put(x.ctx, key, src, opt)
	defer in.linger()
	if err != nil {
		x.fail(err)
		return
	}
	x.describe(info)
	x.w.Header()["Content-Length"] = []string{"0"}
	x.respond(http.StatusOK)
}

func (x *exchange) delete(key object.Key) {
	opt, err := decodeDelete(x.options)
	if err != nil {
		x.malformed(err)
		return
	}
	if err := x.store.Delete(x.ctx, key, opt); err != nil {
		x.fail(err)
		return
	}
	x.respond(http.StatusNoContent)
}

// respond sends the status and the header.
func (x *exchange) respond(status int) {
	extend(x.conn.SetWriteDeadline)
	x.prove(status)
	x.seen.Status = status
	x.w.WriteHeader(status)
}

// extend gives a connection StuckTimeout for its next step. A ResponseWriter
// without deadlines, as behind a middleware, goes without.
func extend(setDeadline func(time.Time) error) { _ = setDeadline(time.Now().Add(StuckTimeout)) }

// writeUnit is the most that has to go out within StuckTimeout, in bytes.
const writeUnit = 256 << 10

// A writer writes an answer and moves its deadline along.
type writer struct {
	*exchange
	err error // the first of the connection
}

func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		extend(w.conn.SetWriteDeadline)
		m, err := w.w.Write(p[:min(len(p), writeUnit)])
		n, p, w.err = n+m, p[m:], err
		w.seen.BytesOut += int64(m)
	}
	return n, w.err
}

// hold writes all of a body of length bytes that writes itself, the last one when it
// has ended cleanly.
func (w *writer) hold(body io.WriterTo, length int64) error {
	held := &bulk.Hold{W: w, Left: length}
	if _, err := body.WriteTo(held); err != nil {
		return err
	}
	last, err := held.Last()
	if err == nil {
		_, err = w.Write(last)
	}
	return err
}

// copy writes all of a body. Where the body has less at hand than the buffer
// holds it may be waiting for more, and what net/http would keep in its own
// buffers goes out, so that a reader on another node is not behind by it.
func (w *writer) copy(body *wholeReader) error {
	lent := w.buffers.Borrow()
	defer lent.Return()
	for {
		p, asked, err := lent.Read(body, math.MaxInt64)
		n := len(p)
		if n > 0 {
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n < asked:
			_ = w.conn.Flush() // a failure shows at the next write
		}
		lent.Moved(n)
	}
}

// A reader reads the body of a request and moves its deadline along. The first
// read also writes: it asks for the body.
type reader struct {
	*exchange
	asked, ended bool
}

func (r *reader) Read(p []byte) (int, error) {
	if !r.asked {
		r.asked = true
		extend(r.conn.SetWriteDeadline)
	}
	extend(r.conn.SetReadDeadline)
	n, err := r.r.Body.Read(p)
	r.read.Add(int64(n))
	if err != nil {
		// After its body net/http reads on, to notice a client that leaves; that
		// must not time out while the Store makes the object durable.
		r.ended = true
		_ = r.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// lingerTimeout is how long a client may take to notice an answer that came in
// the middle of its body. net/http allows as much for the same reason.
const lingerTimeout = 500 * time.Millisecond

// linger sends the answer and reads on, where a client is still sending. To
// close the connection on unread bytes would reset it, and the reset overtakes
// the answer.
func (r *reader) linger() {
	if !r.asked || r.ended || r.conn.Flush() != nil {
		return
	}
	_ = r.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	_, _ = io.Copy(io.Discard, r.r.Body) // until the client hangs up
}
