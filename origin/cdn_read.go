package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
)

const (
	// cdnWhole is the size up to which an object is proven before its first byte
	// is handed out. It is what a node keeps in RAM at most, and takes a few
	// milliseconds to arrive.
	cdnWhole = 1 << 20

	// cdnDrain is how much of an answer that is of no use is read, so that the
	// connection can be used again. Error pages are rarely longer.
	cdnDrain = 16 << 10
)

// errCDNSlow is the cause of a request that was given up.
var errCDNSlow = errors.New("the CDN is too slow")

// A cdnMiss sends a read upstream.
type cdnMiss struct {
	reason  CDNMiss
	outcome pace.Outcome
	err     error // nil if the reason says it all
}

func (m *cdnMiss) Error() string { return "not from the CDN: " + string(m.reason) }

// A cdnRead is one read at the CDN.
type cdnRead struct {
	cdn   *CDN
	ctx   context.Context // the caller's
	key   object.Key
	opt   object.GetOptions
	proof proof
	known *object.Info // what upstream says about the object, nil if it was not asked

	request context.Context // of the request at the CDN: ctx, or errCDNSlow
	cancel  context.CancelCauseFunc
	clock   *time.Timer // cancels with errCDNSlow

	settle  func(pace.Outcome) // tells the breaker how it went; the first call counts
	release func()             // gives the slot back; may be called again
}

// read asks the CDN. Its error is a cdnMiss, or upstream's own answer.
func (c *CDN) read(ctx context.Context, key object.Key, class object.Class, digest object.Digest, opt object.GetOptions) (*object.Object, error) {
	if c.bypass.holds(key, time.Now()) {
		return nil, &cdnMiss{reason: CDNBypassed}
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return nil, &cdnMiss{reason: CDNBusy}
	}
	release := sync.OnceFunc(func() { <-c.slots })
	done, err := c.breaker.Allow()
	if err != nil {
		release()
		return nil, &cdnMiss{reason: CDNBroken, err: err}
	}
	var once sync.Once
	r := &cdnRead{
		cdn: c, ctx: ctx, key: key, opt: opt, release: release,
		settle: func(o pace.Outcome) { once.Do(func() { done(o) }) },
	}
	obj, err := r.run(class, digest)
	if err != nil {
		outcome := pace.Ignore
		var miss *cdnMiss
		if errors.As(err, &miss) {
			outcome = miss.outcome
		}
		r.end(outcome)
	}
	return obj, err
}

func (r *cdnRead) run(class object.Class, digest object.Digest) (*object.Object, error) {
	if err := r.expect(class, digest); err != nil {
		return nil, err
	}
	resp, err := r.send()
	if err != nil {
		return nil, err
	}
	if err := r.judge(resp); err != nil {
		// Of an answer without a length nobody knows when it ends.
		if resp.ContentLength > 0 && resp.ContentLength <= cdnDrain {
			io.CopyN(io.Discard, resp.Body, cdnDrain)
		}
		resp.Body.Close()
		return nil, err
	}
	if resp.ContentLength <= cdnWhole {
		return r.whole(resp)
	}
	return r.stream(resp)
}

// end stops what may be under way at the CDN and gives the slot back.
func (r *cdnRead) end(o pace.Outcome) {
	r.stop()
	r.settle(o)
	r.release()
}

func (r *cdnRead) stop() {
	if r.cancel != nil {
		r.clock.Stop()
		r.cancel(nil)
	}
}

// expect finds out what the bytes must hash to.
func (r *cdnRead) expect(class object.Class, digest object.Digest) error {
	if class == object.Verified {
		r.proof = bySHA256(digest)
		return nil
	}
	info, err := r.cdn.upstream.Head(r.ctx, r.key, object.HeadOptions{IfMatch: r.opt.IfMatch, IfNoneMatch: r.opt.IfNoneMatch})
	if err != nil {
		return err // the authority has answered, or cannot be asked
	}
	sum, isMD5 := md5Of(info.ETag)
	switch {
	case info.ContentEncoding != "":
		return &cdnMiss{reason: CDNMalformed, outcome: pace.Ignore}
	case !info.SHA256.IsZero():
		r.proof = bySHA256(info.SHA256)
	case isMD5:
		r.proof = byMD5(sum)
	default:
		return &cdnMiss{reason: CDNUnprovable, outcome: pace.Ignore}
	}
	r.known = &info
	return nil
}

