package peer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/micelio/micelio/object"
)

// ErrNotSent says that a write cannot have been applied by the peer and that
// its source was not opened, so that the caller may send the same write, with
// the same source, elsewhere. An error that matches it matches
// object.ErrUnavailable too. A write that ends because the caller's context
// ended does not match it: that says nothing about the peer.
var ErrNotSent = errors.New("request not sent")

// ErrUnreachable says that the peer's handler gave no answer: nobody listens, a
// stranger does, the connection broke or time ran out. An error that matches it
// matches object.ErrUnavailable too. A peer that answers that its own upstream
// is unavailable is not unreachable.
var ErrUnreachable = errors.New("peer unreachable")

// An outcome is how one kind of error travels: the code decides, the status is
// for tools and must agree.
type outcome struct {
	code   string
	status int
	err    error
}

// outcomes maps the sentinels of package object. Of an error that matches
// several, the first one here travels: an outcome that is unknown must not be
// taken for one that is known.
var outcomes = []outcome{
	{"unknown-outcome", http.StatusGatewayTimeout, object.ErrUnknownOutcome},
	{"not-found", http.StatusNotFound, object.ErrNotFound},
	{"precondition-failed", http.StatusPreconditionFailed, object.ErrPrecondition},
	{"not-modified", http.StatusNotModified, object.ErrNotModified},
	{"range-not-satisfiable", http.StatusRequestedRangeNotSatisfiable, object.ErrRange},
	{"too-large", http.StatusRequestEntityTooLarge, object.ErrTooLarge},
	{"invalid-key", http.StatusBadRequest, object.ErrInvalidKey},
	{"digest-mismatch", http.StatusUnprocessableEntity, object.ErrDigest},
	{"conflict", http.StatusConflict, object.ErrConflict},
	{"unavailable", http.StatusServiceUnavailable, object.ErrUnavailable},
	internal, notCached, unmarked, wrongCluster, unproven, replayed, challenged, hopLimit, badRequest,
}

// Answers that are no sentinel's. To the client each is a peer that cannot be
// used. In none of them was anything applied.
var (
	internal     = outcome{"internal", http.StatusInternalServerError, object.ErrUnavailable}
	unmarked     = outcome{"unmarked", http.StatusBadRequest, object.ErrUnavailable}
	wrongCluster = outcome{"wrong-cluster", http.StatusMisdirectedRequest, object.ErrUnavailable}
	unproven     = outcome{"unproven", http.StatusUnauthorized, object.ErrUnavailable}
	replayed     = outcome{"replayed", http.StatusUnauthorized, object.ErrUnavailable}
	challenged   = outcome{"challenge", http.StatusUnauthorized, object.ErrUnavailable}
	hopLimit     = outcome{"hop-limit", http.StatusLoopDetected, object.ErrUnavailable}
	badRequest   = outcome{"bad-request", http.StatusBadRequest, object.ErrUnavailable}
)

// outcomeOf returns how err travels.
func outcomeOf(err error) outcome {
	for _, o := range outcomes {
		if o == internal {
			break
		}
		if errors.Is(err, o.err) {
			return o
		}
	}
	return internal
}

// outcomeNamed returns the outcome that a code stands for.
func outcomeNamed(code string) (outcome, bool) {
	for _, o := range outcomes {
		if o.code == code {
			return o, true
		}
	}
	return outcome{}, false
}

// A refusal is an error that the peer's handler answered with, as opposed to
// anything that may have happened on the way.
type refusal struct {
	outcome
	message string
}

func (r *refusal) Error() string {
	if r.message == "" {
		return r.code
	}
	return r.message
}

// Unwrap is the sentinel, so that errors.Is finds it here as on the peer.
func (r *refusal) Unwrap() error { return r.err }

