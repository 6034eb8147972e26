package origin

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/micelio/micelio/object"
)

// Put implements object.Store. Objects of up to PartSize bytes are taken in
// whole, digested and written in one request; larger ones go up in parts while
// they arrive. Nothing is written whose digest does not fit, and no attempt can
// overwrite a later write: without a condition of the caller's an object goes up
// on the condition that what is there stays until then, see footing. That takes
// one request if PutOptions.Base is right, two without it, and two more for each
// time that another write came first.
func (s *S3) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	info, err := s.put(ctx, key, src, opt)
	return info, wrap("put", key, err)
}

func (s *S3) put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if err := s.admissible(ctx, key); err != nil {
		return object.Info{}, err
	}
	if opt.Version == "" {
		opt.Version = newVersion()
	}
	if _, err := userMeta(opt, opt.Version); err != nil {
		return object.Info{}, err
	}
	large := src.Size() < 0 || src.Size() > s.cfg.PartSize
	if large && (opt.IfMatch.IsSet() || opt.IfNoneMatch.IsSet()) {
		// Not to receive a body that is not wanted.
		if _, err := s.condition(ctx, key, opt); err != nil {
			return object.Info{}, err
		}
	}
	h, err := s.hold(ctx, src, s.cfg.PartSize, opt.MD5 != nil)
	if err != nil {
		return object.Info{}, err
	}
	defer h.release()
	if !h.ended {
		return s.upload(ctx, key, h, opt)
	}
	if err := h.check(opt); err != nil {
		return object.Info{}, err
	}
	opt.SHA256 = object.Digest(h.sha256.Sum(nil))
	w := s.newWrite(key, opt)
	w.size = h.size
	err = w.run(ctx, func(ctx context.Context, cond condition) error { return w.putOnce(ctx, h, cond) })
	if err != nil {
		return object.Info{}, err
	}
	return w.info, nil
}

// An s3Write is one write of an object, which may take several attempts.
type s3Write struct {
	footing // off if the caller has a condition

	opt  object.PutOptions // Version is set
	size int64

	native bool        // S3 knows the caller's condition
	info   object.Info // of what was written
}

func (s *S3) newWrite(key object.Key, opt object.PutOptions) *s3Write {
	conditional := opt.IfMatch.IsSet() || opt.IfNoneMatch.IsSet()
	off := conditional || s.without(func(c Capabilities) bool { return !c.ConditionalCreate || !c.ConditionalReplace })
	return &s3Write{footing: s.footing(key, opt.Base, off), opt: opt}
}

// A condition is one that S3 itself can test with a write: both empty, or one
// of them set.
type condition struct {
	ifMatch, ifNoneMatch *string
}

// condition translates the conditions of a write. S3 knows If-None-Match with a
// star and If-Match with one ETag; all others are tested against what is there,
// and then hold as long as that stays. The error is the refusal.
func (s *S3) condition(ctx context.Context, key object.Key, opt object.PutOptions) (condition, error) {
	if !opt.IfMatch.IsSet() && !opt.IfNoneMatch.IsSet() {
		return condition{}, nil
	}
	current, err := s.head(ctx, key)
	switch {
	case errors.Is(err, object.ErrNotFound):
		return condition{ifNoneMatch: aws.String("*")}, object.CheckWrite(nil, opt.IfMatch, opt.IfNoneMatch)
	case err != nil:
		return condition{}, err
	}
	return condition{ifMatch: aws.String(current.ETag.Quoted())}, object.CheckWrite(&current, opt.IfMatch, opt.IfNoneMatch)
}

// native returns the condition without asking, if S3 knows it.
func native(opt object.PutOptions) (condition, bool) {
	tag, single := opt.IfMatch.ETag()
	switch {
	case opt.IfMatch.IsSet() && !opt.IfNoneMatch.IsSet() && single && tag != "":
		return condition{ifMatch: aws.String(tag.Quoted())}, true
	case opt.IfNoneMatch.IsAny() && !opt.IfMatch.IsSet():
		return condition{ifNoneMatch: aws.String("*")}, true
	}
	return condition{}, !opt.IfMatch.IsSet() && !opt.IfNoneMatch.IsSet()
}

