package s3test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"time"
)

// A Lie is one way in which an answer to a GET is wrong and looks right.
type Lie int

// The lies.
const (
	LieFlip   Lie = iota // one bit of the body is another
	LieLength            // the body lacks its last byte, and the headers say so
	LieObject            // the answer is that of another object in the bucket
	LieETag              // the ETag is another
)

// Lie spoils answers to GETs that look right.
func (k Knobs) Lie(lie Lie) (undo func()) {
	if lie == LieObject {
		return k.Methods(http.MethodGet).Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), otherObject{}, true)))
		})
	}
	return k.answers(func(w http.ResponseWriter, _ *http.Request, full *httptest.ResponseRecorder) {
		body := full.Body.Bytes()
		switch n := len(body); {
		case lie == LieETag:
			full.Header().Set("Etag", `"00000000000000000000000000000000"`)
		case n == 0:
		case lie == LieFlip:
			body[n/2] ^= 1
		case lie == LieLength:
			body = body[:n-1]
			full.Header().Set("Content-Length", strconv.Itoa(n-1))
		}
		send(w, full)
		_, _ = w.Write(body) // the client may be gone
	})
}

// otherObject marks the context of a request that is to be answered with
// another object than it names.
type otherObject struct{}

// other returns the object that follows a name in a bucket, or the first, and
// never that of the name itself.
func (b *fakeBucket) other(name string) *fakeObject {
	var names []string
	for n := range b.objects {
		if n != name {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	i, _ := slices.BinarySearch(names, name)
	return b.objects[names[i%len(names)]]
}

// WeakConditions ignores the conditions of writes, as services do that do not
// know them.
func (k Knobs) WeakConditions() (undo func()) { return k.fake.turn(&k.fake.weak) }

// IgnoreConditionalDelete removes whatever condition a delete has.
func (k Knobs) IgnoreConditionalDelete() (undo func()) { return k.fake.turn(&k.fake.weakDelete) }

// IgnoreConditionalBatch removes what a batch names, whatever version of it.
func (k Knobs) IgnoreConditionalBatch() (undo func()) { return k.fake.turn(&k.fake.weakBatch) }

// RacyConditions tests the condition of a write and then writes, without
// keeping others from doing the same between the two: of writes that arrive
// together two succeed. A write waits for a second one, but not for long.
func (k Knobs) RacyConditions() (undo func()) { return k.fake.turn(&k.fake.racy) }

func (f *Fake) turn(on *bool) (undo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*on = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		*on = false
	}
}

// raceLimit is how long a write waits for another to race with: longer than
// requests are apart that were sent together, on a busy machine too.
const raceLimit = time.Second

// A race is a write that has passed its condition and waits for another.
type race struct {
	write func()
	done  chan struct{} // closed when it is carried out
}

// join carries a write out together with another one of the same name. f.mu is
// held, and given up while it waits.
func (f *Fake) join(ctx context.Context, name string, write func()) {
	if first := f.racing[name]; first != nil {
		delete(f.racing, name)
		first.write()
		close(first.done)
		write()
		return
	}
	mine := &race{write, make(chan struct{})}
	f.racing[name] = mine
	f.mu.Unlock()
	alone := time.NewTimer(raceLimit)
	defer alone.Stop()
	select {
	case <-mine.done:
	case <-alone.C:
	case <-ctx.Done():
	case <-f.closing:
	}
	f.mu.Lock()
	if f.racing[name] == mine {
		delete(f.racing, name)
		write()
	}
}
