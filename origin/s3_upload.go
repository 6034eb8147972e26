package origin

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	tmtypes "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/micelio/micelio/object"
)

const (
	// completeTimeout is for the answer to the request that puts the parts
	// together, which S3 documents to take minutes for large objects.
	completeTimeout = 2 * time.Minute

	// abortTimeout is for the removal of the parts of an upload that failed. It
	// goes on when the caller has left; see also the janitor.
	abortTimeout = 5 * time.Second

	// abortAttempts is how often that is tried before it is left to the janitor.
	abortAttempts = 5

	// spooledUploads is how many uploads come from the disk at once.
	spooledUploads = 2
)

// upload writes an object of more than one part, of which h holds the first.
func (s *S3) upload(ctx context.Context, key object.Key, h *held, opt object.PutOptions) (object.Info, error) {
	partSize := s.cfg.PartSize
	buffers := int64(s.cfg.Parallel+2) * partSize // of the transfer manager
	var giveBack func()
	switch {
	case s.memory.TryAcquire(buffers):
		giveBack = func() { s.memory.Release(buffers) }
	default:
		// A client may take hours to send its object. Without memory to spare
		// it does so to the disk, and gets its turn when all is there.
		if err := h.spool(ctx); err != nil {
			return object.Info{}, err
		}
		if err := s.spooled.Acquire(ctx, 1); err != nil {
			return object.Info{}, err
		}
		giveBack = func() { s.spooled.Release(1) }
	}
	defer giveBack()

	w := s.newWrite(key, opt)
	body := &uploadBody{r: io.MultiReader(h.reader(), &contextReader{ctx, h.rest}), opt: opt, sha256: sha256.New()}
	if h.ended {
		body.r = h.reader()
	}
	if opt.MD5 != nil {
		body.md5 = md5.New()
	}
	var cond condition
	if _, ok := native(opt); w.off && ok { // otherwise it is decided when all parts are there
		var err error
		if cond, err = w.footed(ctx); err != nil {
			return object.Info{}, err
		}
	}
	return w.upload(ctx, body, cond)
}

// upload sends the parts and puts them together. Every failure before that
// leaves nothing behind, and none of it is tried again as a whole: the source
// is read.
func (w *s3Write) upload(ctx context.Context, body *uploadBody, cond condition) (object.Info, error) {
	s := w.s
	meta, err := userMeta(w.opt, w.opt.Version)
	if err != nil {
		return object.Info{}, err
	}
	s.pace.demand()
	client := &uploadClient{s: s, write: w}
	manager := transfermanager.New(client, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold, o.Concurrency = s.cfg.PartSize, s.cfg.PartSize, s.cfg.Parallel
		o.FailTimeout = abortTimeout
		o.RequestChecksumCalculation = s.cfg.requestChecksums() // it does not take over that of the client
	})
	out, err := manager.UploadObject(ctx, &transfermanager.UploadObjectInput{
		Bucket: &s.cfg.Bucket, Key: s.fullKey(w.key), Body: body, Metadata: meta, IfMatch: cond.ifMatch, IfNoneMatch: cond.ifNoneMatch,
		ContentType: optional(w.opt.Attrs.ContentType), ContentEncoding: optional(w.opt.Attrs.ContentEncoding),
		ContentLanguage: optional(w.opt.Attrs.ContentLanguage), ContentDisposition: optional(w.opt.Attrs.ContentDisposition),
		CacheControl:         optional(w.opt.Attrs.CacheControl),
		ServerSideEncryption: tmtypes.ServerSideEncryption(s.cfg.SSE), SSEKMSKeyID: optional(s.cfg.SSEKMSKeyID),
	})
	client.note.done(err != nil && !client.aborted)
	w.size, w.opt.SHA256 = body.n, object.Digest(body.sha256.Sum(nil))
	if err == nil {
		s.sawBucket()
		w.info = w.written(etagOf(out.ETag), time.Now().Truncate(time.Second))
		if w.info.ETag == "" {
			err = w.lookUp(ctx)
		}
		return w.info, err
	}
	return w.uploadFailed(ctx, client, body, err)
}

