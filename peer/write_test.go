package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func TestADeadPeerIsNotSent(t *testing.T) {
	c := poolOf(t, testConfig).Client(deadAddr(t))
	src := &oneShot{size: 4, r: strings.NewReader("body")}
	for op, err := range operations(t.Context(), c, src) {
		if op == "put" || op == "delete" {
			wantErr(t, op, err, object.ErrUnavailable, ErrNotSent)
		} else {
			wantErr(t, op, err, object.ErrUnavailable)
		}
	}
	if src.opened {
		t.Error("the source was opened")
	}
}

func TestABadAddressIsNotSent(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:http:8", "no host:1"} {
		c := poolOf(t, testConfig).Client(addr)
		_, err := c.Put(t.Context(), "key", object.BytesSource([]byte("x")), object.PutOptions{})
		wantErr(t, fmt.Sprintf("put to %q", addr), err, object.ErrUnavailable, ErrNotSent)
	}
}

// sources yields, for every form of a body, a source that can be read once.
func sources(body string) map[string]*oneShot {
	return map[string]*oneShot{
		"sized":                  {size: int64(len(body)), r: strings.NewReader(body)},
		"chunked":                {size: -1, r: strings.NewReader(body)},
		"empty":                  {size: 0, r: strings.NewReader("")},
		"empty, of unknown size": {size: -1, r: strings.NewReader("")},
	}
}

