package gateway

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/micelio/micelio/object"
)

// An apiError is an answer that is an error: what goes to the client, and the
// cause that stays here.
type apiError struct {
	status  int
	code    string
	message string
	header  map[string]string // further header fields
	cause   error             // matched by errors.Is, never shown
}

func (e *apiError) Error() string { return e.code + ": " + e.message }
func (e *apiError) Unwrap() error { return e.cause }

func invalidURI(message string) error {
	return &apiError{status: http.StatusBadRequest, code: "InvalidURI", message: message, cause: object.ErrInvalidKey}
}

func invalidArgument(message string) error {
	return &apiError{status: http.StatusBadRequest, code: "InvalidArgument", message: message}
}

func invalidRequest(message string) error {
	return &apiError{status: http.StatusBadRequest, code: "InvalidRequest", message: message}
}

func notImplemented(message string) error {
	return &apiError{status: http.StatusNotImplemented, code: "NotImplemented", message: message}
}

func methodNotAllowed(allow string) error {
	return &apiError{status: http.StatusMethodNotAllowed, code: "MethodNotAllowed",
		message: "The specified method is not allowed against this resource.", header: map[string]string{"Allow": allow}}
}

func badDigest(message string) error {
	return &apiError{status: http.StatusBadRequest, code: "BadDigest", message: message, cause: object.ErrDigest}
}

const (
	// statusClientGone is nginx's status for a client that left before its
	// answer. Nobody receives it; it keeps such requests apart in metrics.
	statusClientGone = 499

	// retryAfter is the Retry-After of a 503, in seconds. It is short because
	// what is usually missing is one failover, and clients add their own backoff.
	retryAfter = "1"
)

// answers says how each of the Store's errors is answered; the first that
// matches counts. An unknown outcome comes first: it may wrap the reason why
// the outcome is unknown, and no such reason makes it known.
var answers = []struct {
	is     error
	answer apiError
}{
	{object.ErrUnknownOutcome, apiError{status: 503, code: "ServiceUnavailable",
		message: "It is not known whether the request took effect. Read before you repeat it.",
		header:  map[string]string{"Retry-After": retryAfter, "Micelio-Outcome": "unknown"}}},
	{object.ErrNotFound, apiError{status: 404, code: "NoSuchKey", message: "The specified key does not exist."}},
	{object.ErrPrecondition, apiError{status: 412, code: "PreconditionFailed",
		message: "At least one of the pre-conditions you specified did not hold."}},
	{object.ErrRange, apiError{status: 416, code: "InvalidRange", message: "The requested range is not satisfiable."}},
	{object.ErrTooLarge, apiError{status: 413, code: "EntityTooLarge",
		message: "Your proposed upload exceeds the maximum allowed object size."}},
	{object.ErrInvalidKey, apiError{status: 400, code: "InvalidArgument", message: "The specified key is not valid."}},
	{object.ErrDigest, apiError{status: 400, code: "BadDigest",
		message: "The bytes do not hash to a digest that the request or the key names."}},
	{object.ErrConflict, apiError{status: 409, code: "ObjectAlreadyExists",
		message: "The key is immutable and holds other content."}},
	{object.ErrUnavailable, apiError{status: 503, code: "ServiceUnavailable",
		message: "The object cannot be reached now. Please try again.", header: map[string]string{"Retry-After": retryAfter}}},
	{context.DeadlineExceeded, apiError{status: 503, code: "ServiceUnavailable",
		message: "The request took too long. Please try again.", header: map[string]string{"Retry-After": retryAfter}}},
	{context.Canceled, apiError{status: statusClientGone, code: "RequestCanceled", message: "The client left."}},
}

// classify returns the answer that err becomes.
func classify(err error) *apiError {
	var own *apiError
	if errors.As(err, &own) && !errors.Is(err, object.ErrUnknownOutcome) {
		return own
	}
	for i := range answers {
		if errors.Is(err, answers[i].is) {
			a := answers[i].answer
			a.cause = err
			if later := (*object.RetryLaterError)(nil); answers[i].is == object.ErrUnavailable && errors.As(err, &later) {
				a.code = "SlowDown"
				a.message = "Too much is asked of what would have to answer. Please reduce your request rate."
				a.header = map[string]string{"Retry-After": retrySeconds(later.After)}
			}
			return &a
		}
	}
	return &apiError{status: 500, code: "InternalError", message: "We encountered an internal error. Please try again.", cause: err}
}

// retrySeconds returns a time as Retry-After has it: whole seconds, at least
// one.
func retrySeconds(after time.Duration) string {
	return strconv.FormatInt(max(1, int64((after+time.Second-1)/time.Second)), 10)
}

// maxResource bounds how much of a request target an error repeats.
const maxResource = 2 << 10

// fail answers with an error. Failures that nobody expects are logged here
// and nowhere else.
func (x *exchange) fail(err error) {
	if x.status != 0 {
		// The answer has begun: breaking it off is all that is left to say.
		x.abort(err)
	}
	if errors.Is(err, object.ErrNotModified) {
		x.notModified(err)
		return
	}
	a := classify(err)
	if a.status >= http.StatusInternalServerError {
		x.err = err
	}
	x.logInternal(a, err)
	h := x.w.Header()
	for name, value := range a.header {
		h.Set(name, value)
	}
	resource := x.r.URL.EscapedPath()
	err = x.sendXML(a.status, errorDocument{
		Code: a.code, Message: a.message, Resource: resource[:min(len(resource), maxResource)], RequestID: x.id,
	})
	if err != nil {
		x.abort(err)
	}
}

// logInternal logs a failure that its answer hides.
func (x *exchange) logInternal(a *apiError, err error) {
	if a.status == http.StatusInternalServerError {
		x.Log.ErrorContext(x.ctx(), "request failed", "op", x.op, "error", err)
	}
}

type errorDocument struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Resource  string
	RequestID string `xml:"RequestId"`
}

// encodeXML returns v as a document.
func encodeXML(v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := xml.NewEncoder(&b).Encode(v); err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	return b.Bytes(), nil
}
