package gateway

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
)

// A failingStore answers everything with one error.
type failingStore struct {
	*memStore
	err error
}

func (f failingStore) Get(context.Context, object.Key, object.GetOptions) (*object.Object, error) {
	return nil, f.err
}
func (f failingStore) Head(context.Context, object.Key, object.HeadOptions) (object.Info, error) {
	return object.Info{}, f.err
}
func (f failingStore) Put(_ context.Context, _ object.Key, src object.Source, _ object.PutOptions) (object.Info, error) {
	r, err := src.Open()
	if err != nil {
		return object.Info{}, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return object.Info{}, errors.New("something went wrong") // a Store that loses the cause
	}
	return object.Info{}, f.err
}
func (f failingStore) Delete(context.Context, object.Key, object.DeleteOptions) error { return f.err }

func TestEveryErrorHasItsStatusAndCode(t *testing.T) {
	secret := errors.New("open /var/lib/secret: EIO")
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{object.ErrNotFound, 404, "NoSuchKey"},
		{object.ErrPrecondition, 412, "PreconditionFailed"},
		{object.ErrRange, 416, "InvalidRange"},
		{object.ErrTooLarge, 413, "EntityTooLarge"},
		{object.ErrInvalidKey, 400, "InvalidArgument"},
		{object.ErrDigest, 400, "BadDigest"},
		{object.ErrConflict, 409, "ObjectAlreadyExists"},
		{object.ErrUnavailable, 503, "ServiceUnavailable"},
		{&object.RetryLaterError{After: time.Second, Err: errors.New("queue")}, 503, "SlowDown"},
		{object.ErrUnknownOutcome, 503, "ServiceUnavailable"},
		{fmt.Errorf("%w: %w", object.ErrUnavailable, object.ErrUnknownOutcome), 503, "ServiceUnavailable"},
		{context.DeadlineExceeded, 503, "ServiceUnavailable"},
		{context.Canceled, 499, "RequestCanceled"},
		{object.ErrReplay, 500, "InternalError"},
		{secret, 500, "InternalError"},
	} {
		var log lockedBuffer
		s := serve(t, Config{
			Store: failingStore{newMemStore(), fmt.Errorf("%w: %w", c.err, secret)},
			Log:   slog.New(slog.NewTextHandler(&log, nil)),
		})
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			resp, doc := send(t, method, s.URL+"/micelio/dir/k%20&", nil, http.NoBody)
			var e errorDocument
			if method != "HEAD" {
				if err := xml.Unmarshal([]byte(doc), &e); err != nil {
					t.Fatalf("%v: %v in %q", c.err, err, doc)
				}
				if e.Code != c.code || e.Message == "" || e.Resource != "/micelio/dir/k%20&" || e.RequestID != resp.Header.Get("X-Amz-Request-Id") {
					t.Errorf("%s, %v: %+v, want code %s", method, c.err, e, c.code)
				}
			}
			if resp.StatusCode != c.status || strings.Contains(doc, "secret") {
				t.Errorf("%s, %v: %d %s, want %d", method, c.err, resp.StatusCode, doc, c.status)
			}
			if (resp.Header.Get("Micelio-Outcome") == "unknown") != errors.Is(c.err, object.ErrUnknownOutcome) {
				t.Errorf("%s, %v: Micelio-Outcome %q", method, c.err, resp.Header.Get("Micelio-Outcome"))
			}
			if (resp.Header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("%s, %v: Retry-After %q", method, c.err, resp.Header.Get("Retry-After"))
			}
			if x := resp.Header.Get("X-Cache"); x != tierNone || resp.Header.Get("Micelio-Node") != "node-1" {
				t.Errorf("%s, %v: X-Cache %q, Micelio-Node %q", method, c.err, x, resp.Header.Get("Micelio-Node"))
			}
		}
		if logged := strings.Count(log.String(), "request failed"); (logged == 4) != (c.status == 500) || (logged != 0) != (c.status == 500) {
			t.Errorf("%v: logged %d times in 4 requests", c.err, logged)
		}
	}
}

func TestAClientIsToldWhenToComeBack(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "1", 10 * time.Millisecond: "1", 2 * time.Second: "2", 2500 * time.Millisecond: "3"} {
		s := serve(t, Config{Store: failingStore{newMemStore(), &object.RetryLaterError{After: after, Err: errors.New("queue")}}})
		resp, _ := send(t, "GET", s.URL+"/micelio/key", nil, http.NoBody)
		if got := resp.Header.Get("Retry-After"); resp.StatusCode != 503 || got != want {
			t.Errorf("after %v: %d, Retry-After %q, want %q", after, resp.StatusCode, got, want)
		}
	}
}