func TestAConnectionThatDiedIdleLosesNoWrite(t *testing.T) {
	store := new(objecttest.Memory)
	s := serveWith(t, handlerOf(store))
	c := poolOf(t, testConfig).Client(s.Listener.Addr().String())
	for name, src := range sources("body") {
		put(t, c, "warm-up", "x") // leaves a connection idle
		s.CloseClientConnections()
		_, err := c.Put(t.Context(), object.Key(name), src, object.PutOptions{})
		switch {
		case err == nil:
		case src.opened:
			t.Errorf("%s: %v, and the source was opened", name, err)
		default:
			wantErr(t, name, err, object.ErrUnavailable, ErrNotSent)
			put(t, c, object.Key(name), "elsewhere")
		}
		if _, err := store.Head(t.Context(), object.Key(name), object.HeadOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An idle connection that dies only when it is used is the one no client can
// see coming: this peer answers once and hangs up at the next request.
func TestAConnectionThatDiesOnUseLosesNoWrite(t *testing.T) {
	for name, src := range sources("body") {
		t.Run(name, func(t *testing.T) {
			addr := raw(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				fmt.Fprint(conn, "HTTP/1.1 204 No Content\r\nMicelio-Cluster: the%20cluster\r\n\r\n")
				_, _ = http.ReadRequest(r)
			})
			c := poolOf(t, testConfig).Client(addr)
			if err := c.Delete(t.Context(), "key", object.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			_, err := c.Put(t.Context(), "key", src, object.PutOptions{})
			wantErr(t, "put", err, object.ErrUnavailable, ErrNotSent)
			if src.opened {
				t.Error("the source was opened")
			}
		})
	}
}

func TestADeleteWhoseConnectionDiesOnUseIsUnknown(t *testing.T) {
	addr := raw(t, func(conn net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(conn)) })
	c := poolOf(t, testConfig).Client(addr)
	wantErr(t, "delete", c.Delete(t.Context(), "key", object.DeleteOptions{}), object.ErrUnknownOutcome)
}

// hangUp is a peer that asks for the body, reads n bytes of the request's body
// and then closes the connection without an answer.
func hangUp(t *testing.T, n int64) *Client {
	addr := raw(t, func(conn net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		_, _ = io.CopyN(io.Discard, req.Body, n)
	})
	return poolOf(t, testConfig).Client(addr)
}

func TestAPeerThatHangsUpAfterTheBodyLeavesTheOutcomeUnknown(t *testing.T) {
	for name, src := range sources("body") {
		_, err := hangUp(t, 1<<20).Put(t.Context(), "key", src, object.PutOptions{})
		wantErr(t, name, err, object.ErrUnknownOutcome)
	}
}

func TestAPeerThatHangsUpDuringTheBodyHasNotStoredIt(t *testing.T) {
	for _, size := range []int64{64 << 20, -1} {
		src := &oneShot{size: size, r: io.LimitReader(pattern{}, 64<<20)}
		_, err := hangUp(t, 1<<20).Put(t.Context(), "key", src, object.PutOptions{})
		wantErr(t, fmt.Sprint("size ", size), err, object.ErrUnavailable)
	}
}

// pattern is an endless reader that costs nothing.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) { return copy(p, patternText), nil }

var patternText = strings.Repeat("0123456789abcde\n", 4<<10)

// A hooked reader calls hook once, after the first n bytes.
type hooked struct {
	r    io.Reader
	n    int
	hook func()
}

func (h *hooked) Read(p []byte) (int, error) {
	if h.n <= 0 && h.hook != nil {
		h.hook()
		h.hook = nil
	}
	n, err := h.r.Read(p)
	h.n -= n
	return n, err
}

// observed tells what became of the Puts of a Store.
type observed struct {
	object.Store
	puts chan error
}

func (o observed) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	info, err := o.Store.Put(ctx, key, src, opt)
	o.puts <- err
	return info, err
}

func TestAnUploadKilledHalfWayStoresNothing(t *testing.T) {
	for _, size := range []int64{8 << 20, -1} {
		store := observed{new(objecttest.Memory), make(chan error, 1)}
		s := serveWith(t, handlerOf(store))
		c := poolOf(t, testConfig).Client(s.Listener.Addr().String())
		put(t, store.Store, "key", "before")

		body := &hooked{r: io.LimitReader(pattern{}, 8<<20), n: 4 << 20, hook: s.CloseClientConnections}
		_, err := c.Put(t.Context(), "key", object.ReaderSource(body, size), object.PutOptions{})
		wantErr(t, fmt.Sprint("size ", size), err, object.ErrUnavailable)
		if err := <-store.puts; err == nil {
			t.Error("the owner took a part for the whole")
		}
		wantStored(t, store, "key", "before")
	}
}

func wantStored(t *testing.T, s object.Store, key object.Key, want string) {
	t.Helper()
	obj, err := s.Get(t.Context(), key, object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	if got, err := io.ReadAll(obj.Body); err != nil || string(got) != want {
		t.Errorf("%q holds %.40q, %v, want %q", key, got, err, want)
	}
}

func TestABrokenSourceBreaksTheBody(t *testing.T) {
	failure := errors.New("the client went away")
	for name, c := range map[string]struct {
		size int64
		r    io.Reader
		want error
	}{
		"sized, error":                  {8 << 20, io.MultiReader(io.LimitReader(pattern{}, 3<<20), failedReader{failure}), failure},
		"chunked, error":                {-1, io.MultiReader(io.LimitReader(pattern{}, 3<<20), failedReader{failure}), failure},
		"sized, error at once":          {10, failedReader{failure}, failure},
		"chunked, error at once":        {-1, failedReader{failure}, failure},
		"empty, error":                  {0, failedReader{failure}, failure},
		"sized, error after all bytes":  {4, io.MultiReader(strings.NewReader("body"), failedReader{failure}), failure},
		"sized, short":                  {5, strings.NewReader("body"), io.ErrUnexpectedEOF},
		"sized, long":                   {3, strings.NewReader("body"), nil},
		"empty, long":                   {0, strings.NewReader("body"), nil},
		"a source that was used before": {4, nil, object.ErrReplay},
	} {
		t.Run(name, func(t *testing.T) {
			store := observed{new(objecttest.Memory), make(chan error, 1)}
			client := clientOf(t, store)
			put(t, store.Store, "key", "before")
			src := &oneShot{size: c.size, r: c.r, opened: c.r == nil}
			_, err := client.Put(t.Context(), "key", src, object.PutOptions{})
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			wantErr(t, "put", err) // and it is nobody's but the source's
			if c.size != 0 {       // of an empty one the handler itself awaits the end
				if err := <-store.puts; err == nil {
					t.Error("the owner took a broken body for a whole one")
				}
			}
			wantStored(t, store, "key", "before")
		})
	}
}

func TestAnEmptyObjectIsStored(t *testing.T) {
	for _, size := range []int64{0, -1} {
		c := clientOf(t, new(objecttest.Memory))
		info, err := c.Put(t.Context(), "key", object.ReaderSource(strings.NewReader(""), size), object.PutOptions{})
		if err != nil || info.Size != 0 {
			t.Fatalf("size %d: %+v, %v", size, info, err)
		}
		wantStored(t, c, "key", "")
	}
}

// careless is a Store that does not read the source of an empty object.
type careless struct{ *objecttest.Memory }

func (c careless) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if src.Size() == 0 {
		src = object.BytesSource(nil)
	}
	return c.Memory.Put(ctx, key, src, opt)
}

func TestAnEmptyObjectIsNotStoredBeforeItsEnd(t *testing.T) {
	store := careless{new(objecttest.Memory)}
	failure := errors.New("not empty after all")
	_, err := clientOf(t, store).Put(t.Context(), "key", &oneShot{size: 0, r: failedReader{failure}}, object.PutOptions{})
	if !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	_, err = store.Head(t.Context(), "key", object.HeadOptions{})
	wantErr(t, "head", err, object.ErrNotFound)
}

func TestARefusedConditionCostsNoByteOfTheSource(t *testing.T) {
	c := clientOf(t, new(objecttest.Memory))
	put(t, c, "key", "body")
	for _, size := range []int64{4, -1} {
		src := &oneShot{size: size, r: strings.NewReader("next")}
		_, err := c.Put(t.Context(), "key", src, object.PutOptions{IfNoneMatch: object.MatchAny()})
		wantErr(t, "put", err, object.ErrPrecondition)
		if src.opened {
			t.Error("the source was opened")
		}
	}
}

// limited refuses objects of more than a megabyte, while it reads them.
type limited struct{ *objecttest.Memory }

func (l limited) Put(_ context.Context, _ object.Key, src object.Source, _ object.PutOptions) (object.Info, error) {
	r, err := src.Open()
	if err != nil {
		return object.Info{}, err
	}
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		return object.Info{}, err
	}
	return object.Info{}, object.ErrTooLarge
}

