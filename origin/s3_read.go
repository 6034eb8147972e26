package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
)

// Head implements object.Store.
func (s *S3) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	info, err := s.head(ctx, key)
	if err == nil {
		err = object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch)
	}
	if err != nil {
		return object.Info{}, wrap("head", key, err)
	}
	return info, nil
}

func (s *S3) head(ctx context.Context, key object.Key) (object.Info, error) {
	if err := s.admissible(ctx, key); err != nil {
		return object.Info{}, err
	}
	var out *s3.HeadObjectOutput
	err := s.read(ctx, func(ctx context.Context) (err error) {
		out, err = s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: s.fullKey(key)})
		return err
	})
	if errors.Is(err, errBareNotFound) {
		// The answer to HEAD has no body, so it does not say what was not found.
		if err = s.bucketExists(ctx); err == nil {
			err = object.ErrNotFound
		}
	}
	if err != nil {
		return object.Info{}, err
	}
	s.sawBucket()
	info := describeHead(out).info(key)
	if info.ETag == "" {
		return object.Info{}, fmt.Errorf("%w: S3 names no ETag", object.ErrUnavailable)
	}
	return info, nil
}

// bucketTrust is how long the bucket is taken to exist after it was seen.
const bucketTrust = 10 * time.Second

func (s *S3) sawBucket() { s.seen.Store(time.Now().UnixNano()) }

// bucketExists tells a missing object from a missing bucket, or from a proxy
// that knows neither.
func (s *S3) bucketExists(ctx context.Context) error {
	if time.Since(time.Unix(0, s.seen.Load())) < bucketTrust {
		return nil
	}
	err := s.read(ctx, func(ctx context.Context) error {
		_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.cfg.Bucket})
		return err
	})
	if errors.Is(err, errBareNotFound) {
		return fmt.Errorf("%w: %w: the S3 bucket %q does not exist, or this is no S3 service", object.ErrUnavailable, ErrRefused, s.cfg.Bucket)
	}
	if err == nil {
		s.sawBucket()
	}
	return err
}

// Get implements object.Store. Conditions that name more than one version, and
// "if it has changed", are decided by a Head first: an answer "not modified"
// to a Get would not say which write is current.
func (s *S3) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	obj, err := s.get(ctx, key, opt)
	return obj, wrap("get", key, err)
}

// conditionAttempts bounds how often a condition is decided again because the
// object changed meanwhile.
const conditionAttempts = 5

func (s *S3) get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if err := s.admissible(ctx, key); err != nil {
		return nil, err
	}
	pin, single := opt.IfMatch.ETag()
	// A part that is counted from the end and larger than a part of ours can
	// only be asked for when the size is known.
	first, last, known := span(opt.Range)
	if !opt.IfNoneMatch.IsSet() && (single && pin != "" || !opt.IfMatch.IsSet()) && known {
		return s.open(ctx, key, opt.Range, first, last, pin)
	}
	for range conditionAttempts {
		info, err := s.head(ctx, key)
		if err != nil {
			return nil, err
		}
		if err := object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch); err != nil {
			return nil, err
		}
		offset, length, err := opt.Range.Resolve(info.Size)
		if err != nil {
			return nil, err
		}
		obj, err := s.open(ctx, key, opt.Range, offset, offset+length-1, info.ETag)
		if !errors.Is(err, object.ErrPrecondition) && !errors.Is(err, object.ErrRange) {
			return obj, err
		}
	}
	return nil, ioError(errContended)
}