// footed returns the condition for the next attempt: the caller's, as S3 knows
// it or else as it is decided now, or that of the footing. The error is the
// refusal.
func (w *s3Write) footed(ctx context.Context) (condition, error) {
	if !w.off {
		w.native = true
		return w.footing.condition(ctx)
	}
	cond, ok := native(w.opt)
	w.native = ok
	if !ok || w.s.weak(cond) {
		return w.s.condition(ctx, w.key, w.opt)
	}
	return cond, nil
}

// run attempts the write until its outcome is known, within the budget. once
// sends it with a condition and fills in info.
func (w *s3Write) run(ctx context.Context, once func(ctx context.Context, cond condition) error) error {
	s := w.s
	s.pace.demand()
	for attempt := 0; ; attempt++ {
		cond, err := w.footed(ctx)
		if err != nil {
			return err
		}
		err = w.attempt(ctx, cond, once)
		if err == nil {
			return nil
		}
		failed, answered := isFailedWrite(err)
		if !answered {
			return err
		}
		if w.move(ctx, failed.reply) {
			attempt--
			continue
		}
		again, err := w.judge(ctx, failed)
		if !again {
			return err
		}
		if attempt+1 >= conditionAttempts || !s.pace.again(ctx, attempt) {
			return errors.Join(ctx.Err(), ioError(failed.err))
		}
	}
}

// A failedWrite is a reply to a write, and whether the write left this machine.
type failedWrite struct {
	reply
	sent bool
}

func (f *failedWrite) Error() string { return f.err.Error() }

// judge says what an attempt that failed means: to try again, or the error of
// the whole write. One without a clear answer is the last, also where another
// would carry the same condition: the first may be on its way still, and if the
// object ever came back to the state that both were made for, the write would
// take effect a second time, after others that came later.
func (w *s3Write) judge(ctx context.Context, f *failedWrite) (again bool, err error) {
	switch {
	case f.status == http.StatusPreconditionFailed, f.isMissing():
		if !w.off {
			return false, errors.Join(ctx.Err(), errMoved)
		}
		if !w.native {
			return true, nil // it changed since the condition was decided
		}
		return false, w.s.storeError(ctx, f.reply)
	case f.isConflict():
		if !w.off {
			return false, errors.Join(ctx.Err(), errMoved)
		}
		return true, nil // another write of the key is being decided
	case !f.sent || f.throttled():
		return true, nil
	case f.ambiguous():
		return false, w.settle(ctx, f.err)
	}
	return false, w.s.storeError(ctx, f.reply)
}

// settle asks the bucket whether this write took effect. It returns nil if so,
// and object.ErrUnknownOutcome otherwise: the attempt may still be on its way.
func (w *s3Write) settle(ctx context.Context, why error) error {
	w.s.pace.counts.settled.Add(1)
	info, err := w.s.after(ctx, w.key)
	if err == nil && info.Version == w.opt.Version {
		w.info = info
		return nil
	}
	return w.s.unsettled(ctx, why)
}

// attempt sends the write once and watches that it gets on.
func (w *s3Write) attempt(ctx context.Context, cond condition, once func(ctx context.Context, cond condition) error) error {
	turn, err := w.s.pace.enter(ctx)
	if err != nil {
		return err
	}
	defer turn.free()
	traced, left := sent(ctx)
	err = once(traced, cond)
	r := replyOf(err)
	turn.answered(r.outcome(ctx))
	if err == nil {
		w.s.sawBucket()
		return nil
	}
	return &failedWrite{r, left.Load()}
}