// send returns the CDN's answer. The clock goes on: it is for the first byte,
// and for all bytes of a small object.
func (r *cdnRead) send() (*http.Response, error) {
	url := r.cdn.url(r.key)
	if sign := r.cdn.cfg.Signer; sign != nil {
		signed, err := sign(url, time.Now())
		if err != nil {
			r.cdn.cfg.Log.WarnContext(r.ctx, "the URL for the CDN was not signed", "err", err)
			return nil, &cdnMiss{reason: CDNUnsigned, outcome: pace.Ignore, err: err}
		}
		url = signed
	}
	r.request, r.cancel = context.WithCancelCause(r.ctx)
	r.clock = time.AfterFunc(r.cdn.cfg.Timeout, func() { r.cancel(errCDNSlow) })
	req, err := http.NewRequestWithContext(r.request, http.MethodGet, url, nil)
	if err != nil {
		return nil, &cdnMiss{reason: CDNUnsigned, outcome: pace.Ignore, err: err}
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("CDN-Loop", r.cdn.cfg.Loop)
	req.Header.Set("User-Agent", "micelio")
	setTrail(req.Header, r.ctx)
	resp, err := r.cdn.transport.RoundTrip(req)
	if err != nil {
		return nil, r.failure(err)
	}
	return resp, nil
}

// failure names what went wrong between the CDN and us.
func (r *cdnRead) failure(err error) *cdnMiss {
	var timeout net.Error
	switch {
	case r.ctx.Err() != nil:
		return &cdnMiss{reason: CDNUnreachable, outcome: pace.Ignore, err: err}
	case context.Cause(r.request) == errCDNSlow, err == errCDNSlow, errors.As(err, &timeout) && timeout.Timeout():
		return &cdnMiss{reason: CDNTimeout, outcome: pace.Overload, err: errCDNSlow}
	}
	return &cdnMiss{reason: CDNUnreachable, outcome: pace.Failure, err: err}
}

// judge tells from the head of an answer whether its body can be the object.
func (r *cdnRead) judge(resp *http.Response) error {
	status := resp.StatusCode
	encoding := withoutChunks(strings.Join(resp.Header.Values("Content-Encoding"), ","))
	miss := &cdnMiss{reason: CDNStatus, err: errors.New(http.StatusText(status))}
	switch {
	case status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusGone:
		miss.reason, miss.outcome = CDNAbsent, pace.OK
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		miss.outcome = pace.Overload
	case status >= 400 && status < 500:
		miss.outcome = pace.OK // it is about this key
	case status != http.StatusOK:
		miss.outcome = pace.Failure
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		*miss = cdnMiss{CDNMalformed, pace.OK, fmt.Errorf("content encoding %q", encoding)}
	case resp.ContentLength < 0 || resp.Header.Get("Content-Range") != "":
		*miss = cdnMiss{CDNMalformed, pace.Failure, errors.New("no length, or a part")}
	case r.known != nil && (resp.ContentLength != r.known.Size || contradict(etagHeader(resp), r.known.ETag)):
		r.cdn.bypass.add(r.key, time.Now(), false)
		*miss = cdnMiss{CDNStale, pace.OK, fmt.Errorf("%d bytes, ETag %s", resp.ContentLength, resp.Header.Get("ETag"))}
	default:
		return nil
	}
	return miss
}

// contradict reports whether two ETags are MD5s of different bytes. Others say
// nothing: a CDN that reads a directory makes its own.
func contradict(a, b object.ETag) bool {
	_, aIs := md5Of(a)
	_, bIs := md5Of(b)
	return aIs && bIs && a != b
}

// whole receives a small object and proves it.
func (r *cdnRead) whole(resp *http.Response) (*object.Object, error) {
	body := make([]byte, resp.ContentLength)
	_, err := io.ReadFull(resp.Body, body)
	resp.Body.Close()
	if err != nil {
		return nil, r.failure(err)
	}
	r.stop()
	if !r.proof.holds(body) {
		r.wrong()
		return nil, &cdnMiss{reason: CDNBad, outcome: pace.Failure}
	}
	info, err := r.describe(resp, body)
	if err != nil {
		return nil, err
	}
	r.settle(pace.OK)
	return &object.Object{Info: info, Length: info.Size, Body: &provenBody{Reader: bytes.NewReader(body), release: r.release}}, nil
}

// A provenBody is a small object in memory. It counts as under way until it is
// closed, so that Concurrency bounds what all of them take.
type provenBody struct {
	*bytes.Reader
	release func()
}

func (b *provenBody) Close() error {
	b.release()
	return nil
}

// stream hands out a large object while it arrives.
func (r *cdnRead) stream(resp *http.Response) (*object.Object, error) {
	if !r.clock.Stop() {
		resp.Body.Close()
		return nil, r.failure(errCDNSlow)
	}
	info, err := r.describe(resp, nil)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	b := &cdnBody{read: r, size: info.Size, src: resp.Body, hash: r.proof.hash()}
	return &object.Object{Info: info, Length: info.Size, Body: b}, nil
}

// describe says what is known about the object besides its bytes, which are here
// if they have been proven, else nil. Upstream is asked unless it was already,
// or the bytes prove the CDN's ETag by being its MD5, as a Local's always is and
// S3's usually. If upstream is unavailable, or what it has is not the object
// that was just proven, the CDN's word has to do: the bytes of a verified key
// speak for themselves.
func (r *cdnRead) describe(resp *http.Response, proven []byte) (object.Info, error) {
	info := r.claimed(resp)
	if r.known == nil && (proven == nil || !isMD5(info.ETag, proven)) {
		upstream, err := r.cdn.upstream.Head(r.ctx, r.key, object.HeadOptions{IfMatch: r.opt.IfMatch})
		switch {
		case err == nil && upstream.Size == info.Size:
			r.known = &upstream
		case err == nil && proven == nil:
			r.cdn.bypass.add(r.key, time.Now(), false)
			return object.Info{}, &cdnMiss{reason: CDNStale, outcome: pace.OK}
		case err != nil && (!errors.Is(err, object.ErrUnavailable) || r.ctx.Err() != nil):
			return object.Info{}, err
		case info.ETag == "":
			return object.Info{}, &cdnMiss{reason: CDNStale, outcome: pace.OK}
		}
	}
	if r.known != nil {
		age := info.Age
		info = *r.known
		info.Age = age
	} else if r.opt.IfMatch.IsSet() && !r.opt.IfMatch.Strong(info.ETag) {
		return object.Info{}, &cdnMiss{reason: CDNStale, outcome: pace.OK}
	}
	if r.proof.sha256 {
		info.SHA256 = object.Digest(r.proof.sum)
	}
	info.Tier, info.Node = object.TierCDN, ""
	return info, nil
}

// claimed returns what the CDN says about the object.
func (r *cdnRead) claimed(resp *http.Response) object.Info {
	h := resp.Header
	d := description{
		size: resp.ContentLength, versionID: optional(h.Get("X-Amz-Version-Id")), meta: make(map[string]string),
		contentType: optional(h.Get("Content-Type")), language: optional(h.Get("Content-Language")),
		disposition: optional(h.Get("Content-Disposition")), cacheControl: optional(h.Get("Cache-Control")),
	}
	if modified, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		d.modified = &modified
	}
	for name, values := range h {
		if user, found := strings.CutPrefix(name, "X-Amz-Meta-"); found {
			d.meta[user] = values[0]
		}
	}
	info := d.info(r.key)
	info.ETag = etagHeader(resp)
	if seconds, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		info.Age = time.Duration(seconds) * time.Second
	}
	return info
}

// etagHeader returns the ETag of an answer, "" if it has none or a weak one.
func etagHeader(resp *http.Response) object.ETag {
	if etag, ok := object.ParseETag(resp.Header.Get("ETag")); ok {
		return etag
	}
	return ""
}

// wrong notes that the bytes of the key failed their proof. An ETag that looks
// like an MD5 need not be one (objects that S3 encrypts with KMS have such), so
// that one does not speak against the CDN as a whole.
func (r *cdnRead) wrong() {
	r.cdn.count(func(s *CDNStats) { s.Bad++ })
	all := r.cdn.bypass.add(r.key, time.Now(), r.proof.sha256)
	level := slog.LevelDebug
	if r.proof.sha256 {
		level = slog.LevelWarn
	}
	r.cdn.cfg.Log.Log(r.ctx, level, "the CDN had wrong bytes, the key is read upstream for a while", "key", r.key, "for", bypassKey)
	if all {
		r.cdn.cfg.Log.Warn("the CDN was wrong too often, all keys are read upstream for a while", "for", bypassAll)
	}
}
