package seglog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

func idOf(name string) ID {
	sum := sha256.Sum256([]byte(name))
	return ID(sum[:16])
}

// content returns bytes that say whose they are: a version of an object.
func content(name string, version, size int) []byte {
	b := make([]byte, size)
	seed := sha256.Sum256(fmt.Appendf(nil, "%s/%d", name, version))
	rand.NewChaCha8(seed).Read(b)
	return b
}

// meta names a version, as a caller's description would.
func meta(name string, version, size int) []byte {
	return binary.BigEndian.AppendUint32(fmt.Appendf(nil, "%s/%d/", name, version), uint32(size))
}

func openStore(t testing.TB, dir FS, opt Options) *Store {
	t.Helper()
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// running runs the store until stop is called, or the test ends.
func running(t testing.TB, s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { s.Run(ctx) })
	for !s.running.Load() {
		runtime.Gosched()
	}
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return stop
}

// put stores a version of an object of any size.
func put(s *Store, name string, version, size int) bool {
	data := content(name, version, size)
	if size <= MaxInline {
		return s.Put(idOf(name), meta(name, version, size), data)
	}
	w := s.Create(idOf(name), int64(size))
	if w == nil {
		return false
	}
	defer w.Abort()
	for at := 0; at < size; at += 4 * BlockSize {
		if w.Write(data[at:min(at+4*BlockSize, size)]) != nil {
			return false
		}
	}
	return w.Commit(meta(name, version, size)) == nil
}

var errWrongBytes = errors.New("wrong bytes")

// fetch reads an object to its end. It returns errWrongBytes if what comes is
// not what its description says.
func fetch(s *Store, name string) (version int, found bool, err error) {
	h, ok := s.Get(idOf(name))
	if !ok {
		return 0, false, nil
	}
	defer h.Close()
	m := h.Meta()
	var size int
	prefix, v := []byte(name+"/"), 0
	if !bytes.HasPrefix(m, prefix) || len(m) < 5 {
		return 0, true, fmt.Errorf("%w: description %q of %q", errWrongBytes, m, name)
	}
	size = int(binary.BigEndian.Uint32(m[len(m)-4:]))
	fmt.Sscanf(string(m[len(prefix):]), "%d/", &v)
	if int64(size) != h.Size() {
		return v, true, fmt.Errorf("%w: size %d of %d", errWrongBytes, h.Size(), size)
	}
	want := content(name, v, size)
	buf := make([]byte, 4*BlockSize)
	for at := 0; at < size; {
		n, err := h.ReadAt(buf, int64(at))
		if err != nil {
			return v, true, err
		}
		if !bytes.Equal(buf[:n], want[at:at+n]) {
			return v, true, fmt.Errorf("%w: %q/%d at %d", errWrongBytes, name, v, at)
		}
		at += n
	}
	return v, true, nil
}

// mustHave fails unless a version can be read.
func mustHave(t *testing.T, s *Store, name string, version int) {
	t.Helper()
	v, ok, err := fetch(s, name)
	if err != nil || !ok || v != version {
		t.Fatalf("%s: version %d, found %v, %v; want version %d", name, v, ok, err, version)
	}
}

func mustMiss(t *testing.T, s *Store, name string) {
	t.Helper()
	if v, ok, err := fetch(s, name); ok {
		t.Fatalf("%s: found version %d (%v), want nothing", name, v, err)
	}
}
