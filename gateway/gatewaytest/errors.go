package gatewaytest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/micelio/micelio/object"
)

// codes says what each code of the dialect means to a Store.
var codes = map[string]error{
	"NoSuchKey":                 object.ErrNotFound,
	"PreconditionFailed":        object.ErrPrecondition,
	"InvalidRange":              object.ErrRange,
	"EntityTooLarge":            object.ErrTooLarge,
	"InvalidArgument":           object.ErrInvalidKey,
	"InvalidURI":                object.ErrInvalidKey,
	"KeyTooLongError":           object.ErrInvalidKey,
	"BadDigest":                 object.ErrDigest,
	"XAmzContentSHA256Mismatch": object.ErrDigest,
	"ObjectAlreadyExists":       object.ErrConflict,
	"ServiceUnavailable":        object.ErrUnavailable,
}

// statuses says what the status of an answer without a code means: the answer
// to a HEAD has no room for one.
var statuses = map[int]error{
	http.StatusBadRequest:                   object.ErrInvalidKey,
	http.StatusNotFound:                     object.ErrNotFound,
	http.StatusPreconditionFailed:           object.ErrPrecondition,
	http.StatusRequestedRangeNotSatisfiable: object.ErrRange,
	http.StatusServiceUnavailable:           object.ErrUnavailable,
}

type errorDocument struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

// refusal returns what the node answered to a request.
func refusal(request string, resp *http.Response) error {
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("gateway client: %s: %w", request, err)
	}
	var doc errorDocument
	_ = xml.Unmarshal(text, &doc) // without a document the status has to do
	is, found := codes[doc.Code]
	if doc.Code == "" {
		is, found = statuses[resp.StatusCode]
	}
	switch {
	case resp.Header.Get("Micelio-Outcome") == "unknown":
		is = object.ErrUnknownOutcome
	case !found:
		is = errors.New("an answer that no Store gives")
	}
	return fmt.Errorf("gateway client: %s: %s %s %s: %w", request, resp.Status, doc.Code, doc.Message, is)
}

// unanswered returns what a request means that got no answer. It cannot have
// taken effect if it was to change nothing or the node was never reached.
func unanswered(ctx context.Context, method string, err error) error {
	isRead := method == http.MethodGet || method == http.MethodHead
	op, ok := errors.AsType[*net.OpError](err)
	isSafe := isRead || (ok && op.Op == "dial")
	switch end := ctx.Err(); {
	case end != nil && isSafe:
		return fmt.Errorf("gateway client: %w: %w", end, err)
	case end != nil:
		return fmt.Errorf("gateway client: %w: %w: %w", object.ErrUnknownOutcome, end, err)
	case isSafe:
		return fmt.Errorf("gateway client: %w: %w", object.ErrUnavailable, err)
	}
	return fmt.Errorf("gateway client: %w: %w", object.ErrUnknownOutcome, err)
}
