package peer

import (
	"net/http"
	"strconv"
	"sync/atomic"
)

// An epochMark is the epoch of this node's view as it travels.
type epochMark struct {
	of   func() uint64 // nil: there is none
	last atomic.Pointer[writtenEpoch]
}

type writtenEpoch struct {
	epoch  uint64
	values []string // never changed
}

// now returns the epoch of this moment, nil if there is none. It changes seldom,
// so it is written once.
func (m *epochMark) now() *writtenEpoch {
	if m.of == nil {
		return nil
	}
	epoch := m.of()
	if w := m.last.Load(); w != nil && w.epoch == epoch {
		return w
	}
	w := &writtenEpoch{epoch, []string{strconv.FormatUint(epoch, 16)}}
	m.last.Store(w)
	return w
}

// set marks a header, and returns the epoch as it stands there.
func (m *epochMark) set(header http.Header) {
	if w := m.now(); w != nil {
		header[headerEpoch] = w.values
	}
}

// other returns the epoch of a header if it is another than mine is.
func (m *epochMark) other(header http.Header) (epoch uint64, differs bool) {
	values, mine := header[headerEpoch], m.now()
	if len(values) != 1 || mine == nil || values[0] == mine.values[0] {
		return 0, false
	}
	epoch, err := strconv.ParseUint(values[0], 16, 64)
	return epoch, err == nil
}
