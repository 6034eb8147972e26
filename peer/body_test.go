package peer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func TestBodiesOfAllLengthsAndFormsArrive(t *testing.T) {
	for _, size := range []int{0, 1, bufferSize - 1, bufferSize, bufferSize + 1, 2 * writeUnit, 2*writeUnit + 1, 5<<20 + 1} {
		want := make([]byte, size)
		_, _ = pattern{}.Read(want)
		for _, r := range []io.Reader{bytes.NewReader(want), struct{ io.Reader }{bytes.NewReader(want)}, &viewedBody{Reader: bytes.NewReader(want)}} {
			c := clientOf(t, streaming{size: int64(size), open: func() io.Reader { return r }})
			wantStored(t, c, "key", string(want))
		}
	}
}

// streaming is a Store with one object, whose body is what open returns.
type streaming struct {
	object.Store
	size int64
	open func() io.Reader
}

func (s streaming) Get(_ context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	body := s.open()
	closer, ok := body.(io.ReadCloser)
	if !ok {
		closer = io.NopCloser(body)
	}
	return &object.Object{Info: object.Info{Key: key, Size: s.size}, Length: s.size, Body: closer}, nil
}

// A viewedBody has two of three pieces in memory.
type viewedBody struct {
	io.Reader
	calls int
}

func (v *viewedBody) Close() error { return nil }

func (v *viewedBody) View(most int64) []byte {
	if v.calls++; v.calls%3 == 0 {
		return nil
	}
	p := make([]byte, min(most, 70_000))
	n, _ := io.ReadFull(v.Reader, p)
	return p[:n]
}

func TestABodyThatBreaksAtTheOwnerBreaksHere(t *testing.T) {
	failure := errors.New("the disk died")
	for name, open := range map[string]func() io.Reader{
		"error":                  func() io.Reader { return io.MultiReader(io.LimitReader(pattern{}, 100_000), failedReader{failure}) },
		"error at once":          func() io.Reader { return failedReader{failure} },
		"early end":              func() io.Reader { return io.LimitReader(pattern{}, 100_000) },
		"early end, from memory": func() io.Reader { return strings.NewReader(strings.Repeat("x", 100_000)) },
		"more than it announced": func() io.Reader { return pattern{} },
		"more, from memory":      func() io.Reader { return strings.NewReader(strings.Repeat("x", 300_000)) },
		"early end, in place":    func() io.Reader { return &viewedBody{Reader: io.LimitReader(pattern{}, 100_000)} },
		"more, in place":         func() io.Reader { return &viewedBody{Reader: pattern{}} },
		"error after all its bytes, in place": func() io.Reader {
			return &viewedBody{Reader: io.MultiReader(io.LimitReader(pattern{}, 200_000), failedReader{failure})}
		},
		"error after all its bytes, unwrapped": func() io.Reader {
			return struct{ io.Reader }{io.MultiReader(io.LimitReader(pattern{}, 200_000), failedReader{failure})}
		},
		"error after all its bytes": func() io.Reader { return io.MultiReader(io.LimitReader(pattern{}, 200_000), failedReader{failure}) },
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, streaming{size: 200_000, open: open})
			obj, err := c.Get(t.Context(), "key", object.GetOptions{})
			if err == nil {
				_, err = io.Copy(io.Discard, obj.Body)
				obj.Body.Close()
			}
			if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, io.EOF) {
				t.Errorf("reading ended with %v", err)
			}
		})
	}
}

