package origin

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
)

// A process that stood still goes on with what it was about to do. These tests
// let time pass in the middle of a write, as standing still does, and the news
// that its client left come a moment after.

// standstill is longer than any client's patience.
const standstill = time.Minute

func TestAWriteThatStoodStillIsNotPublishedForAClientWhoLeft(t *testing.T) {
	for name, c := range map[string]struct {
		overwritten, left bool
		want              string
	}{
		"overwritten meanwhile, and the client left":  {true, true, "later"},
		"overwritten meanwhile, and the client waits": {true, false, "mine"},
		"nothing happened":                            {false, true, "mine"}, // published before the news is there
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				l, other := open(t, dir), open(t, dir)
				store(t, l, "k", "before", object.PutOptions{})
				time.Sleep(time.Second)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				src := io.MultiReader(strings.NewReader("mine"), atEnd(func() {
					if c.overwritten {
						store(t, other, "k", "later", object.PutOptions{})
					}
					time.Sleep(standstill)
					if c.left {
						time.AfterFunc(time.Millisecond, leave)
					}
				}))
				_, err := l.Put(ctx, "k", object.ReaderSource(src, -1), object.PutOptions{})
				if c.want == "later" != errors.Is(err, context.Canceled) {
					t.Errorf("Put: %v", err)
				}
				want(t, l, "k", c.want, "")
			})
		})
	}
}

// atEnd is an empty reader that does something first.
type atEnd func()

func (f atEnd) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func TestADeleteThatStoodStillIsNotCarriedOutForAClientWhoLeft(t *testing.T) {
	for _, left := range []bool{true, false} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			l, other := open(t, dir), open(t, dir)
			store(t, l, "k", "before", object.PutOptions{})
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			unlock, ok := other.tryLock("k")
			if !ok {
				t.Fatal("locked")
			}
			time.AfterFunc(standstill, func() {
				next := filepath.Join(dir, ownDir, "next")
				if err := errors.Join(os.WriteFile(next, []byte("later"), 0o644), os.Rename(next, filepath.Join(dir, "k"))); err != nil {
					t.Error(err)
				}
				unlock()
				if left {
					time.AfterFunc(2*pollMost, leave)
				}
			})
			err := l.Delete(ctx, "k", object.DeleteOptions{})
			if !left {
				if err != nil {
					t.Errorf("Delete: %v", err)
				}
				missing(t, l, "k")
				return
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Delete: %v", err)
			}
			want(t, l, "k", "later", "")
		})
	}
}