// Answered reports whether err is what the peer's handler answered, as opposed
// to anything that may have happened on the way. Of a write of unknown outcome
// it says that the peer itself does not know.
func Answered(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// maxMessage bounds the text of an error on the wire, in bytes.
const maxMessage = 1 << 10

// errStranger is an answer that no handler of this cluster gave.
var errStranger = errors.New("not an answer of this cluster's peer")

// readAnswer checks who answered and returns nil for a success with one of the
// wanted statuses, the error that the peer's handler sent, or errStranger.
func (l *call) readAnswer(resp *http.Response, wanted ...int) error {
	cluster := l.pool.cluster
	if mark := resp.Header[headerCluster]; len(mark) != 1 || mark[0] != cluster {
		if len(mark) == 1 {
			return fmt.Errorf("%w: status %d, cluster %.64q", errStranger, resp.StatusCode, mark[0])
		}
		return fmt.Errorf("%w: status %d, no cluster", errStranger, resp.StatusCode)
	}
	codes := resp.Header[headerError]
	if err := l.doubt(resp, codes); err != nil {
		return err
	}
	if len(codes) == 0 {
		for _, status := range wanted {
			if resp.StatusCode == status {
				return nil
			}
		}
		return fmt.Errorf("%w: status %d", errStranger, resp.StatusCode)
	}
	o, ok := outcomeNamed(codes[0])
	if !ok || len(codes) != 1 || o.status != resp.StatusCode {
		return fmt.Errorf("%w: status %d, code %.64q", errStranger, resp.StatusCode, codes[0])
	}
	if o.err == object.ErrNotModified {
		info, err := answeredInfo(resp)
		if err != nil {
			return err
		}
		return &object.NotModifiedError{Info: info}
	}
	// The message only helps; a cut one changes nothing.
	message, _ := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if o == notCached {
		return asNotCached(resp, &refusal{o, string(message)})
	}
	return retryLater(resp, &refusal{o, string(message)})
}

// doubt returns why an answer is not believed, nil if it is. A handler proves no
// answer to a request that was not proven to it, so its refusal of one may as well
// be a stranger's; it costs a read its way, and a stranger can do that anyway.
func (l *call) doubt(resp *http.Response, codes []string) error {
	if len(codes) == 1 && resp.StatusCode == http.StatusUnauthorized {
		switch codes[0] {
		case challenged.code, replayed.code:
			c, err := challengeOf(resp)
			if err != nil {
				return err
			}
			return &challengeError{c, codes[0] == replayed.code}
		case unproven.code:
			message, _ := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
			return fmt.Errorf("%w: it refused the proof of this node's cluster secret: %.200q", errStranger, message)
		}
	}
	if !l.proves(resp.StatusCode, resp.Header) {
		return fmt.Errorf("%w: status %d, and it does not prove that it has the cluster's secret", errStranger, resp.StatusCode)
	}
	return nil
}

// maxRetryAfter bounds what a peer may ask for.
const maxRetryAfter = time.Hour

// retryLater adds to a refusal when it is worth asking again, if the peer says
// so.
func retryLater(resp *http.Response, r *refusal) error {
	after, err := strconv.ParseInt(resp.Header.Get(headerRetryAfter), 10, 64)
	if r.err != object.ErrUnavailable || err != nil || after < 0 || after > maxRetryAfter.Milliseconds() {
		return r
	}
	return &object.RetryLaterError{After: time.Duration(after) * time.Millisecond, Err: r}
}

// answeredInfo returns the Info of an answer about an object.
func answeredInfo(resp *http.Response) (object.Info, error) {
	values := resp.Header[headerInfo]
	if len(values) != 1 {
		return object.Info{}, fmt.Errorf("%w: %s: %w", errStranger, headerInfo, errNoHeader)
	}
	info, err := decodeInfo(values[0])
	if err != nil {
		// As text: a key that does not parse is the peer's fault, and must not
		// look as if the caller's were invalid.
		return object.Info{}, fmt.Errorf("%w: %s: %s", errStranger, headerInfo, err)
	}
	return info, nil
}
