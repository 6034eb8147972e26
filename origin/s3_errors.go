package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
)

// A reply is what is known about how an attempt failed.
type reply struct {
	status int    // of HTTP, 0 if there was no answer
	code   string // of S3
	err    error
}

// replyOf reads an error of the SDK. What it keeps of it matches neither the
// end of a context nor that of a body: it is not the caller's context that
// ended, and a connection that closed early is no clean end.
func replyOf(err error) reply {
	r := reply{err: err}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) {
		r.err = errors.New(err.Error())
		if errors.Is(err, errNoAnswer) {
			r.err = errNoAnswer
		}
	}
	if re := (*awshttp.ResponseError)(nil); errors.As(err, &re) {
		r.status = re.HTTPStatusCode()
	}
	if ae := smithy.APIError(nil); errors.As(err, &ae) {
		r.code = ae.ErrorCode()
	}
	return r
}

// throttled reports whether the service refused the request before it did
// anything, because it has too many.
func (r reply) throttled() bool {
	return r.status == http.StatusTooManyRequests ||
		slices.Contains([]string{"SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}, r.code)
}

// unknownThere reports whether the service does not know what it was asked for.
func (r reply) unknownThere() bool {
	return r.status == http.StatusNotImplemented || r.code == "NotImplemented"
}

// passing reports whether the same read may well succeed a moment later.
func (r reply) passing() bool {
	if errors.Is(r.err, errIgnoredMatch) {
		return false
	}
	switch r.status {
	case 0, http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return r.code == "RequestTimeout" || r.throttled()
}

// ambiguous reports whether a write that was sent may have been carried out
// all the same.
func (r reply) ambiguous() bool {
	return !r.throttled() && !r.unknownThere() && (r.status == 0 || r.status < 300 || r.status >= 500 || r.status == http.StatusRequestTimeout)
}

// outcome is what the attempt says about the health of the service.
func (r reply) outcome(ctx context.Context) pace.Outcome {
	switch {
	case r.err == nil, errors.Is(r.err, errIgnoredMatch):
		return pace.OK
	case errors.Is(r.err, errNoAnswer), r.throttled(), r.status == http.StatusServiceUnavailable:
		return pace.Overload
	case ctx.Err() != nil:
		return pace.Ignore
	case r.status == 0 || r.status >= 500:
		return pace.Failure
	}
	return pace.OK
}

// errNoAnswer ends an attempt that waited too long.
var errNoAnswer = errors.New("no answer in time")

// ErrRefused says that the authority is there and will not serve: the bucket,
// the credentials or the region are wrong. An error that matches it matches
// object.ErrUnavailable too. Asking again does not help, changing the
// configuration does.
var ErrRefused = errors.New("refused")

// errBareNotFound is a 404 that says no more: every 404 to a HEAD, and those of
// proxies that know nothing of S3. It is not a missing object until something
// else says so.
var errBareNotFound = fmt.Errorf("%w: S3 answers 404 without saying what is not found", object.ErrUnavailable)

// forbidden explains a 403: the forge's documentation names these four actions.
const forbidden = "S3 refused access: the credentials need the actions s3:GetObject, s3:PutObject and s3:DeleteObject on the objects and s3:ListBucket on the bucket"

// storeError returns the error of a Store for a request that was answered, or
// that got no answer.
func (s *S3) storeError(ctx context.Context, r reply) error {
	err := s.storeErrorOf(r)
	if errors.Is(err, object.ErrUnavailable) && !errors.Is(err, errBareNotFound) {
		s.complain(ctx, err)
	}
	return err
}

// complainEvery is the least time between two complaints: a service that is
// down is down for all requests.
const complainEvery = 10 * time.Second

// complain logs that S3 does not do as it should. Clients are told no more than
// that the object cannot be reached.
func (s *S3) complain(ctx context.Context, err error) {
	now, last := time.Now().UnixNano(), s.complained.Load()
	if now-last < complainEvery.Nanoseconds() || !s.complained.CompareAndSwap(last, now) {
		s.silent.Add(1)
		return
	}
	s.log.WarnContext(ctx, "a request to the S3 origin failed", "err", err, "not_logged", s.silent.Swap(0))
}

func (s *S3) storeErrorOf(r reply) error {
	switch {
	case r.err == nil:
		return nil
	case r.status == http.StatusNotFound && r.code == "NoSuchKey":
		return object.ErrNotFound
	case r.status == http.StatusNotFound && r.code == "NotFound":
		return errBareNotFound
	case r.status == http.StatusNotFound && r.code == "NoSuchBucket":
		return fmt.Errorf("%w: %w: the S3 bucket %q does not exist", object.ErrUnavailable, ErrRefused, s.cfg.Bucket)
	case r.status == http.StatusPreconditionFailed, errors.Is(r.err, errIgnoredMatch):
		return object.ErrPrecondition
	case r.status == http.StatusRequestedRangeNotSatisfiable:
		return object.ErrRange
	case r.code == "AuthorizationHeaderMalformed": // with 400: it was signed for another region
		return fmt.Errorf("%w: %w: the credentials are signed for a region (%s) that is not the bucket's: check it: %w", object.ErrUnavailable, ErrRefused, s.cfg.Region, r.err)
	case r.status == http.StatusForbidden, r.code == "XAdminUserNotFound": // versitygw says 404 to a key id it does not know
		return fmt.Errorf("%w: %w: %s: %w", object.ErrUnavailable, ErrRefused, forbidden, r.err)
	case r.status == http.StatusLoopDetected:
		return fmt.Errorf("%w: %w: the S3 endpoint leads back to this cluster: %w", object.ErrUnavailable, ErrRefused, r.err)
	case r.status >= 300 && r.status < 400:
		return fmt.Errorf("%w: %w: S3 sent the request elsewhere: check the region (%s) and the endpoint: %w", object.ErrUnavailable, ErrRefused, s.cfg.Region, r.err)
	case r.code == "EntityTooLarge":
		return fmt.Errorf("%w: %w", object.ErrTooLarge, r.err)
	case r.code == "KeyTooLongError", r.code == "InvalidObjectName", r.code == "XMinioInvalidObjectName",
		r.code == "ObjectParentIsFile", r.code == "ExistingObjectIsDirectory":
		return fmt.Errorf("%w: this S3 service cannot keep it: %w", object.ErrInvalidKey, r.err)
	}
	return fmt.Errorf("%w: %w", object.ErrUnavailable, r.err)
}
