package origin

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/micelio/micelio/object"
)

// A held is the beginning of a source, or all of it, in memory or, if there is
// none left, in a file without a name. Whoever holds it calls release.
type held struct {
	s      *S3
	memory int64    // taken from s.memory
	file   *os.File // nil while the bytes are in memory
	buf    []byte
	size   int64 // bytes held

	rest   io.ReadCloser // what follows
	ended  bool          // nothing follows
	md5    hash.Hash     // of the bytes held; nil if nobody asked
	sha256 hash.Hash
}

// hold opens a source and takes in up to limit bytes and one more.
func (s *S3) hold(ctx context.Context, src object.Source, limit int64, withMD5 bool) (*held, error) {
	rest, err := object.OpenExact(src)
	if err != nil {
		return nil, fmt.Errorf("open the source: %w", err)
	}
	h := &held{s: s, rest: rest, sha256: sha256.New()}
	if withMD5 {
		h.md5 = md5.New()
	}
	need := limit + 1
	if size := src.Size(); size >= 0 {
		need = min(need, size+1)
	}
	if err = h.room(need); err == nil {
		err = h.takeIn(ctx, need)
	}
	if err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// room finds a place for n bytes. A file is no worse than memory but slower.
func (h *held) room(n int64) error {
	if h.s.memory.TryAcquire(n) {
		h.memory = n
		h.buf = make([]byte, 0, n)
		return nil
	}
	f, err := newSpool(h.s.cfg.SpoolDir)
	h.file = f
	return err
}

// newSpool makes a file that is gone when it is closed.
func newSpool(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "micelio-upload-*")
	if err != nil {
		return nil, ioError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, ioError(err)
	}
	return f, nil
}

// takeIn reads n bytes or to the end.
func (h *held) takeIn(ctx context.Context, n int64) error {
	var sink io.Writer = (*heldMemory)(h)
	if h.file != nil {
		sink = h.file
	}
	sinks := []io.Writer{sink, h.sha256}
	if h.md5 != nil {
		sinks = append(sinks, h.md5)
	}
	var err error
	h.size, err = io.CopyN(io.MultiWriter(sinks...), &contextReader{ctx, h.rest}, n)
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		h.ended, err = true, nil
	}
	return sourceError(err)
}

// sourceError tells a source that failed from a disk of ours.
func sourceError(err error) error {
	switch path := (*os.PathError)(nil); {
	case err == nil:
		return nil
	case errors.As(err, &path) && path.Op == "write":
		return ioError(err)
	}
	return fmt.Errorf("read the source: %w", err)
}

// heldMemory appends to the buffer.
type heldMemory held

func (h *heldMemory) Write(p []byte) (int, error) {
	h.buf = append(h.buf, p...)
	return len(p), nil
}

// A contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// reader returns a reader of the bytes held, from the first.
func (h *held) reader() io.ReadSeeker {
	if h.file != nil {
		return io.NewSectionReader(h.file, 0, h.size)
	}
	return bytes.NewReader(h.buf)
}

// check compares the digests of a source that is held whole with what was
// announced.
func (h *held) check(opt object.PutOptions) error {
	return checkDigests(h.md5, h.sha256, opt)
}

func checkDigests(gotMD5, gotSHA256 hash.Hash, opt object.PutOptions) error {
	if got := object.Digest(gotSHA256.Sum(nil)); !opt.SHA256.IsZero() && got != opt.SHA256 {
		return fmt.Errorf("%w: the bytes hash to %s, not to %s", object.ErrDigest, got, opt.SHA256)
	}
	if opt.MD5 != nil {
		if got := gotMD5.Sum(nil); !bytes.Equal(got, opt.MD5) {
			return fmt.Errorf("%w: the MD5 is %x, not %x", object.ErrDigest, got, opt.MD5)
		}
	}
	return nil
}

// release gives everything back.
func (h *held) release() {
	if h.rest != nil {
		h.rest.Close()
	}
	if h.file != nil {
		h.file.Close()
	}
	h.s.memory.Release(h.memory)
	h.memory, h.buf = 0, nil
}
