package peer

import (
	"io"

	"github.com/micelio/micelio/internal/bulk"
)

// maxEmptyReads is how often a reader may return neither bytes nor an error
// where its end is expected.
const maxEmptyReads = 100

// A wholeReader reads exactly left bytes of r. The bytes of the read that
// completes them are handed out only after r ended cleanly: once all announced
// bytes are on the wire the other side takes them as complete, so a break that
// shows only at the end must be known before.
type wholeReader struct {
	r    io.Reader
	left int64
	err  error // sticky outcome; io.EOF once complete
}

func (w *wholeReader) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.left == 0 {
		w.err = w.end()
		return 0, w.err
	}
	n, err := w.r.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	switch {
	case w.left == 0:
		if err == nil {
			err = w.end()
		}
		if err != io.EOF {
			n = 0
		}
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	w.err = err
	return n, err
}

// View returns bytes that r has in memory, see bulk.Viewer.
func (w *wholeReader) View(most int64) []byte {
	v, ok := w.r.(bulk.Viewer)
	if !ok || w.err != nil || w.left == 0 {
		return nil
	}
	p := v.View(min(most, w.left))
	w.left -= int64(len(p))
	if w.left == 0 {
		if w.err = w.end(); w.err != io.EOF {
			return nil
		}
	}
	return p
}

// end returns io.EOF if r ends here, and otherwise the error that says what it
// does instead.
func (w *wholeReader) end() error {
	var probe [1]byte
	for range maxEmptyReads {
		n, err := w.r.Read(probe[:])
		switch {
		case n > 0:
			return bulk.ErrTooLong
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}
