package peer

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/micelio/micelio/object"
)

// An upload is the body of a PUT as net/http reads it, on a goroutine of its
// own. It opens the source at the first read, and refuses reads before the peer
// asked for the body and after the call is over, whatever net/http may think:
// so an upload that was not opened is proof that no byte was sent.
type upload struct {
	call    *call
	src     object.Source
	commit  *budget     // runs once the body is complete
	asked   atomic.Bool // "100 Continue" came
	settled atomic.Bool // no more reads

	// turn holds the one token that reading the source takes, so that Close can
	// wait for a read for as long as the source takes. It is a channel because
	// simulated time goes on while somebody waits for one, and not for a mutex.
	turn chan struct{}

	reader io.Reader // nil until opened
	closer io.Closer
	err    error // of the source; nil while it is fine
	whole  bool  // all of the source was handed out
}

var (
	errNotAsked = errors.New("answered without asking for the body")
	errSettled  = errors.New("upload is over")
)

func newUpload(l *call, src object.Source) *upload {
	u := &upload{
		call: l, src: src, commit: &budget{l.pool.cfg.CommitTimeout, errCommit},
		turn: make(chan struct{}, 1),
	}
	u.turn <- struct{}{}
	return u
}

// ask notes that the peer wants the body.
func (u *upload) ask() {
	u.asked.Store(true)
	u.call.allow(inactive)
}

// Read reads the source. The time between two reads is that of the network, and
// bounded; the time in them is the source's own.
func (u *upload) Read(p []byte) (int, error) {
	<-u.turn
	defer func() { u.turn <- struct{}{} }()
	switch {
	case u.settled.Load():
		return 0, errSettled
	case !u.asked.Load():
		return 0, errNotAsked
	}
	u.call.pause()
	if u.reader == nil {
		if u.err = u.open(); u.err != nil {
			return 0, u.err
		}
	}
	n, err := u.reader.Read(p)
	switch err {
	case nil:
		u.call.allow(inactive)
	case io.EOF:
		u.whole = true
		u.call.allow(u.commit)
	default:
		u.err = err
	}
	return n, err
}

func (u *upload) open() error {
	r, err := object.OpenExact(u.src)
	if err != nil {
		u.reader = failedReader{err}
		return err
	}
	u.reader, u.closer = r, r
	if size := u.src.Size(); size >= 0 {
		u.reader = &wholeReader{r: r, left: size}
	}
	return nil
}

// Close waits for a read that is under way and closes the source. After it
// returned the source is not touched again. net/http and the call both close an
// upload, once or often, also while it is read.
func (u *upload) Close() error {
	u.settled.Store(true)
	<-u.turn
	defer func() { u.turn <- struct{}{} }()
	if u.closer == nil {
		return nil
	}
	err := u.closer.Close()
	u.closer = nil
	return err
}

// opened reports whether the source was opened; only after Close.
func (u *upload) opened() bool { return u.reader != nil }

type failedReader struct{ err error }

func (f failedReader) Read([]byte) (int, error) { return 0, f.err }