func TestCancellingEndsABody(t *testing.T) {
	c := clientOf(t, streaming{size: 1 << 40, open: func() io.Reader { return pattern{} }})
	ctx, cancel := context.WithCancel(t.Context())
	obj, err := c.Get(ctx, "key", object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	if _, err := io.CopyN(io.Discard, obj.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.Copy(io.Discard, obj.Body)
	wantErr(t, "reading", err, context.Canceled)
}

// counting counts the connections that are opened to h.
func counting(t testing.TB, h http.Handler) (*Client, *atomic.Int32) {
	var opened atomic.Int32
	addr := serve(t, h)
	cfg := testConfig
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		opened.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return poolOf(t, cfg).Client(addr), &opened
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	store := new(objecttest.Memory)
	c, opened := counting(t, handlerOf(store))
	for range 10 {
		put(t, c, "key", "body")
		put(t, c, "empty", "")
		wantStored(t, c, "key", "body")
		wantStored(t, c, "empty", "")
		_, _ = c.Head(t.Context(), "missing", object.HeadOptions{})
		_, err := c.Get(t.Context(), "missing", object.GetOptions{})
		wantErr(t, "get", err, object.ErrNotFound)
		_, err = c.Get(t.Context(), "key", object.GetOptions{IfNoneMatch: object.MatchAny()})
		wantErr(t, "get", err, object.ErrNotModified)
		if err := c.Delete(t.Context(), "empty", object.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		for _, err := range c.List(t.Context(), object.ListOptions{}) {
			if err != nil {
				t.Error(err)
			}
			break
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections were opened, want 1", n)
	}
}

func TestClosingEarlyKeepsTheConnectionIfLittleIsLeft(t *testing.T) {
	for size, want := range map[int64]int32{1: 1, DrainLimit: 1, 64 << 20: 5} {
		c, opened := counting(t, handlerOf(streaming{size: size, open: func() io.Reader { return io.LimitReader(pattern{}, size) }}))
		for range 5 {
			obj, err := c.Get(t.Context(), "key", object.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			obj.Body.Close()
			if _, err := obj.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("reading after Close: %v", err)
			}
			obj.Body.Close()
		}
		if n := opened.Load(); n != want {
			t.Errorf("%d bytes left: %d connections, want %d", size, n, want)
		}
	}
}

// summing is a Store that keeps nothing but the size and a checksum.
type summing struct{ object.Store }

func (summing) Put(_ context.Context, key object.Key, src object.Source, _ object.PutOptions) (object.Info, error) {
	r, err := object.OpenExact(src)
	if err != nil {
		return object.Info{}, err
	}
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, r)
	return object.Info{Key: key, Size: n, ETag: object.ETag(hex.EncodeToString(sum.Sum(nil)))}, err
}

func TestHugeBodiesTakeFlatMemory(t *testing.T) {
	const size, bound = 256 << 20, 16 << 20
	grown := func() func() uint64 {
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		return func() uint64 {
			runtime.ReadMemStats(&now)
			return max(now.HeapAlloc, before.HeapAlloc) - before.HeapAlloc
		}
	}
	t.Run("get", func(t *testing.T) {
		c := clientOf(t, streaming{size: size, open: func() io.Reader { return io.LimitReader(pattern{}, size) }})
		watch := &watching{grown: grown()}
		obj, err := c.Get(t.Context(), "key", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Body.Close()
		if n, err := io.Copy(watch, obj.Body); n != size || err != nil || watch.most > bound {
			t.Errorf("%d bytes, %v, heap grew by %d", n, err, watch.most)
		}
	})
	for name, announced := range map[string]int64{"put, sized": size, "put, chunked": -1} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, summing{})
			watch := &watching{grown: grown(), sum: crc32.NewIEEE()}
			body := io.TeeReader(io.LimitReader(pattern{}, size), watch)
			info, err := c.Put(t.Context(), "key", object.ReaderSource(body, announced), object.PutOptions{})
			if err != nil || info.Size != size || watch.most > bound {
				t.Errorf("%+v, %v, heap grew by %d", info, err, watch.most)
			}
			if hex.EncodeToString(watch.sum.Sum(nil)) != string(info.ETag) {
				t.Error("other bytes arrived than were sent")
			}
		})
	}
}

// watching looks at the heap every few megabytes that pass it.
type watching struct {
	grown func() uint64
	sum   hash.Hash
	n     int
	most  uint64
}

func (w *watching) Write(p []byte) (int, error) {
	if w.sum != nil {
		w.sum.Write(p)
	}
	if w.n += len(p); w.n > 8<<20 && w.grown != nil {
		w.n = 0
		w.most = max(w.most, w.grown())
	}
	return len(p), nil
}