// putOnce writes an object that is held whole.
func (w *s3Write) putOnce(ctx context.Context, h *held, cond condition) error {
	meta, err := userMeta(w.opt, w.opt.Version)
	if err != nil {
		return err
	}
	watched, body := watch(ctx, h.reader(), w.s.cfg.Timeout)
	defer body.stop()
	in := &s3.PutObjectInput{
		Bucket: &w.s.cfg.Bucket, Key: w.s.fullKey(w.key), Body: body, ContentLength: &h.size, Metadata: meta,
		IfMatch: cond.ifMatch, IfNoneMatch: cond.ifNoneMatch,
		ContentType: optional(w.opt.Attrs.ContentType), ContentEncoding: optional(w.opt.Attrs.ContentEncoding),
		ContentLanguage: optional(w.opt.Attrs.ContentLanguage), ContentDisposition: optional(w.opt.Attrs.ContentDisposition),
		CacheControl:         optional(w.opt.Attrs.CacheControl),
		ServerSideEncryption: types.ServerSideEncryption(w.s.cfg.SSE), SSEKMSKeyId: optional(w.s.cfg.SSEKMSKeyID),
	}
	if len(w.opt.MD5) == md5.Size {
		in.ContentMD5 = aws.String(base64.StdEncoding.EncodeToString(w.opt.MD5))
	}
	out, err := w.s.client.PutObject(watched, in)
	if err != nil {
		return body.reason(err)
	}
	w.info = w.written(etagOf(out.ETag), serverTime(out))
	if w.info.ETag == "" {
		return w.lookUp(ctx)
	}
	return nil
}

// written describes what was written.
func (w *s3Write) written(etag object.ETag, at time.Time) object.Info {
	return object.Info{
		Key: w.key, Size: w.size, ETag: etag, Version: w.opt.Version, SHA256: w.opt.SHA256, Modified: at,
		Attrs: w.opt.Attrs, Tier: object.TierOrigin,
	}
}

// serverTime is what the service will call the time of the write, to the
// second.
func serverTime(out *s3.PutObjectOutput) time.Time {
	if at, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok {
		return at
	}
	return time.Now().Truncate(time.Second)
}

// lookUp asks for what a service did not say in its answer to a write.
func (w *s3Write) lookUp(ctx context.Context) error {
	info, err := w.s.head(ctx, w.key)
	if err == nil && info.Version != w.opt.Version {
		err = errors.New("it was replaced at once")
	}
	if err != nil {
		return fmt.Errorf("%w: S3 took the object but says nothing of it: %w", object.ErrUnknownOutcome, err)
	}
	w.info = info
	return nil
}

// slowest is the least speed at which what is left in the buffers of this
// machine is taken to reach the service, in bytes a second.
const slowest = 256 << 10

// maxInFlight bounds what those buffers hold.
const maxInFlight = 4 << 20

// A watched is a body being sent. If nothing is read from it for a while, or no
// answer comes after its end, the request is cut.
type watched struct {
	io.ReadSeeker
	clock   *time.Timer
	timeout time.Duration
	sent    int64
	late    atomic.Bool
	cut     context.CancelFunc
}

// watch returns the context for the request that sends body.
func watch(ctx context.Context, body io.ReadSeeker, timeout time.Duration) (context.Context, *watched) {
	ctx, cut := context.WithCancel(ctx)
	w := &watched{ReadSeeker: body, timeout: timeout, cut: cut}
	w.clock = time.AfterFunc(timeout, func() {
		w.late.Store(true)
		cut()
	})
	return ctx, w
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadSeeker.Read(p)
	w.sent += int64(n)
	w.clock.Reset(w.timeout + time.Duration(min(w.sent, maxInFlight))*time.Second/slowest)
	return n, err
}

// reason returns why the request failed.
func (w *watched) reason(err error) error {
	if w.late.Load() {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return err
}

func (w *watched) stop() {
	w.clock.Stop()
	w.cut()
}
