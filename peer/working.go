package peer

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"
)

// workingAfter is how long the handler lets a read wait for the Store before it
// says, in an interim answer (102), that it is at work on it. What is in memory or
// on a disk takes less, so this is a miss, whose answer takes as long as the
// origin takes. A client that hears it knows that the peer is well, and that to
// ask the origin as well would only ask it twice.
const workingAfter = 10 * time.Millisecond

// OnWorking returns a context whose Get or Head calls f when the peer says that it is
// at work on the answer, at most once and before the answer. f must not block.
// If the call ends early f may still be called after it.
func OnWorking(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, workingKey{}, f)
}

type workingKey struct{}

// Working calls what OnWorking gave ctx, if anything, for a Store that stands in
// for a peer.
func Working(ctx context.Context) {
	if f, ok := ctx.Value(workingKey{}).(func()); ok {
		f()
	}
}

// traced returns the context of a request whose interim answers are listened
// to, if somebody wants to know.
func (l *call) traced(ctx context.Context) context.Context {
	f, ok := l.parent.Value(workingKey{}).(func())
	if !ok {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			// A stranger's would only keep somebody waiting, but who is not
			// believed later is not believed now.
			if code == http.StatusProcessing && l.proves(code, http.Header(header)) {
				f()
			}
			return nil
		},
	})
}

// A worker says that it is at work if the Store takes long.
type worker struct {
	x     *exchange
	timer *time.Timer

	mu   sync.Mutex // guards the following, and the answer until over
	over bool
}

// working begins the wait for the Store. The answer must not be touched before
// done has returned.
func (x *exchange) working() *worker {
	w := &worker{x: x}
	w.timer = time.AfterFunc(workingAfter, w.say)
	return w
}

func (w *worker) say() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	extend(w.x.conn.SetWriteDeadline)
	w.x.prove(http.StatusProcessing)
	w.x.w.WriteHeader(http.StatusProcessing)
}

// done ends the wait.
func (w *worker) done() {
	if w.timer.Stop() {
		return // it says nothing any more
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
