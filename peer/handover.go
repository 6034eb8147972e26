package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/micelio/micelio/object"
)

// A node that goes tells those who take over its keys which of its objects are
// worth having, and they fetch them from it while it is there:
//
//	POST /h   Micelio-Options: keys=<keys, one a line>
//
// The answer, which has no content, comes when that is done, or as far as it was
// worth doing. The keys are in a header because they are what an ordinary
// request's target is: there is no body to prove or to wait for.

// handoverTarget is the target of a hand-over.
const handoverTarget = "/h"

// fieldKeys is the one field of its options.
const fieldKeys = "keys"

const (
	// MaxHandover bounds the keys of one hand-over: some hundred milliseconds of
	// work for the peer, so that whoever hands over notices in time that it is
	// slow.
	MaxHandover = 256

	// handoverRoom bounds what their names may take, in bytes as they travel.
	handoverRoom = MaxHeaderBytes / 2
)

// handoverTimeout is how long a peer may take to answer, beyond what the context
// of the caller allows.
var handoverTimeout = &budget{time.Minute, errors.New("no end of the hand-over in time")}

// Handover tells the peer of the first objects of keys, and returns how many
// those are once it has done with them what it does: see HandlerConfig. That is
// at least one, however long its name, and at most MaxHandover. A peer that wants
// no more answers with object.ErrUnavailable.
func (c *Client) Handover(ctx context.Context, keys []object.Key) (told int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	var names []byte
	room := handoverRoom
	for _, key := range keys[:min(len(keys), MaxHandover)] {
		if room -= 3 * (len(key) + 1); room < 0 && told > 0 { // each byte may take three
			break
		}
		names = append(append(names, key...), '\n')
		told++
	}
	l := c.begin(ctx, "hand over", keys[0])
	defer l.end()
	l.allow(handoverTimeout)
	req, err := l.request(http.MethodPost, handoverTarget, appendField(nil, fieldKeys, string(names)))
	if err != nil {
		return 0, err
	}
	resp, err := l.send(req, http.StatusNoContent)
	if err != nil {
		return 0, l.failed(err)
	}
	l.discard(resp)
	return told, nil
}

// decodeHandover reads the options of a hand-over.
func decodeHandover(s string) (keys []object.Key, err error) {
	err = eachField(s, func(name, value string) error {
		if name != fieldKeys {
			return errUnknown
		}
		for line := range strings.Lines(value) {
			key, err := object.ParseKey(strings.TrimSuffix(line, "\n"))
			if err != nil {
				return err
			}
			keys = append(keys, key)
		}
		return nil
	})
	if err == nil && (len(keys) == 0 || len(keys) > MaxHandover) {
		err = fmt.Errorf("%w: %d keys", errField, len(keys))
	}
	return keys, err
}

// handover takes a hand-over.
func (x *exchange) handover() {
	keys, err := decodeHandover(x.options)
	switch {
	case err != nil:
		x.malformed(err)
	case x.r.Method != http.MethodPost:
		x.refuse(badRequest, fmt.Errorf("no such method %.16q", x.r.Method))
	default:
		if x.cfg.Handover != nil && !x.cfg.Handover(x.r.Context(), keys) {
			x.fail(fmt.Errorf("%w: no more are welcome", object.ErrUnavailable))
			return
		}
		x.respond(http.StatusNoContent)
	}
}
