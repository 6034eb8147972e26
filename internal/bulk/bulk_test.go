package bulk

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// move lets a buffer be used for n bytes, each full buffer in so much time.
func move(b *Buffer, n int, each time.Duration) {
	for n > 0 {
		m := min(n, len(b.Bytes()))
		<-time.After(each) // on the bubble's clock
		b.Moved(m)
		n -= m
	}
}

func wantSize(t *testing.T, b *Buffer, want int, why string) {
	t.Helper()
	if got := len(b.Bytes()); got != want {
		t.Errorf("a buffer of %d bytes, want %d: %s", got, want, why)
	}
}

func TestALargeBufferIsForThoseWhoSendMuchAndFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lender
		b := l.Borrow()
		defer b.Return()
		move(&b, span-1, 0)
		wantSize(t, &b, Small, "not much was sent yet")
		move(&b, 1, 0)
		wantSize(t, &b, Large, "much was sent in no time")
		move(&b, 10*Large, Haste)
		wantSize(t, &b, Large, "fast enough")
		move(&b, Large, Haste+1)
		wantSize(t, &b, Small, "one write was slow")
		move(&b, span, Haste*Small/span+1)
		wantSize(t, &b, Small, "still slow")
		move(&b, span, Haste*Small/span)
		wantSize(t, &b, Large, "fast again")
		if l.out.Load() != 1 {
			t.Errorf("%d large buffers are out, want 1", l.out.Load())
		}
	})
}

func TestASourceThatTricklesKeepsNoLargeBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lender
		b := l.Borrow()
		defer b.Return()
		move(&b, span, 0)
		b.Moved(Small - 1)
		wantSize(t, &b, Small, "a small one would have done")
		move(&b, span, 0)
		wantSize(t, &b, Large, "much was sent in no time")
		for range 3 {
			<-time.After(Haste / 2)
			b.Moved(Small)
		}
		wantSize(t, &b, Small, "its time has run out within a span")
	})
}

func TestThereAreOnlySoManyLargeBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lender
		borrowed := make([]Buffer, MaxLarge+3)
		for i := range borrowed {
			borrowed[i] = l.Borrow()
			move(&borrowed[i], span, 0)
		}
		for i := range borrowed {
			want := Large
			if i >= MaxLarge {
				want = Small
			}
			wantSize(t, &borrowed[i], want, "so many others have one")
		}
		borrowed[0].Return()
		move(&borrowed[MaxLarge], span, 0)
		wantSize(t, &borrowed[MaxLarge], Large, "one was given back")
		for i := range borrowed {
			borrowed[i].Return() // of the first one for the second time, as a deferred one may be
		}
		if n := l.out.Load(); n != 0 {
			t.Errorf("%d large buffers are out after all were given back", n)
		}
	})
}

// A viewed body has every second byte of Reader's in memory, if there is one.
type viewed struct {
	io.Reader
	calls int
}

func (v *viewed) View(most int64) []byte {
	if v.calls++; v.calls%2 == 0 {
		return nil
	}
	p := make([]byte, min(most, 1))
	n, _ := v.Reader.Read(p)
	return p[:n]
}

func TestWhatABodyHasInMemoryNeedsNoBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lender
		b := l.Borrow()
		defer b.Return()
		body := &viewed{Reader: bytes.NewReader([]byte("abcdefgh"))}
		for _, want := range []struct {
			most int64
			p    string
		}{{9, "a"}, {2, "bc"}, {9, "d"}, {9, "efgh"}, {9, ""}} {
			p, asked, err := b.Read(body, want.most)
			if string(p) != want.p || int64(asked) > max(want.most, 1) || (err != nil) != (want.p == "") {
				t.Errorf("%q of %d asked for, %v; want %q", p, asked, err, want.p)
			}
		}
		b.viewed = true
		move(&b, 5*span, 0)
		wantSize(t, &b, Small, "nothing went through it")
		b.viewed = false
		move(&b, span, 0)
		wantSize(t, &b, Large, "much was sent in no time")
		b.viewed = true
		<-time.After(Haste + 1)
		b.Moved(span)
		wantSize(t, &b, Small, "one who became slow keeps none, whatever he is sent from")
	})
}