func TestARequestThatCameFromHereIsRefused(t *testing.T) {
	s := serve(t, Config{Store: newMemStore(), Loop: "micelio-east"})
	for field, status := range map[string]int{
		"micelio-east": 508, "fastly, micelio-east;v=1": 508, " micelio-east , x": 508,
		"": 404, "micelio-west": 404, "x;micelio-east": 404, "micelio": 404,
	} {
		resp, _ := send(t, "GET", s.URL+"/micelio/key", http.Header{"Cdn-Loop": {"other", field}}, http.NoBody)
		if resp.StatusCode != status {
			t.Errorf("CDN-Loop %q: %d, want %d", field, resp.StatusCode, status)
		}
	}
}

// A lockedBuffer is a log that many goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAWrongDigestSaysWhichOne(t *testing.T) {
	s := serve(t, Config{Store: failingStore{newMemStore(), object.ErrDigest}})
	sum, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	md5 := "AAAAAAAAAAAAAAAAAAAAAA=="
	for _, c := range []struct {
		key, sha, md5, code string
	}{
		{"plain", sum, "", "XAmzContentSHA256Mismatch"},
		{"plain", strings.ToUpper(sum), "", "XAmzContentSHA256Mismatch"},
		{"plain", sum, md5, "BadDigest"},
		{"plain", "", md5, "BadDigest"},
		{"plain", unsignedPayload, "", "BadDigest"},
		{"artifacts/sha256:" + sum, sum, "", "XAmzContentSHA256Mismatch"},
		{"artifacts/sha256:" + other, sum, "", "BadDigest"},
		{"artifacts/sha256:" + other, "", "", "BadDigest"},
	} {
		h := http.Header{}
		setIf(h, "X-Amz-Content-Sha256", c.sha)
		setIf(h, "Content-Md5", c.md5)
		if _, doc := send(t, "PUT", s.URL+"/micelio/"+c.key, h, strings.NewReader("x")); codeOf(doc) != c.code {
			t.Errorf("key %.25s…, sha256 %.20s, md5 %q: %q, want %q", c.key, c.sha, c.md5, codeOf(doc), c.code)
		}
	}
}

// A wrappingStore returns what its source ended with inside an error of its own.
type wrappingStore struct {
	*memStore
	err error
}

func (w wrappingStore) Put(_ context.Context, _ object.Key, src object.Source, _ object.PutOptions) (object.Info, error) {
	r, err := src.Open()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return object.Info{}, fmt.Errorf("%w: %w", w.err, err)
}

func TestAFaultOfTheBodyOutranksWhatTheStoreMadeOfIt(t *testing.T) {
	for name, c := range map[string]struct {
		store  object.Store
		status int
	}{
		"the cause is lost":                 {failingStore{newMemStore(), object.ErrUnavailable}, 400},
		"the cause is wrapped":              {wrappingStore{newMemStore(), object.ErrUnavailable}, 400},
		"but an unknown outcome is unknown": {wrappingStore{newMemStore(), object.ErrUnknownOutcome}, 503},
	} {
		addr := serve(t, Config{Store: c.store}).Listener.Addr().String()
		resp, doc := raw(t, addr, "PUT /micelio/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc")
		if resp.StatusCode != c.status || (codeOf(doc) == "IncompleteBody") != (c.status == 400) {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, doc, c.status)
		}
	}
}

// A skippingStore does not read a source of no bytes.
type skippingStore struct{ *memStore }

func (s skippingStore) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if src.Size() == 0 {
		src = object.BytesSource(nil)
	}
	return s.memStore.Put(ctx, key, src, opt)
}

func TestAnEmptyUploadIsVerifiedEvenIfTheStoreDoesNotReadIt(t *testing.T) {
	for sum, status := range map[string]int{"AAAAAA==": 200, "AAAAAQ==": 400} {
		store := newMemStore()
		url := serve(t, Config{Store: skippingStore{store}}).URL + "/micelio/k"
		resp, doc := send(t, "PUT", url, http.Header{"X-Amz-Checksum-Crc32": {sum}}, http.NoBody)
		if keys := store.keys(t); resp.StatusCode != status || (len(keys) == 1) != (status == 200) {
			t.Errorf("sum %s: %d %s, stored %q", sum, resp.StatusCode, doc, keys)
		}
	}
}
