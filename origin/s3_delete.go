package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/micelio/micelio/object"
)

// Delete implements object.Store. One without a condition is sent again when
// its outcome is not known only if the object is still the same: it must not
// remove what somebody wrote since.
func (s *S3) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	return wrap("delete", key, s.delete(ctx, key, opt))
}

func (s *S3) delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if err := s.admissible(ctx, key); err != nil {
		return err
	}
	s.pace.demand()
	for attempt := 0; ; attempt++ {
		pin, err := s.deletable(ctx, key, opt)
		if err != nil {
			return err
		}
		if pin == "" {
			err = s.deleteUnconditionally(ctx, key)
		} else {
			err = s.deleteOnce(ctx, *s.fullKey(key), pin)
		}
		failed, ok := isFailedWrite(err)
		if !ok {
			return err
		}
		again := !failed.sent || failed.throttled() || failed.code == "ConditionalRequestConflict" ||
			failed.status == http.StatusPreconditionFailed && !isOneTag(opt.IfMatch)
		switch {
		case failed.sent && failed.ambiguous():
			return s.settleDelete(ctx, key, failed.err)
		case !again:
			return s.storeError(failed.reply)
		case attempt+1 >= conditionAttempts || !s.pace.again(ctx, attempt):
			return errors.Join(ctx.Err(), ioError(failed.err))
		}
	}
}

func isOneTag(m object.Match) bool {
	tag, ok := m.ETag()
	return ok && tag != ""
}

// deletable tests the condition of a delete and returns the version to name in
// the request, if any. S3 answers a conditional delete of nothing in different
// ways, so what is there is looked at first.
func (s *S3) deletable(ctx context.Context, key object.Key, opt object.DeleteOptions) (object.ETag, error) {
	if !opt.IfMatch.IsSet() {
		return "", nil
	}
	current, err := s.head(ctx, key)
	if err != nil {
		return "", err
	}
	return current.ETag, object.CheckWrite(&current, opt.IfMatch, object.Match{})
}

// deleteOnce sends one delete, of name in the bucket.
func (s *S3) deleteOnce(ctx context.Context, name string, pin object.ETag) error {
	in := &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: &name}
	if pin != "" {
		in.IfMatch = aws.String(pin.Quoted())
	}
	traced, left := sent(ctx)
	r, err := s.attempt(traced, func(ctx context.Context) error {
		_, err := s.client.DeleteObject(ctx, in)
		return err
	})
	switch {
	case err != nil:
		return err
	case r.err == nil, pin == "" && r.status == http.StatusNotFound && r.code == "NoSuchKey":
		return nil
	}
	return &failedWrite{r, left.Load()}
}

// settleDelete asks whether an object is gone. If it is not, the delete may
// still be on its way.
func (s *S3) settleDelete(ctx context.Context, key object.Key, why error) error {
	s.pace.counts.settled.Add(1)
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout/2)
	defer cancel()
	if _, err := s.head(asking, key); errors.Is(err, object.ErrNotFound) {
		return nil
	}
	s.pace.counts.unknown.Add(1)
	if e := ctx.Err(); e != nil {
		return fmt.Errorf("%w: %w: %w", object.ErrUnknownOutcome, e, why)
	}
	return fmt.Errorf("%w: %w", object.ErrUnknownOutcome, why)
}
