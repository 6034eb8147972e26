package origin

import (
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/micelio/micelio/object"
)

// Delete implements object.Store. It must not remove what somebody wrote since:
// without a condition of the caller's, the version that is there is found out
// first and named in the request, see footing. That takes one request if
// DeleteOptions.Base is right or there is no object, two otherwise, and two more
// for each time that another write came first. Services that do not know such
// requests get one that names nothing.
func (s *S3) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	return wrap("delete", key, s.delete(ctx, key, opt))
}

func (s *S3) delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if err := s.admissible(ctx, key); err != nil {
		return err
	}
	s.pace.demand()
	if opt.IfMatch.IsSet() {
		return s.deleteIf(ctx, key, opt.IfMatch)
	}
	d := &s3Delete{footing: s.footing(key, opt.Base, s.without(func(c Capabilities) bool { return !c.ConditionalDelete }))}
	return d.run(ctx)
}

// An s3Delete is one delete without a condition of the caller's, which may take
// several attempts.
type s3Delete struct{ footing }

func (d *s3Delete) run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := d.s.deleteTogether(ctx, &d.footing)
		failed, answered := isFailedWrite(err)
		switch {
		case err == nil, answered && failed.isMissing():
			return nil
		case !answered:
			return err
		case d.move(ctx, failed.reply):
			attempt--
			continue
		}
		again, err := d.judge(ctx, failed)
		if !again {
			return err
		}
		if attempt+1 >= conditionAttempts || !d.s.pace.again(ctx, attempt) {
			return errors.Join(ctx.Err(), ioError(failed.err))
		}
	}
}

// judge says what an attempt that failed means: to try again, or the error of
// the whole delete. Without a clear answer it is the last, and its outcome is
// unknown even if the object is gone by now: somebody else may have deleted it,
// and this request, which is on its way still, would delete what is written next
// with the same bytes.
func (d *s3Delete) judge(ctx context.Context, f *failedWrite) (again bool, err error) {
	switch {
	case !f.sent || f.throttled():
		return true, nil
	case f.status == http.StatusPreconditionFailed, f.isConflict():
		return false, errors.Join(ctx.Err(), errMoved)
	case f.ambiguous():
		d.s.pace.counts.settled.Add(1)
		return false, d.s.unsettled(ctx, f.err)
	}
	return false, d.s.storeError(ctx, f.reply)
}

// deleteIf deletes an object under a condition of the caller's.
func (s *S3) deleteIf(ctx context.Context, key object.Key, match object.Match) error {
	for attempt := 0; ; attempt++ {
		pin, err := s.deletable(ctx, key, match)
		if err != nil {
			return err
		}
		err = s.deleteOnce(ctx, *s.fullKey(key), pin)
		failed, ok := isFailedWrite(err)
		if !ok {
			return err
		}
		again := !failed.sent || failed.throttled() || failed.isConflict() ||
			failed.status == http.StatusPreconditionFailed && !isOneTag(match)
		switch {
		case failed.sent && failed.ambiguous():
			// If the object is gone, it may be somebody else who deleted it, and of
			// two who name one version only one may be told that he did.
			s.pace.counts.settled.Add(1)
			return s.unsettled(ctx, failed.err)
		case !again:
			return s.storeError(ctx, failed.reply)
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
// the request. S3 answers a conditional delete of nothing in different ways, so
// what is there is looked at first.
func (s *S3) deletable(ctx context.Context, key object.Key, match object.Match) (object.ETag, error) {
	current, err := s.head(ctx, key)
	if err != nil {
		return "", err
	}
	return current.ETag, object.CheckWrite(&current, match, object.Match{})
}

// deleteOnce sends one delete, of name in the bucket; of the version that pin
// names, if any.
func (s *S3) deleteOnce(ctx context.Context, name string, pin object.ETag) error {
	in := &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: &name, IfMatch: quotedPin(pin)}
	traced, left := sent(ctx)
	r, err := s.attempt(traced, func(ctx context.Context) error {
		_, err := s.client.DeleteObject(ctx, in)
		return err
	})
	switch {
	case err != nil:
		return err
	case r.err == nil, pin == "" && r.isMissing():
		return nil
	}
	return &failedWrite{r, left.Load()}
}

func quotedPin(pin object.ETag) *string {
	if pin == "" {
		return nil
	}
	return aws.String(pin.Quoted())
}
