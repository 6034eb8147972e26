package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/object"
)

// Whoever looks for a key asks each peer what it has of it:
//
//	GET /c/<key>   204, with Micelio-Copies
//
// The answer is in a header because headers are proven and bodies are not. It has
// a field for each tier with a copy, whose value has fields of its own: age, etag and
// size; and part, if the copy is not whole.

// copiesTarget begins the target of such a question.
const copiesTarget = "/c/"

// headerCopies is its answer.
const headerCopies = "Micelio-Copies"

// fieldPart says that something of a copy is missing.
const fieldPart = "part"

// A Copy is what a peer has of an object in one of its tiers.
type Copy struct {
	Tier  object.Tier
	Size  int64 // of the object
	ETag  object.ETag
	Age   time.Duration // since it was read from the origin
	Whole bool          // nothing of it is missing
}

// Copies asks the peer what it has of key in its own tiers. The peer asks nobody,
// and the question counts as no use of the key.
func (c *Client) Copies(ctx context.Context, key object.Key) ([]Copy, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, err
	}
	l := c.begin(ctx, "copies of", key)
	defer l.end()
	req, err := l.request(http.MethodGet, string(appendEscaped([]byte(copiesTarget), string(key))), nil)
	if err != nil {
		return nil, err
	}
	resp, err := l.send(req, http.StatusNoContent)
	if err != nil {
		return nil, l.failed(err)
	}
	defer l.discard(resp)
	values := resp.Header[headerCopies]
	if len(values) != 1 {
		return nil, l.failed(fmt.Errorf("%s: %w", headerCopies, errNoHeader))
	}
	copies, err := decodeCopies(values[0])
	if err != nil {
		return nil, l.failed(fmt.Errorf("%s: %w", headerCopies, err))
	}
	return copies, nil
}

// Epoch asks the peer for the epoch of its view of the ring, on a connection that is
// kept, so that it takes one way there and back. The error matches ErrNoEpoch if
// the peer is well and names none.
func (c *Client) Epoch(ctx context.Context) (uint64, error) {
	l := c.begin(ctx, "epoch", "")
	defer l.end()
	req, err := l.request(http.MethodGet, aliveTarget, nil)
	if err != nil {
		return 0, err
	}
	resp, err := l.send(req, http.StatusNoContent)
	if err != nil {
		return 0, l.failed(err)
	}
	defer l.discard(resp)
	epoch, err := strconv.ParseUint(resp.Header.Get(headerEpoch), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", l.what(), ErrNoEpoch)
	}
	return epoch, nil
}

// ErrNoEpoch is the answer of a peer that names no view of the ring.
var ErrNoEpoch = errors.New("the peer names no view of the ring")

// encodeCopies writes copies, which are of different tiers, as fields.
func encodeCopies(copies []Copy) []byte {
	var b []byte
	copies = slices.SortedFunc(slices.Values(copies), func(a, b Copy) int { return strings.Compare(string(a.Tier), string(b.Tier)) })
	for _, c := range copies {
		f := appendField(nil, fieldAge, strconv.FormatInt(int64(max(c.Age, 0)), 10))
		f = appendField(f, fieldETag, string(c.ETag))
		if !c.Whole {
			f = appendField(f, fieldPart, "1")
		}
		b = appendField(b, string(c.Tier), string(appendField(f, fieldSize, strconv.FormatInt(c.Size, 10))))
	}
	return b
}

// decodeCopies reads what encodeCopies wrote. Fields of a copy that it does not know
// are passed over.
func decodeCopies(s string) (copies []Copy, err error) {
	err = eachField(s, func(tier, value string) error {
		c := Copy{Tier: object.Tier(tier), Whole: true}
		err := eachField(value, func(name, value string) (err error) {
			switch name {
			case fieldAge:
				var age int64
				age, err = parseCount(value)
				c.Age = time.Duration(age)
			case fieldETag:
				c.ETag = object.ETag(value)
			case fieldPart:
				c.Whole = false
			case fieldSize:
				c.Size, err = parseCount(value)
			}
			return err
		})
		copies = append(copies, c)
		return err
	})
	return copies, err
}

// copies answers a question for copies.
func (x *exchange) copies(escaped string) {
	key, err := parseKey(escaped)
	switch {
	case err != nil:
		x.fail(err)
	case x.r.Method != http.MethodGet:
		x.refuse(badRequest, fmt.Errorf("no such method %.16q", x.r.Method))
	default:
		var copies []Copy
		if x.cfg.Copies != nil {
			copies = x.cfg.Copies(key)
		}
		x.w.Header()[headerCopies] = []string{string(encodeCopies(copies))}
		x.respond(http.StatusNoContent)
	}
}