// span returns the first and the last byte of a range, -1 for the end of the
// object, if the size need not be known for that.
func span(r object.Range) (first, last int64, ok bool) {
	if !r.IsSet() {
		return 0, -1, true
	}
	from, to, _ := strings.Cut(strings.TrimPrefix(r.String(), "bytes="), "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	last = -1
	if to != "" {
		if last, err = strconv.ParseInt(to, 10, 64); err != nil {
			return 0, 0, false
		}
	}
	return first, last, true
}

// open asks for the bytes from first to last, or to the end, of the version
// that pin names, if any, and returns what want selects of it.
func (s *S3) open(ctx context.Context, key object.Key, want object.Range, first, last int64, pin object.ETag) (*object.Object, error) {
	ask := part{first, first + s.cfg.PartSize - 1}
	if last >= 0 {
		ask.last = min(ask.last, last)
	}
	got, err := s.fetch(ctx, key, ask, pin)
	if errors.Is(err, object.ErrRange) && first == 0 && !want.IsSet() {
		got, err = s.fetch(ctx, key, part{0, -1}, pin) // an empty object has no first byte
	}
	if err != nil {
		return nil, err
	}
	s.sawBucket()
	offset, length, err := want.Resolve(got.info.Size)
	if err == nil && (got.offset != offset || got.length > length && got.length != got.info.Size) {
		err = fmt.Errorf("%w: S3 answered bytes %d to %d for %s", object.ErrUnavailable, got.offset, got.offset+got.length, want)
	}
	if err != nil {
		got.close()
		return nil, err
	}
	return &object.Object{Info: got.info, Offset: offset, Length: length, Body: s.newBody(ctx, key, got, offset, offset+length)}, nil
}

// A part is a range of bytes, last inclusive, -1 for "no Range header".
type part struct{ first, last int64 }

func (p part) header() *string {
	if p.last < 0 {
		return nil
	}
	return aws.String(fmt.Sprintf("bytes=%d-%d", p.first, p.last))
}

// A fetched is an answer with the bytes of a part.
type fetched struct {
	info           object.Info
	offset, length int64 // of what body carries
	body           io.ReadCloser
	turn           *turn // nil if the body is in memory
	cancel         context.CancelCauseFunc

	release *time.Timer // ends the turn of a slow reader
	whole   bool        // all of body is wanted
}

func (f *fetched) close() {
	f.cancel(context.Canceled)
	f.body.Close()
	f.turn.free()
}

// fetch asks for a part until it has the headers of an answer. The second
// request of a slow one runs beside it.
func (s *S3) fetch(ctx context.Context, key object.Key, ask part, pin object.ETag) (*fetched, error) {
	s.pace.demand()
	s.pace.hedger.Demand()
	deadline := time.Now().Add(s.cfg.Timeout * 3 / 2)
	for attempt := 0; ; attempt++ {
		began := time.Now()
		got, release, err := pace.Do(ctx, s.pace.hedger, func(ctx context.Context, _ int) (*fetched, error) {
			return s.fetchOnce(ctx, key, ask, pin, min(s.cfg.Timeout, time.Until(deadline)))
		}, (*fetched).close)
		if err == nil {
			s.pace.firsts.Observe(time.Since(began))
			cancel := got.cancel
			got.cancel = func(cause error) {
				cancel(cause)
				release()
			}
			return got, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed := (*failedRead)(nil)
		if !errors.As(err, &failed) {
			return nil, err
		}
		if !failed.passing() || attempt+1 == readAttempts || !time.Now().Before(deadline) || !s.pace.again(ctx, attempt) {
			return nil, s.storeError(ctx, failed.reply)
		}
	}
}

// A failedRead carries a reply through code that knows errors only.
type failedRead struct{ reply }

func (f *failedRead) Error() string { return f.err.Error() }

// fetchOnce sends one request for a part. Its clock stops with the headers.
func (s *S3) fetchOnce(ctx context.Context, key object.Key, ask part, pin object.ETag, within time.Duration) (*fetched, error) {
	turn, err := s.pace.enter(ctx)
	if err != nil {
		return nil, err
	}
	requesting, cancel := context.WithCancelCause(ctx)
	clock := time.AfterFunc(within, func() { cancel(errNoAnswer) })
	in := &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: s.fullKey(key), Range: ask.header()}
	if pin != "" {
		in.IfMatch = aws.String(pin.Quoted())
	}
	out, err := s.client.GetObject(requesting, in)
	if !clock.Stop() && err == nil {
		out.Body.Close()
		err = errNoAnswer
	}
	if err == nil {
		var got *fetched
		if got, err = readAnswer(key, ask, out); err == nil && pin != "" && got.info.ETag != pin {
			err = errIgnoredMatch
		}
		if err == nil {
			turn.answered(pace.OK)
			got.turn, got.cancel = turn, cancel
			return got, nil
		}
		out.Body.Close()
	}
	if context.Cause(requesting) == errNoAnswer {
		err = errNoAnswer
	}
	failed := &failedRead{replyOf(err)}
	turn.answered(failed.outcome(ctx))
	turn.free()
	cancel(context.Canceled)
	return nil, failed
}

// errIgnoredMatch is an answer with another version than the one asked for, of
// a service that does not know If-Match on reads.
var errIgnoredMatch = fmt.Errorf("%w: S3 answered another version", object.ErrPrecondition)

// readAnswer checks that an answer carries what was asked for and says how
// long it is.
func readAnswer(key object.Key, ask part, out *s3.GetObjectOutput) (*fetched, error) {
	if out.ContentLength == nil || *out.ContentLength < 0 {
		return nil, errors.New("S3 does not say how long the object is")
	}
	got := &fetched{length: *out.ContentLength, body: out.Body}
	size := got.length
	if out.ContentRange != nil {
		var last int64
		if _, err := fmt.Sscanf(*out.ContentRange, "bytes %d-%d/%d", &got.offset, &last, &size); err != nil {
			return nil, fmt.Errorf("S3 answers the range %q", *out.ContentRange)
		}
		wantLast := min(ask.last, size-1)
		if ask.last < 0 || got.offset != ask.first || last != wantLast || got.length != last-got.offset+1 {
			return nil, fmt.Errorf("S3 answers %q with %d bytes for %s", *out.ContentRange, got.length, aws.ToString(ask.header()))
		}
	}
	got.info = describeGet(out, size).info(key)
	if got.info.ETag == "" {
		return nil, errors.New("S3 names no ETag")
	}
	return got, nil
}
