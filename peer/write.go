package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/micelio/micelio/object"
)

// Put implements object.Store. It returns only after the last read of src, and
// never sends anything twice.
//
// An error of the source matches as it is. ErrNotSent says that src was not
// opened; object.ErrUnknownOutcome that the peer may have all of it; and
// object.ErrUnavailable alone that the body broke on the way, so that the peer
// stored nothing.
func (c *Client) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return object.Info{}, err
	}
	info, err := c.put(ctx, key, src, opt)
	if met := (*challengeError)(nil); errors.As(err, &met) && errors.Is(err, ErrNotSent) {
		return c.put(ctx, key, src, opt) // the peer was met for the first time, and src is untouched
	}
	return info, err
}

// put sends one request.
func (c *Client) put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	l := c.begin(ctx, "put", key)
	defer l.end()
	up := newUpload(l, src)
	info, err := l.put(key, up, opt)
	// The owner's answer may come before the end of the body. What it did not
	// wait for, nobody may read any more. An error of closing what was read is
	// no error of the Put.
	_ = up.Close()
	if err != nil {
		return object.Info{}, up.explain(err)
	}
	return info, nil
}

func (l *call) put(key object.Key, up *upload, opt object.PutOptions) (object.Info, error) {
	size := up.src.Size()
	if err := l.enter(size < 0 || size >= bulkSize); err != nil {
		return object.Info{}, err
	}
	req, err := l.request(http.MethodPut, objectPath(key), encodePut(opt, size))
	if err != nil {
		return object.Info{}, err
	}
	req.Header["Expect"] = []string{"100-continue"}
	req.Body, req.ContentLength = up, size
	if size <= 0 {
		req.ContentLength = -1 // chunked; also if empty, see the package's documentation
	}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got100Continue: up.ask}))
	resp, err := l.send(req, http.StatusOK)
	if err != nil {
		return object.Info{}, err
	}
	defer l.discard(resp)
	info, err := answeredInfo(resp)
	if err == nil && info.Key != key {
		err = fmt.Errorf("%w: stored %q", errStranger, info.Key)
	}
	return info, err
}

// explain returns what err, which ended the Put, means for the object.
func (u *upload) explain(err error) error {
	l := u.call
	var r *refusal
	answered := errors.As(err, &r)
	switch {
	case errors.Is(err, errBudget):
		return err
	case u.err != nil:
		return l.brokenSource(u.err)
	case !u.opened() && (answered || l.parent.Err() == nil):
		return l.notSent(err)
	case u.whole && !answered:
		return l.unknown(err)
	}
	return l.failed(err)
}

// brokenSource returns the error of a source, with that of the caller's context
// if it ended: often the one is because of the other.
func (l *call) brokenSource(err error) error {
	if ctxErr := l.parent.Err(); ctxErr != nil {
		return fmt.Errorf("%s: reading the source: %w: %w", l.what(), err, ctxErr)
	}
	return fmt.Errorf("%s: reading the source: %w", l.what(), err)
}

// notSent returns the error of a write that did not begin. Only a peer that
// could not be used makes it worth trying elsewhere.
func (l *call) notSent(err error) error {
	if err = l.failed(err); errors.Is(err, object.ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return err
}

// unknown returns the error of a write that may have been applied. It does not
// match object.ErrUnavailable, which promises that nothing changed.
func (l *call) unknown(err error) error {
	cause := l.parent.Err()
	if cause == nil {
		cause = l.reason(err)
	}
	return fmt.Errorf("%s: %w: %w", l.what(), object.ErrUnknownOutcome, cause)
}

// Delete implements object.Store. Once there is a connection, everything but an
// answer of the peer's handler is object.ErrUnknownOutcome.
func (c *Client) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if _, err := object.ParseKey(string(key)); err != nil {
		return err
	}
	l := c.begin(ctx, "delete", key)
	defer l.end()
	req, err := l.request(http.MethodDelete, objectPath(key), encodeDelete(opt))
	if err != nil {
		return err
	}
	var connected atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}))
	resp, err := l.send(req, http.StatusNoContent)
	if err != nil {
		return l.explainDelete(err, connected.Load())
	}
	l.discard(resp)
	return nil
}

func (l *call) explainDelete(err error, connected bool) error {
	var r *refusal
	var dial *dialError
	var met *challengeError
	switch {
	case errors.As(err, &r):
		return l.failed(err)
	case !connected, errors.As(err, &met) && !met.replayed, errors.As(err, &dial): // a connection before it, if any, took no byte
		return l.notSent(err)
	}
	return l.unknown(err)
}