func TestARefusalDuringTheBodyArrives(t *testing.T) {
	c := clientOf(t, limited{})
	for range 5 {
		for _, size := range []int64{64 << 20, -1} {
			src := &oneShot{size: size, r: io.LimitReader(pattern{}, 64<<20)}
			_, err := c.Put(t.Context(), "key", src, object.PutOptions{})
			wantErr(t, fmt.Sprint("size ", size), err, object.ErrTooLarge)
		}
	}
}

func TestTheSourceIsNotReadAfterPutReturns(t *testing.T) {
	c := clientOf(t, limited{})
	for range 20 {
		guard := &guarded{t: t}
		_, err := c.Put(t.Context(), "key", object.ReaderSource(guard, -1), object.PutOptions{})
		guard.over = true // unsynchronized: the race detector is part of this test
		if err == nil {
			t.Error("a body without end was stored")
		}
	}
}

type guarded struct {
	t    *testing.T
	over bool
}

func (g *guarded) Read(p []byte) (int, error) {
	if g.over {
		g.t.Error("read after Put returned")
	}
	return pattern{}.Read(p)
}

func TestACancelledUploadSaysSo(t *testing.T) {
	for _, size := range []int64{8 << 20, -1} {
		store := observed{new(objecttest.Memory), make(chan error, 1)}
		c := clientOf(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		// The rest of the body comes when the owner has ended: else it may all be
		// there before anybody has noticed the end of the context.
		ended := make(chan error, 1)
		body := &hooked{r: io.LimitReader(pattern{}, 8<<20), n: 4 << 20, hook: func() {
			cancel()
			ended <- <-store.puts
		}}
		_, err := c.Put(ctx, "key", object.ReaderSource(body, size), object.PutOptions{})
		wantErr(t, fmt.Sprint("size ", size), err, context.Canceled)
		if err := <-ended; err == nil {
			t.Error("the owner took a part for the whole")
		}
	}
}

// waiting is a Store whose writes last until their context ends.
type waiting struct {
	*objecttest.Memory
	began chan struct{}
}

func (w waiting) Put(ctx context.Context, _ object.Key, src object.Source, _ object.PutOptions) (object.Info, error) {
	r, err := object.OpenExact(src)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		return object.Info{}, err
	}
	return object.Info{}, w.wait(ctx)
}

func (w waiting) Delete(ctx context.Context, _ object.Key, _ object.DeleteOptions) error {
	return w.wait(ctx)
}

func (w waiting) wait(ctx context.Context) error {
	w.began <- struct{}{}
	<-ctx.Done()
	return object.ErrUnknownOutcome
}

func TestAWriteCancelledWhileThePeerAppliesItIsUnknown(t *testing.T) {
	store := waiting{new(objecttest.Memory), make(chan struct{})}
	c := clientOf(t, store)
	for op, write := range map[string]func(ctx context.Context) error{
		"put": func(ctx context.Context) error {
			_, err := c.Put(ctx, "key", object.BytesSource([]byte("body")), object.PutOptions{})
			return err
		},
		"delete": func(ctx context.Context) error { return c.Delete(ctx, "key", object.DeleteOptions{}) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-store.began
			cancel()
		}()
		wantErr(t, op, write(ctx), object.ErrUnknownOutcome, context.Canceled)
	}
}

func TestACancelledWriteThatDidNotBeginOnlySaysThat(t *testing.T) {
	c := clientOf(t, new(objecttest.Memory))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, err := range operations(ctx, c, object.BytesSource([]byte("body"))) {
		wantErr(t, op, err, context.Canceled)
	}
}
