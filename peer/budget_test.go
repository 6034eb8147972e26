package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// A pipeNet is a network in memory, whose time is that of a synctest bubble.
type pipeNet struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.accept:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipeNet) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *pipeNet) Addr() net.Addr { return &net.TCPAddr{} }

func (n *pipeNet) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case n.accept <- far:
		return near, nil
	case <-n.closed:
		return nil, &dialError{net.ErrClosed}
	}
}

// inBubble runs test in time that passes only when nothing else can happen, and
// gives it what makes a client of a handler.
func inBubble(t *testing.T, test func(t *testing.T, serve func(h http.Handler) *Client)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, func(h http.Handler) *Client {
			network := &pipeNet{accept: make(chan net.Conn), closed: make(chan struct{})}
			server := &http.Server{Handler: h}
			go server.Serve(network)
			cfg := testConfig
			cfg.Dial = network.dial
			pool := NewPool(cfg)
			t.Cleanup(func() {
				pool.Close()
				server.Close()
				synctest.Wait()
			})
			return pool.Client("owner:1")
		})
	})
}

// pass lets time go by.
func pass(d time.Duration) { <-time.After(d) }

// took holds an operation to the time that it may take.
func took(t *testing.T, what string, want time.Duration, op func() error) error {
	t.Helper()
	began := time.Now()
	err := op()
	if got := time.Since(began); got != want {
		t.Errorf("%s took %v, want %v (%v)", what, got, want, err)
	}
	return err
}

// stuck is a Store that reads sources and then does nothing until its context
// ends.
type stuck struct{ object.Store }

func (stuck) Get(ctx context.Context, _ object.Key, _ object.GetOptions) (*object.Object, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (stuck) Delete(ctx context.Context, _ object.Key, _ object.DeleteOptions) error {
	<-ctx.Done()
	return ctx.Err()
}

func (stuck) Put(ctx context.Context, _ object.Key, src object.Source, _ object.PutOptions) (object.Info, error) {
	r, err := object.OpenExact(src)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err == nil {
		<-ctx.Done()
		err = ctx.Err()
	}
	return object.Info{}, err
}

const firstByte = DefaultConnectTimeout + DefaultFirstByteTimeout

func TestAPeerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		c := serve(handlerOf(stuck{}))
		err := took(t, "get", firstByte, func() error {
			_, err := c.Get(t.Context(), "key", object.GetOptions{})
			return err
		})
		wantErr(t, "get", err, object.ErrUnavailable, errFirstByte)
		err = took(t, "delete", firstByte, func() error { return c.Delete(t.Context(), "key", object.DeleteOptions{}) })
		wantErr(t, "delete", err, object.ErrUnknownOutcome, errFirstByte)
		err = took(t, "put", DefaultCommitTimeout, func() error {
			_, err := c.Put(t.Context(), "key", object.BytesSource([]byte("body")), object.PutOptions{})
			return err
		})
		wantErr(t, "put", err, object.ErrUnknownOutcome, errCommit)
	})
}

func TestAPeerThatDoesNotAskForTheBodyIsNotSentAny(t *testing.T) {
	for name, src := range sources("body") {
		inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
			stop := make(chan struct{})
			defer close(stop)
			c := serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
			err := took(t, name, firstByte, func() error {
				_, err := c.Put(t.Context(), "key", src, object.PutOptions{})
				return err
			})
			wantErr(t, name, err, object.ErrUnavailable, ErrNotSent, errFirstByte)
			if src.opened {
				t.Errorf("%s: the source was opened", name)
			}
		})
	}
}

func TestACallersOwnDeadlineIsItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		c := serve(handlerOf(stuck{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := took(t, "get", time.Second, func() error {
			_, err := c.Get(ctx, "key", object.GetOptions{})
			return err
		})
		wantErr(t, "get", err, context.DeadlineExceeded)
	})
}

// A slow reader yields a byte at a time, each after a pause.
type slow struct {
	n     int
	pause time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	if s.n--; s.n < 0 {
		return 0, io.EOF
	}
	pass(s.pause)
	p[0] = 's'
	return 1, nil
}

