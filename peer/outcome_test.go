package peer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

// A failing Store answers everything with err.
type failing struct{ err error }

func (f failing) Get(context.Context, object.Key, object.GetOptions) (*object.Object, error) {
	return nil, f.err
}
func (f failing) Head(context.Context, object.Key, object.HeadOptions) (object.Info, error) {
	return object.Info{}, f.err
}
func (f failing) Put(context.Context, object.Key, object.Source, object.PutOptions) (object.Info, error) {
	return object.Info{}, f.err
}
func (f failing) Delete(context.Context, object.Key, object.DeleteOptions) error { return f.err }
func (f failing) List(context.Context, object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) { yield(object.Entry{}, f.err) }
}

// operations calls every method of a Store; a Put opens src or not.
func operations(ctx context.Context, s object.Store, src object.Source) map[string]error {
	got := map[string]error{}
	obj, err := s.Get(ctx, "key", object.GetOptions{})
	if err == nil {
		obj.Body.Close()
	}
	got["get"] = err
	_, got["head"] = s.Head(ctx, "key", object.HeadOptions{})
	_, got["put"] = s.Put(ctx, "key", src, object.PutOptions{})
	got["delete"] = s.Delete(ctx, "key", object.DeleteOptions{})
	for _, err := range s.List(ctx, object.ListOptions{}) {
		got["list"] = err
	}
	return got
}

func TestEveryErrorArrivesAsItself(t *testing.T) {
	for _, sentinel := range []error{
		object.ErrNotFound, object.ErrPrecondition, object.ErrRange, object.ErrTooLarge, object.ErrInvalidKey,
		object.ErrDigest, object.ErrConflict, object.ErrUnavailable, object.ErrUnknownOutcome,
	} {
		t.Run(sentinel.Error(), func(t *testing.T) {
			c := clientOf(t, failing{fmt.Errorf("the disk said: %w", sentinel)})
			for op, err := range operations(t.Context(), c, object.BytesSource([]byte("body"))) {
				if op == "put" && sentinel == object.ErrUnavailable {
					wantErr(t, op, err, sentinel, ErrNotSent) // refused before the source was opened
				} else {
					wantErr(t, op, err, sentinel)
				}
				if op != "head" && !strings.Contains(err.Error(), "the disk said") {
					t.Errorf("%s: the peer's message is lost: %v", op, err)
				}
				if !strings.Contains(err.Error(), c.Addr()) {
					t.Errorf("%s: the peer is not named: %v", op, err)
				}
			}
		})
	}
}

func TestAnyOtherErrorIsUnavailable(t *testing.T) {
	for _, err := range []error{errors.New("out of luck"), object.ErrReplay, context.Canceled, context.DeadlineExceeded} {
		c := clientOf(t, failing{err})
		for op, err := range operations(t.Context(), c, &oneShot{size: -1, r: strings.NewReader("body")}) {
			if op == "put" {
				wantErr(t, op, err, object.ErrUnavailable, ErrNotSent)
			} else {
				wantErr(t, op, err, object.ErrUnavailable)
			}
		}
	}
}

func TestOfTwoErrorsTheUnknownOutcomeTravels(t *testing.T) {
	c := clientOf(t, failing{fmt.Errorf("%w: %w", object.ErrUnavailable, object.ErrUnknownOutcome)})
	wantErr(t, "delete", c.Delete(t.Context(), "key", object.DeleteOptions{}), object.ErrUnknownOutcome)
}

func TestNotModifiedCarriesWhatIsCurrent(t *testing.T) {
	want := fullInfo()
	c := clientOf(t, failing{&object.NotModifiedError{Info: want}})
	_, getErr := c.Get(t.Context(), want.Key, object.GetOptions{})
	_, headErr := c.Head(t.Context(), want.Key, object.HeadOptions{})
	for op, err := range map[string]error{"get": getErr, "head": headErr} {
		wantErr(t, op, err, object.ErrNotModified)
		var nm *object.NotModifiedError
		if !errors.As(err, &nm) {
			t.Fatalf("%s: %v carries nothing", op, err)
		}
		if diff := cmp.Diff(want, nm.Info); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", op, diff)
		}
	}
}

func TestCodesAndStatusesAreUnambiguous(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range outcomes {
		if seen[o.code] || o.code == "" || o.status < 300 || o.err == nil {
			t.Errorf("outcome %+v", o)
		}
		seen[o.code] = true
	}
}

// answerWith serves one fixed answer with the cluster's mark.
func answerWith(t *testing.T, status int, header map[string]string) *Client {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(headerCluster, string(appendEscaped(nil, testConfig.Cluster)))
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
	}))
	return poolOf(t, testConfig).Client(addr)
}

func TestAnAnswerThatContradictsItselfIsUnavailable(t *testing.T) {
	info := string(encodeInfo(object.Info{Key: "key", Size: 3, Modified: time.Now()}))
	for name, c := range map[string]struct {
		status int
		header map[string]string
	}{
		"code of another status":     {500, map[string]string{headerError: "not-found"}},
		"status without a code":      {404, nil},
		"unknown code":               {404, map[string]string{headerError: "lost"}},
		"empty code":                 {404, map[string]string{headerError: ""}},
		"success without info":       {200, nil},
		"garbled info":               {200, map[string]string{headerInfo: "key=key&size=three"}},
		"info of another key":        {200, map[string]string{headerInfo: "key=other&size=3"}},
		"info of an invalid key":     {200, map[string]string{headerInfo: "key=..&size=3"}},
		"body shorter than its info": {200, map[string]string{headerInfo: info}},
		"part without a range":       {206, map[string]string{headerInfo: info}},
		"part outside of the object": {206, map[string]string{headerInfo: info, "Content-Range": "bytes 2-3/3"}},
		"not modified, without info": {304, map[string]string{headerError: "not-modified"}},
		"no content":                 {204, map[string]string{headerInfo: info}},
	} {
		t.Run(name, func(t *testing.T) {
			client := answerWith(t, c.status, c.header)
			_, err := client.Get(t.Context(), "key", object.GetOptions{})
			wantErr(t, "get", err, object.ErrUnavailable)
			if strings.HasPrefix(name, "body") || strings.HasPrefix(name, "part") {
				return
			}
			_, err = client.Head(t.Context(), "key", object.HeadOptions{})
			wantErr(t, "head", err, object.ErrUnavailable)
			_, err = client.Put(t.Context(), "key", object.BytesSource([]byte("abc")), object.PutOptions{})
			wantErr(t, "put", err, object.ErrUnavailable, ErrNotSent)
			if c.status != 204 {
				wantErr(t, "delete", client.Delete(t.Context(), "key", object.DeleteOptions{}), object.ErrUnknownOutcome)
			}
		})
	}
}

func TestWhenToAskAgainArrivesToo(t *testing.T) {
	for _, after := range []time.Duration{0, 1500 * time.Millisecond} {
		c := clientOf(t, failing{fmt.Errorf("busy: %w", &object.RetryLaterError{After: after, Err: errors.New("queue is full")})})
		for op, err := range operations(t.Context(), c, object.BytesSource(nil)) {
			if op == "list" {
				continue // an error inside a page says no more than what it is
			}
			var later *object.RetryLaterError
			if !errors.As(err, &later) || later.After != after || !errors.Is(err, object.ErrUnavailable) || errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
}