// uploadFailed finds out what a failed upload has done.
func (w *s3Write) uploadFailed(ctx context.Context, client *uploadClient, body *uploadBody, err error) (object.Info, error) {
	switch r := replyOf(err); {
	case client.unknown.Load():
		if err := w.settle(ctx, err); err != nil {
			return object.Info{}, err
		}
		return w.info, nil
	case body.err != nil:
		return object.Info{}, body.err
	case ctx.Err() != nil:
		return object.Info{}, ctx.Err()
	case client.refused != nil:
		return object.Info{}, client.refused
	case w.decidedLate() && (r.status == http.StatusPreconditionFailed || r.isMissing() || r.isConflict()):
		return object.Info{}, errMoved
	case r.status == http.StatusConflict:
		return object.Info{}, fmt.Errorf("%w: another write of the key is being decided: %w", object.ErrUnavailable, err)
	case errors.Is(err, object.ErrUnavailable):
		return object.Info{}, err
	default:
		return object.Info{}, w.s.storeError(ctx, r)
	}
}

// spool takes in the rest of the source, on the disk.
func (h *held) spool(ctx context.Context) error {
	if h.file == nil {
		f, err := newSpool(h.s.cfg.SpoolDir)
		if err != nil {
			return err
		}
		h.file = f
		if _, err := f.Write(h.buf); err != nil {
			return ioError(err)
		}
		h.s.memory.Release(h.memory)
		h.memory, h.buf = 0, nil
	}
	n, err := io.Copy(h.file, &contextReader{ctx, h.rest})
	h.size += n
	h.ended = true
	return sourceError(err)
}

// An uploadBody digests what is uploaded and ends cleanly only if it is what
// was announced: an end that is not clean keeps the object from being made.
type uploadBody struct {
	r           io.Reader
	opt         object.PutOptions
	md5, sha256 hash.Hash
	n           int64
	err         error // why it did not end cleanly
}

func (b *uploadBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	b.sha256.Write(p[:n])
	if b.md5 != nil {
		b.md5.Write(p[:n])
	}
	switch {
	case err == io.EOF:
		if b.err = checkDigests(b.md5, b.sha256, b.opt); b.err != nil {
			return 0, b.err
		}
	case err != nil:
		b.err = sourceError(err)
		return n, b.err
	}
	return n, err
}

// An uploadClient is what the transfer manager sees of S3: requests that have
// their turn and their time.
type uploadClient struct {
	transfermanager.S3APIClient // what uploads have no use for

	s       *S3
	write   *s3Write
	note    *uploadNote // from the begin of the upload on
	refused error       // why the object may not be made as things are
	aborted bool
	unknown atomic.Bool // the object may have been made
}

// UploadPart sends one part, again if it has to: to send a part twice changes
// nothing.
func (c *uploadClient) UploadPart(ctx context.Context, in *s3.UploadPartInput, opts ...func(*s3.Options)) (out *s3.UploadPartOutput, err error) {
	body, ok := in.Body.(io.ReadSeeker)
	if !ok {
		return nil, errors.New("a part cannot be read again")
	}
	c.s.pace.demand()
	for attempt := 0; ; attempt++ {
		again, send := *in, body
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		err = c.watched(ctx, send, c.s.cfg.Timeout, func(ctx context.Context, body io.ReadSeeker) (err error) {
			again.Body = body
			out, err = c.s.client.UploadPart(ctx, &again, opts...)
			return err
		})
		if err == nil || errors.Is(err, object.ErrUnavailable) || !replyOf(err).passing() || attempt+1 == readAttempts || !c.s.pace.again(ctx, attempt) {
			return out, err
		}
	}
}

