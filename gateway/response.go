package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/micelio/micelio/internal/bulk"
	"github.com/micelio/micelio/object"
)

// tierNone is the X-Cache of answers that no tier gave: errors, writes,
// listings.
const tierNone = "none"

// begin sends the status and the header. Whoever calls it has set everything
// that belongs to the answer's own kind.
func (x *exchange) begin(status int) {
	h := x.w.Header()
	if !x.in.stop() {
		h.Set("Connection", "close")
	}
	if x.tier == "" {
		h.Set("X-Cache", tierNone)
	}
	if x.node = h.Get("Micelio-Node"); x.node == "" {
		x.node = x.Node
		h.Set("Micelio-Node", x.node)
	}
	h["x-amz-request-id"] = []string{x.id}
	h.Set("X-Content-Type-Options", "nosniff")
	x.status = status
	x.w.WriteHeader(status)
}

// setInfo says where a read was answered. A Store that names no tier is an
// authority itself.
func (x *exchange) setInfo(info object.Info) {
	x.tier = info.Tier
	if x.tier == "" {
		x.tier = object.TierOrigin
	}
	h := x.w.Header()
	h.Set("X-Cache", string(x.tier))
	h.Set("Age", strconv.FormatInt(max(0, int64(info.Age/time.Second)), 10))
	if info.Node != "" {
		h.Set("Micelio-Node", info.Node)
	}
}

// sendEmpty answers without a body.
func (x *exchange) sendEmpty(status int) error {
	if status != http.StatusNoContent && status != http.StatusNotModified {
		x.w.Header().Set("Content-Length", "0")
	}
	x.begin(status)
	return nil
}

// sendXML answers with a document.
func (x *exchange) sendXML(status int, document any) error {
	doc, err := encodeXML(document)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	x.begin(status)
	if x.r.Method == http.MethodHead {
		return nil
	}
	return x.write(doc, true)
}

// write sends a part of the body, in pieces. The client has StallTimeout to take
// each; the deadline of the very last one stays, for what net/http has yet to
// flush.
func (x *exchange) write(p []byte, last bool) error {
	began := time.Now()
	for len(p) > 0 {
		_ = x.rc.SetWriteDeadline(began.Add(StallTimeout))
		n, err := x.w.Write(p[:min(len(p), max(x.piece, writePiece))])
		x.out += int64(n)
		if err != nil {
			return clientGone{err}
		}
		p = p[n:]
		now := time.Now()
		if x.piece = writePiece; now.Sub(began) < bulk.Haste {
			x.piece = bulk.Large
		}
		began = now
	}
	if !last {
		_ = x.rc.SetWriteDeadline(time.Time{})
	}
	return nil
}

// A clientGone is a failure to send, which is the client's business and not
// logged.
type clientGone struct{ error }

// copyBody sends the bytes of obj. The last piece is sent only after the body
// has ended cleanly: a Store that finds a fault at the very end is in time.
func (x *exchange) copyBody(obj *object.Object) error {
	if obj.Length == 0 {
		return expectEnd(obj.Body, nil)
	}
	if memory, ok := obj.Body.(io.WriterTo); ok && obj.Length > bulk.Small {
		return x.copyMemory(memory, obj.Length)
	}
	buf := x.buffers.Borrow()
	defer buf.Return()
	for left := obj.Length; left > 0; {
		p, asked, err := buf.Read(obj.Body, left)
		n := len(p)
		left -= int64(n)
		if left == 0 {
			if err := expectEnd(obj.Body, err); err != nil {
				return err
			}
			return x.write(p, true)
		}
		if n > 0 {
			if err := x.write(p, false); err != nil {
				return err
			}
			if n < asked {
				x.flushTrickle()
			}
			buf.Moved(n)
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// flushTrickle sends on what net/http would keep in its buffers, up to 6 KiB: the
// Store gave less than it was asked for although there is more to come, so it may
// be waiting too.
func (x *exchange) flushTrickle() {
	_ = x.rc.Flush() // a failure shows at the next write
}

// copyMemory sends a body of length bytes that writes itself, without a copy, the last
// one when it has ended cleanly.
func (x *exchange) copyMemory(body io.WriterTo, length int64) error {
	held := &bulk.Hold{W: sender{x}, Left: length}
	if _, err := body.WriteTo(held); err != nil {
		return err
	}
	last, err := held.Last()
	if err != nil {
		return err
	}
	return x.write(last, true)
}

// A sender sends parts of a body of which there is more.
type sender struct{ *exchange }

func (s sender) Write(p []byte) (int, error) {
	if err := s.write(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

var errTooLong = errors.New("the store's body is longer than announced")

// expectEnd reports whether body, whose last Read returned err, ends here.
func expectEnd(body io.Reader, err error) error {
	var one [1]byte
	for err == nil {
		var n int
		if n, err = body.Read(one[:]); n > 0 {
			return errTooLong
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// abort breaks the connection off, so that no client takes what it got for the
// whole. It does not return.
func (x *exchange) abort(err error) {
	x.aborted, x.err = true, err
	if !errors.As(err, new(clientGone)) && x.ctx().Err() == nil {
		x.Log.WarnContext(x.ctx(), "answer broken off", "op", x.op, "sent", x.out, "error", err)
	}
	panic(http.ErrAbortHandler)
}
