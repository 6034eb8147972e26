package peer

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/micelio/micelio/object"
)

// Names of the headers, in canonical form so that they can index a Header.
const (
	headerHop     = "Micelio-Hop"
	headerCluster = "Micelio-Cluster"
	headerFrom    = "Micelio-From"
	headerOptions = "Micelio-Options"
	headerInfo    = "Micelio-Info"
	headerError   = "Micelio-Error"

	// headerEpoch names the view of the ring that the sender has.
	headerEpoch = "Micelio-Epoch"

	// headerProof shows that the sender has the cluster's secret, see proof.go;
	// headerChallenge is what a request has to be bound to.
	headerProof     = "Micelio-Proof"
	headerChallenge = "Micelio-Challenge"

	// headerRequest, headerParent and headerState say which request of a client, and
	// which trace, a request is made for, see trail.go.
	headerRequest = "Micelio-Request"
	headerParent  = "Micelio-Traceparent"
	headerState   = "Micelio-Tracestate"

	// headerQuick is what either side drew for a quick lane, see quick.go.
	headerQuick = "Micelio-Quick"

	// headerRetryAfter says in milliseconds when an unavailable upstream is
	// worth asking again, where that is known.
	headerRetryAfter = "Micelio-Retry-After"
)

// Targets of the requests.
const (
	objectTarget = "/o/"
	listTarget   = "/l"
	aliveTarget  = "/alive"
	quickTarget  = "/quick"
)

// forwardedOnce is the value of Micelio-Hop. A request that went one hop is
// served from what the node has; two nodes whose views of the ring differ would
// otherwise forward it to each other for ever.
const forwardedOnce = "1"

// MaxHeaderBytes is the budget for the headers of one request or answer. It is
// meant for http.Server.MaxHeaderBytes too. Legal keys, metadata and listings
// take less than a third of it; the rest is for lists of conditions and for
// attributes, which package object does not bound.
const MaxHeaderBytes = 64 << 10

var (
	errField    = errors.New("malformed field")
	errUnknown  = errors.New("unknown field")
	errNoHeader = errors.New("the header is missing or repeated")
)

// plain reports the bytes that travel as they are: legal in a path segment, in
// a header value, and not "%", "&", "=" or a space.
func plain(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '-', '.', '_', '~', '/', ':', '@', '!', '$', '\'', '(', ')', '*', ',':
		return true
	}
	return false
}

// appendEscaped appends s with every byte that is not plain as %XX.
func appendEscaped(b []byte, s string) []byte {
	const upper = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upper[c>>4], upper[c&15])
		}
	}
	return b
}

// unescape undoes appendEscaped. It takes other escapings of the same bytes
// too: one decoding, whatever came.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	return url.PathUnescape(s)
}

// objectPath is the request target of key.
func objectPath(key object.Key) string {
	return string(appendEscaped([]byte(objectTarget), string(key)))
}

// appendField appends one field. Callers keep the names ascending.
func appendField(b []byte, name, value string) []byte {
	if len(b) > 0 {
		b = append(b, '&')
	}
	b = append(b, name...)
	b = append(b, '=')
	return appendEscaped(b, value)
}

// appendKnown appends a field unless it is empty.
func appendKnown(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendField(b, name, value)
}

// eachField hands every field of s to set, decoded. Names must ascend, so none
// can be there twice and no reader can take another one than the writer meant.
func eachField(s string, set func(name, value string) error) error {
	previous := ""
	for s != "" {
		field, rest, more := strings.Cut(s, "&")
		name, escaped, ok := strings.Cut(field, "=")
		if !ok || name <= previous || (more && rest == "") {
			return fmt.Errorf("%w %.40q", errField, field)
		}
		value, err := unescape(escaped)
		if err != nil {
			return fmt.Errorf("%w %.40q", errField, field)
		}
		if err := set(name, value); err != nil {
			return fmt.Errorf("%w: %.40q", err, name)
		}
		previous, s = name, rest
	}
	return nil
}