// CreateMultipartUpload begins an upload. An attempt without an answer leaves
// an upload that only the janitor finds.
func (c *uploadClient) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, opts ...func(*s3.Options)) (out *s3.CreateMultipartUploadOutput, err error) {
	err = c.watched(ctx, nil, c.s.cfg.Timeout, func(ctx context.Context, _ io.ReadSeeker) (err error) {
		out, err = c.s.client.CreateMultipartUpload(ctx, in, opts...)
		return err
	})
	if err == nil {
		c.note = c.s.note(*in.Key, *out.UploadId)
	}
	return out, err
}

// decidedLate reports whether what the request with the condition is sent with
// is decided when all parts are there.
func (w *s3Write) decidedLate() bool { return !w.off || !w.native }

// CompleteMultipartUpload puts the object together. It is this request that
// writes, so it is the one with the condition. A base, and what stands for a
// condition that S3 does not know, are looked for when all parts are there. If
// that is refused, another write came first, which says nothing about the
// caller's condition; the parts stay for the next attempt.
func (c *uploadClient) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, opts ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	w := c.write
	for attempt := 0; ; attempt++ {
		again := *in
		if w.decidedLate() {
			cond, err := w.footed(ctx)
			if err != nil {
				c.refused = err
				return nil, err
			}
			again.IfMatch, again.IfNoneMatch = cond.ifMatch, cond.ifNoneMatch
		}
		out, err := c.complete(ctx, &again, opts...)
		if err == nil || c.unknown.Load() {
			return out, err
		}
		r := replyOf(err)
		if !w.move(ctx, r) && !(w.decideAgain(r) && attempt+1 < conditionAttempts && c.s.pace.again(ctx, attempt)) {
			return out, err
		}
	}
}

// decideAgain reports whether a refusal may be only of what stood for the
// caller's condition.
func (w *s3Write) decideAgain(r reply) bool {
	return w.off && !w.native && (r.status == http.StatusPreconditionFailed || r.isMissing() || r.isConflict())
}

func (c *uploadClient) complete(ctx context.Context, in *s3.CompleteMultipartUploadInput, opts ...func(*s3.Options)) (out *s3.CompleteMultipartUploadOutput, err error) {
	traced, left := sent(ctx)
	err = c.watched(traced, nil, completeTimeout, func(ctx context.Context, _ io.ReadSeeker) (err error) {
		out, err = c.s.client.CompleteMultipartUpload(ctx, in, opts...)
		return err
	})
	if r := replyOf(err); err != nil && left.Load() && r.ambiguous() {
		c.unknown.Store(true)
	}
	return out, err
}

// AbortMultipartUpload removes the parts. It is asked for more than once if it
// fails: a part that is still arriving at the service, because its request was
// cut off a moment ago, can be in its way. (So the documentation of S3 says, and
// versitygw answers 500.)
func (c *uploadClient) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput, opts ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	for attempt := 0; ; attempt++ {
		out, err := c.s.client.AbortMultipartUpload(ctx, in, opts...)
		r := replyOf(err)
		c.aborted = err == nil || r.code == "NoSuchUpload"
		if c.aborted || attempt == abortAttempts-1 || !r.passing() || !c.s.pace.again(ctx, attempt) {
			return out, err
		}
	}
}

// PutObject is not needed: what fits into one request does not come here.
func (c *uploadClient) PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	return nil, errors.New("an object of one part is not uploaded in parts")
}

// watched carries out one request in its turn.
func (c *uploadClient) watched(ctx context.Context, body io.ReadSeeker, timeout time.Duration, do func(context.Context, io.ReadSeeker) error) error {
	turn, err := c.s.pace.enter(ctx)
	if err != nil {
		return err
	}
	defer turn.free()
	requesting, w := watch(ctx, body, timeout)
	defer w.stop()
	if err = do(requesting, w); err != nil {
		err = w.reason(err)
	}
	turn.answered(replyOf(err).outcome(ctx))
	return err
}
