package bulk

import (
	"errors"
	"io"
)

// ErrTooLong says that a body has more bytes than were announced.
var ErrTooLong = errors.New("more bytes than announced")

// A Hold passes on all bytes but the last of a body that writes itself, without a
// copy: it cannot be asked whether it ended cleanly before it has written all. It is
// used by one goroutine.
type Hold struct {
	W    io.Writer
	Left int64 // bytes that are still to come, at first all of the body

	last [1]byte
}

// Write passes p on. Its error is ErrTooLong if those are more bytes than are left.
func (h *Hold) Write(p []byte) (int, error) {
	if int64(len(p)) > h.Left {
		return 0, ErrTooLong
	}
	h.Left -= int64(len(p))
	if h.Left > 0 || len(p) == 0 {
		return h.W.Write(p)
	}
	n, err := h.W.Write(p[:len(p)-1])
	if err != nil {
		return n, err
	}
	h.last[0] = p[n]
	return len(p), nil
}

// Last returns the last byte, to be sent now that the body has ended cleanly, or
// io.ErrUnexpectedEOF if not all of it has come.
func (h *Hold) Last() ([]byte, error) {
	if h.Left > 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return h.last[:], nil
}
