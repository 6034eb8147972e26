package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A clientBody is the request body as it comes off the wire. It gives up on a
// client that stalls, and it ends with the exchange: a Store that still holds
// a reader when its Put has returned (an HTTP transport may) gets an error,
// not the bytes of the connection's next request.
type clientBody struct {
	rc   *http.ResponseController
	body io.Reader

	// reads is held over each Read: it exists to let stop wait for the last one.
	reads sync.Mutex

	count atomic.Int64

	mu      sync.Mutex
	reading bool // a Read is under way
	done    bool // the body has ended cleanly
	stopped bool
}

var errStopped = errors.New("the request has been answered")

func (b *clientBody) Read(p []byte) (int, error) {
	b.reads.Lock()
	defer b.reads.Unlock()
	if err := b.startRead(); err != nil {
		return 0, err
	}
	n, err := b.body.Read(p)
	b.count.Add(int64(n))
	b.endRead(err)
	return n, err
}

// startRead gives the next Read its time. Deadlines that cannot be set (a
// ResponseWriter without a connection) are done without.
func (b *clientBody) startRead() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.done:
		return io.EOF
	case b.stopped:
		return errStopped
	}
	b.reading = true
	_ = b.rc.SetReadDeadline(time.Now().Add(StallTimeout))
	return nil
}

// endRead takes the deadline away again: the Store may take its time between
// two reads, and on HTTP/2 a deadline that passes ends the stream even when
// nobody reads.
func (b *clientBody) endRead(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.done = err == io.EOF
	if !b.stopped {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
}

// stop ends reading and reports whether the connection can serve another
// request. It cannot if a Read was woken: should the body have ended at that
// very moment, the deadline hits net/http's own watch over the connection. If
// the body has not ended, net/http reads on to its end, within drainTimeout
// and limits of its own.
func (b *clientBody) stop() (reusable bool) {
	b.mu.Lock()
	interrupted, first := b.reading, !b.stopped
	b.stopped = true
	if interrupted {
		_ = b.rc.SetReadDeadline(time.Unix(1, 0)) // long past: wakes the Read
	}
	b.mu.Unlock()

	b.reads.Lock()
	defer b.reads.Unlock()
	if first && !b.done {
		_ = b.rc.SetReadDeadline(time.Now().Add(drainTimeout))
	}
	return !interrupted
}

// read returns how many bytes have come.
func (b *clientBody) read() int64 { return b.count.Load() }

// bodyError returns the answer to a body that could not be read to its end.
func bodyError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &apiError{status: http.StatusBadRequest, code: "RequestTimeout", cause: err,
			message: "Your socket connection to the server was not read from or written to within the timeout period."}
	}
	return &apiError{status: http.StatusBadRequest, code: "IncompleteBody", cause: err,
		message: "The request body ended early or its framing is malformed."}
}