func TestALongTransferIsNotCutWhileItMoves(t *testing.T) {
	const n, pause = 100, InactivityTimeout - time.Second // fifty minutes
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		c := serve(handlerOf(new(objecttest.Memory)))
		for _, size := range []int64{n, -1} {
			err := took(t, "put", n*pause, func() error {
				_, err := c.Put(t.Context(), "key", object.ReaderSource(&slow{n, pause}, size), object.PutOptions{})
				return err
			})
			if err != nil {
				t.Errorf("put of size %d: %v", size, err)
			}
		}
	})
	flushing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(headerCluster, "the%20cluster")
		w.Header().Set(headerInfo, string(encodeInfo(object.Info{Key: "key", Size: n})))
		w.Header().Set("Content-Length", fmt.Sprint(n))
		for range n {
			_ = http.NewResponseController(w).Flush()
			pass(pause)
			_, _ = io.WriteString(w, "s")
		}
	})
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		c := serve(flushing)
		obj, err := c.Get(t.Context(), "key", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Body.Close()
		if got, err := io.ReadAll(obj.Body); err != nil || string(got) != strings.Repeat("s", n) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func TestASourceMayPauseForLongerThanTheNetwork(t *testing.T) {
	const pause = StuckTimeout - time.Second
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		c := serve(handlerOf(new(objecttest.Memory)))
		if _, err := c.Put(t.Context(), "key", object.ReaderSource(&slow{3, pause}, 3), object.PutOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func TestABodyThatStandsStillIsGivenUp(t *testing.T) {
	half := func() io.Reader {
		return io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), &slow{1, time.Hour})
	}
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		c := serve(handlerOf(streaming{size: 200_000, open: half}))
		obj, err := c.Get(t.Context(), "key", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Body.Close()
		err = took(t, "reading", InactivityTimeout, func() error {
			_, err := io.Copy(io.Discard, obj.Body)
			return err
		})
		wantErr(t, "reading", err, object.ErrUnavailable, errInactive)
		pass(time.Hour) // the owner's reader wakes up
	})
}

// A reader may take its time over a body: only the peer is held to a limit.
func TestASlowReaderOfABodyIsNotCut(t *testing.T) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		c := serve(handlerOf(streaming{size: 10, open: func() io.Reader { return io.LimitReader(pattern{}, 10) }}))
		obj, err := c.Get(t.Context(), "key", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Body.Close()
		pass(time.Hour)
		if got, err := io.ReadAll(obj.Body); err != nil || len(got) != 10 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func TestAPeerThatTakesNoBodyIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		stop := make(chan struct{})
		defer close(stop)
		c := serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 1)
			<-stop
		}))
		err := took(t, "put", InactivityTimeout, func() error {
			_, err := c.Put(t.Context(), "key", object.ReaderSource(pattern{}, -1), object.PutOptions{})
			return err
		})
		wantErr(t, "put", err, object.ErrUnavailable, errInactive)
	})
}

// closable tells when its body was closed.
type closable struct {
	streaming
	closed chan time.Time
}

func (c closable) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	obj, err := c.streaming.Get(ctx, key, opt)
	obj.Body = struct {
		io.Reader
		io.Closer
	}{obj.Body, closerFunc(func() error {
		c.closed <- time.Now()
		return nil
	})}
	return obj, err
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

func TestAStuckClientIsCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		store := closable{streaming{size: 1 << 30, open: func() io.Reader { return pattern{} }}, make(chan time.Time, 1)}
		obj, err := serve(handlerOf(store)).Get(t.Context(), "key", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Body.Close()
		began := time.Now()
		if after := (<-store.closed).Sub(began); after != StuckTimeout {
			t.Errorf("the body was held for %v, want %v", after, StuckTimeout)
		}
	})
}

func TestAStuckUploadIsCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		store := observed{new(objecttest.Memory), make(chan error, 1)}
		c := serve(handlerOf(store))
		began := time.Now()
		var upload sync.WaitGroup
		upload.Go(func() {
			if _, err := c.Put(t.Context(), "key", object.ReaderSource(&slow{2, time.Hour}, -1), object.PutOptions{}); err == nil {
				t.Error("a stuck upload was stored")
			}
		})
		if err := <-store.puts; !isTimeout(err) || time.Since(began) != StuckTimeout {
			t.Errorf("the owner waited %v: %v", time.Since(began), err)
		}
		upload.Wait()
	})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// durable is a Store that takes long to make an object durable.
type durable struct {
	*objecttest.Memory
	takes time.Duration
}

func (d durable) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	info, err := d.Memory.Put(ctx, key, src, opt)
	pass(d.takes)
	return info, errors.Join(err, ctx.Err())
}

func TestACommitMayTakeLongerThanAnyPauseInABody(t *testing.T) {
	const takes = 3 * StuckTimeout
	for _, size := range []int64{4, 0, -1} {
		inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
			c := serve(handlerOf(durable{new(objecttest.Memory), takes}))
			c.pool.cfg.CommitTimeout = 2 * takes
			body := strings.Repeat("b", int(max(size, 0)))
			_, err := c.Put(t.Context(), "key", object.ReaderSource(strings.NewReader(body), size), object.PutOptions{})
			if err != nil {
				t.Errorf("size %d: %v", size, err)
			}
		})
	}
}
