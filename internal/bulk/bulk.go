// Package bulk lends the buffers through which bodies are read and sent. Whoever
// moves much and fast gets a large one, of which there are few; everybody else
// has a small one, of which there can be thousands.
//
// A large buffer saves CPU time because of what one write to a connection costs
// besides the copy: the reader at the other end has taken the last piece by then
// and has to be woken. From the page cache to a reader on another core, 64 KiB at
// a time cost a quarter more for each byte than 1 MiB (docs/benchmarks.md). A slow
// reader gains nothing by it, and would keep it.
package bulk

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Small is the size of a buffer that everybody gets, in bytes.
	Small = 64 << 10

	// Large is the size of a large one, in bytes. 2 MiB save hardly more.
	Large = 1 << 20

	// MaxLarge is how many large buffers one Lender has out at once: with two
	// Lenders in a process, 32 MiB of what a node takes besides its budgets.
	MaxLarge = 16

	// Haste is the most time that a fast sender takes for Large bytes, reading
	// included: 10 MB/s, below which what a large buffer saves is less than a
	// thousandth of a core.
	Haste = 100 * time.Millisecond

	// span is what a sender is judged by, in bytes. The sockets' own buffers may
	// take the first spans of a slow reader; it has a large buffer for one write
	// then, and not again before it is fast.
	span = Large
)

// A Lender lends buffers. Its zero value is ready for use, and it is safe for
// concurrent use. It must not be copied.
type Lender struct {
	small, large sync.Pool // of *[Small]byte and *[Large]byte
	out          atomic.Int64
}

// A Buffer is what one sender has borrowed, for one body. It is used by one
// goroutine and ends with Return.
type Buffer struct {
	from  *Lender
	small *[Small]byte // one of the two is there
	large *[Large]byte
	since time.Time // when the span began
	moved int       // bytes since

	viewed bool // what was read last is not in the buffer
}

// A Viewer is a body that has some of its bytes in memory, from where they can be
// sent without a copy.
type Viewer interface {
	// View reads at most so many bytes and returns them where they are. They must
	// not be changed, and stay as they are until the next call of View or Close.
	// It returns nil if the next bytes have to be read with Read, or if that is to
	// say why there are none.
	View(most int64) []byte
}

// Borrow returns a buffer, a small one at first.
func (l *Lender) Borrow() Buffer {
	b := Buffer{from: l, since: time.Now()}
	b.takeSmall()
	return b
}

// Bytes returns the buffer to use until Moved or Return is called.
func (b *Buffer) Bytes() []byte {
	if b.large != nil {
		return b.large[:]
	}
	return b.small[:]
}

// Read reads at most so many bytes of a body, into the buffer if the body does not
// have them in memory. They stay as they are until Moved, Return or another call of
// Read. asked is how many it would have taken at once.
func (b *Buffer) Read(body io.Reader, most int64) (p []byte, asked int, err error) {
	if v, ok := body.(Viewer); ok {
		if p = v.View(most); len(p) > 0 {
			b.viewed = true
			return p, len(p), nil
		}
	}
	b.viewed = false
	p = b.Bytes()
	p = p[:min(most, int64(len(p)))]
	n, err := body.Read(p)
	return p[:n], len(p), err
}

// Moved says that n bytes have been read into the buffer, or by Read, and sent. The
// next call of Bytes may return another buffer.
func (b *Buffer) Moved(n int) {
	b.moved += n
	switch {
	case b.viewed && b.large == nil: // a buffer has no part in it
	case b.large != nil && n < Small:
		b.giveUpLarge() // there is no more at once: a small one does as well
	case b.moved < span && b.large == nil:
		return
	case time.Since(b.since) > Haste:
		b.giveUpLarge()
	case b.moved < span:
		return
	case b.large == nil:
		b.takeLarge()
	}
	b.since, b.moved = time.Now(), 0
}

// Return ends the use of the buffer.
func (b *Buffer) Return() {
	if b.large != nil {
		b.returnLarge()
	}
	if b.small != nil {
		b.from.small.Put(b.small)
		b.small = nil
	}
}

func (b *Buffer) takeSmall() {
	var ok bool
	if b.small, ok = b.from.small.Get().(*[Small]byte); !ok {
		b.small = new([Small]byte)
	}
}

// takeLarge goes over to a large buffer, if there is one.
func (b *Buffer) takeLarge() {
	if b.from.out.Add(1) > MaxLarge {
		b.from.out.Add(-1)
		return
	}
	var ok bool
	if b.large, ok = b.from.large.Get().(*[Large]byte); !ok {
		b.large = new([Large]byte)
	}
	b.from.small.Put(b.small)
	b.small = nil
}

// giveUpLarge goes back to a small buffer.
func (b *Buffer) giveUpLarge() {
	if b.large != nil {
		b.returnLarge()
		b.takeSmall()
	}
}

func (b *Buffer) returnLarge() {
	b.from.large.Put(b.large)
	b.large = nil
	b.from.out.Add(-1)
}
