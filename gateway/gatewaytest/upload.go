package gatewaytest

import (
	"errors"
	"io"
	"sync"

	"github.com/micelio/micelio/object"
)

// An upload is a source as net/http reads it, on a goroutine of its own that
// may outlive the request. It remembers how the source ended, since net/http
// reports something else when the node answers first.
type upload struct {
	size int64 // -1 if it is known only at the end

	mu     sync.Mutex // held over reads of the source: it exists to let finish wait for the last one
	src    io.ReadCloser
	n      int64 // bytes handed out
	err    error // of the source; nil while it is fine
	closed bool
}

var errFinished = errors.New("the request is over")

func openUpload(src object.Source) (*upload, error) {
	r, err := object.OpenExact(src)
	if err != nil {
		return nil, err
	}
	return &upload{size: src.Size(), src: r}, nil
}

// Read withholds the bytes that complete the size until the source has ended
// cleanly: with them the node has a whole upload.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return 0, errFinished
	}
	n, err := u.src.Read(p)
	for err == nil && u.n+int64(n) == u.size {
		_, err = u.src.Read(make([]byte, 1)) // one byte more is an error of an exact source
	}
	if err != nil && err != io.EOF {
		u.err = err
		return 0, err
	}
	u.n += int64(n)
	return n, err
}

// finish ends the reading and returns how many bytes were read and, if the
// source failed, why.
func (u *upload) finish() (int64, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if err := u.src.Close(); u.err == nil {
		u.err = err
	}
	return u.n, u.err
}
