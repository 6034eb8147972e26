package origin

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"github.com/micelio/micelio/object"
)

// A witness is a Source that knows what its readers were given. The store may
// stop reading at any point; finish then reads the rest.
type witness struct {
	src     object.Source
	withMD5 bool

	mu      sync.Mutex // guards the following
	readers []*witnessReader
}

func (w *witness) Size() int64 { return w.src.Size() }

// Open implements object.Source.
func (w *witness) Open() (io.ReadCloser, error) { return w.open() }

func (w *witness) open() (*witnessReader, error) {
	r, err := object.OpenExact(w.src)
	if err != nil {
		return nil, err
	}
	t := &witnessReader{src: r, sha: sha256.New()}
	if w.withMD5 {
		t.md = md5.New()
	}
	w.mu.Lock()
	w.readers = append(w.readers, t)
	w.mu.Unlock()
	return t, nil
}

// finish reads what is left of the last reader and returns the digests of all
// its bytes; the MD5 is nil if it was not asked for. The store is done with it.
func (w *witness) finish(ctx context.Context) (object.Digest, []byte, error) {
	w.mu.Lock()
	var t *witnessReader
	if n := len(w.readers); n > 0 {
		t = w.readers[n-1]
	}
	w.mu.Unlock()
	if t == nil {
		var err error
		if t, err = w.open(); err != nil {
			return object.Digest{}, nil, err
		}
	}
	buf := make([]byte, copySize)
	for t.err == nil {
		if err := ctx.Err(); err != nil {
			return object.Digest{}, nil, err
		}
		_, _ = t.Read(buf) // how it ends stays in t.err
	}
	if t.err != io.EOF {
		return object.Digest{}, nil, t.err
	}
	var sum []byte
	if t.md != nil {
		sum = t.md.Sum(nil)
	}
	return object.Digest(t.sha.Sum(nil)), sum, nil
}

// close closes every reader.
func (w *witness) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.readers {
		t.src.Close()
	}
}

// A witnessReader digests what it hands out. Closing it does not close the
// source, so that finish can go on where the store stopped.
type witnessReader struct {
	src io.ReadCloser
	sha hash.Hash
	md  hash.Hash // nil if nobody asks for it
	err error     // how reading ended, io.EOF for whole
}

func (t *witnessReader) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.src.Read(p)
	t.sha.Write(p[:n])
	if t.md != nil {
		t.md.Write(p[:n])
	}
	t.err = err
	return n, err
}

func (t *witnessReader) Close() error { return nil }
