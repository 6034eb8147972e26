package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/micelio/micelio/object"
)

// conditions are what narrows a read: preconditions and a range (RFC 9110
// §13 and §14).
type conditions struct {
	match           object.Match
	noneMatch       object.Match
	modifiedSince   time.Time // zero for none, as below
	unmodifiedSince time.Time

	rng     object.Range
	ifRange validator
}

// A validator is the value of an If-Range header.
type validator struct {
	set  bool
	tag  object.ETag // strong, or "" and
	date time.Time   // then this; both zero name no version at all
}

// parseConditions reads the header of a GET or HEAD. Malformed dates and
// ranges are ignored, as RFC 9110 wants it; malformed tag lists are refused,
// because both readings of one can be the wrong one.
func parseConditions(h http.Header) (c conditions, err error) {
	if c.match, err = parseMatch(h, "If-Match"); err != nil {
		return c, err
	}
	if c.noneMatch, err = parseMatch(h, "If-None-Match"); err != nil {
		return c, err
	}
	c.modifiedSince = parseDate(h, "If-Modified-Since")
	c.unmodifiedSince = parseDate(h, "If-Unmodified-Since")
	if ranges := h.Values("Range"); len(ranges) == 1 {
		c.rng, _ = object.ParseRange(ranges[0])
	}
	if values := h.Values("If-Range"); len(values) > 0 && c.rng.IsSet() {
		c.ifRange = parseValidator(values)
	}
	return c, nil
}

// parseMatch reads an If-Match or If-None-Match header. One that is there but
// empty is malformed: no condition is not what its sender meant.
func parseMatch(h http.Header, name string) (object.Match, error) {
	values := h.Values(name)
	if len(values) == 0 {
		return object.Match{}, nil
	}
	m, err := object.ParseMatch(strings.Join(values, ", "))
	if err != nil || !m.IsSet() {
		return object.Match{}, invalidArgument("The value of " + name + " is not a list of entity tags.")
	}
	return m, nil
}

// parseDate returns the time in a header, zero if there is none that counts.
func parseDate(h http.Header, name string) time.Time {
	values := h.Values(name)
	if len(values) != 1 {
		return time.Time{}
	}
	t, err := http.ParseTime(values[0])
	if err != nil {
		return time.Time{}
	}
	return t
}

func parseValidator(values []string) validator {
	v := validator{set: true}
	if len(values) != 1 {
		return v
	}
	if t, err := http.ParseTime(values[0]); err == nil {
		v.date = t
	} else if tag, ok := object.ParseETag(values[0]); ok {
		v.tag = tag
	}
	return v
}

// holds reports whether the validator names the version that info describes.
// A date does so only if it is exactly that version's; that it is a strong
// validator is the client's promise (RFC 9110 §13.1.5).
func (v validator) holds(info object.Info) bool {
	switch {
	case !v.set:
		return true
	case v.tag != "":
		return v.tag == info.ETag
	}
	return !v.date.IsZero() && !info.Modified.IsZero() && v.date.Equal(info.Modified.Truncate(time.Second))
}

// checkDates tests what Stores do not: the conditions on dates. Each counts
// only in the absence of its counterpart on tags (RFC 9110 §13.2.2). err is
// what the Store said about the others and is overruled only by a failure
// that comes before it.
func (c *conditions) checkDates(info object.Info, err error) error {
	if info.Modified.IsZero() {
		return err
	}
	modified := info.Modified.Truncate(time.Second) // what Last-Modified can say
	if !c.match.IsSet() && !c.unmodifiedSince.IsZero() && modified.After(c.unmodifiedSince) {
		return object.ErrPrecondition
	}
	if err == nil && !c.noneMatch.IsSet() && !c.modifiedSince.IsZero() && !modified.After(c.modifiedSince) {
		return &object.NotModifiedError{Info: info}
	}
	return err
}

// check is checkDates for an outcome of the Store that may carry an Info.
func (c *conditions) check(info object.Info, err error) error {
	var nm *object.NotModifiedError
	switch {
	case err == nil:
		return c.checkDates(info, nil)
	case errors.As(err, &nm):
		return c.checkDates(nm.Info, err)
	}
	return err
}

// A rangeError is an ErrRange that knows the size of the object.
type rangeError struct{ size int64 }

func (*rangeError) Error() string { return object.ErrRange.Error() }
func (*rangeError) Unwrap() error { return object.ErrRange }

// get asks the store for the object under all conditions. What is returned is
// one version that passed them all: no answer mixes two.
func (c *conditions) get(ctx context.Context, store object.Store, key object.Key) (*object.Object, error) {
	if c.rng.IsSet() {
		obj, err := c.getRange(ctx, store, key)
		if !errors.Is(err, errWhole) {
			return obj, err
		}
		c.rng = object.Range{}
	}
	return c.open(ctx, store, key, object.GetOptions{IfMatch: c.match, IfNoneMatch: c.noneMatch})
}

// errWhole says that If-Range does not hold, so the whole object is the answer.
var errWhole = errors.New("the range is void")

// getRange gets the range if the validator of If-Range holds for what the
// Store answered. A tag is given to the Store too, which then need not begin a
// read that would be thrown away.
func (c *conditions) getRange(ctx context.Context, store object.Store, key object.Key) (*object.Object, error) {
	opt := object.GetOptions{Range: c.rng, IfMatch: c.match, IfNoneMatch: c.noneMatch}
	if c.ifRange.set {
		switch {
		case c.ifRange.tag != "" && (!c.match.IsSet() || c.match.Strong(c.ifRange.tag)):
			opt.IfMatch = object.MatchETag(c.ifRange.tag)
		case c.ifRange.date.IsZero():
			return nil, errWhole
		}
	}
	obj, err := c.open(ctx, store, key, opt)
	switch {
	case err == nil && !c.ifRange.holds(obj.Info):
		obj.Body.Close()
		return nil, errWhole
	case c.ifRange.tag != "" && errors.Is(err, object.ErrPrecondition):
		return nil, errWhole // also if it was If-Match: the next Get finds that again
	case errors.Is(err, object.ErrRange):
		return nil, c.explainRange(ctx, store, key, err)
	}
	return obj, err
}

// explainRange finds out what to say about a range that selects nothing: the
// conditions come before it, and the answer tells the size.
func (c *conditions) explainRange(ctx context.Context, store object.Store, key object.Key, failed error) error {
	info, err := store.Head(ctx, key, object.HeadOptions{IfMatch: c.match, IfNoneMatch: c.noneMatch})
	if err := c.check(info, err); err != nil {
		return err
	}
	if !c.ifRange.holds(info) {
		return errWhole
	}
	if _, _, err := c.rng.Resolve(info.Size); err == nil {
		return failed // it has grown meanwhile: this size would contradict the status
	}
	return &rangeError{info.Size}
}

// open is Store.Get with the conditions on dates.
func (c *conditions) open(ctx context.Context, store object.Store, key object.Key, opt object.GetOptions) (*object.Object, error) {
	obj, err := store.Get(ctx, key, opt)
	if err != nil {
		return nil, c.check(object.Info{}, err)
	}
	if err := c.check(obj.Info, nil); err != nil {
		obj.Body.Close()
		return nil, err
	}
	return obj, nil
}

// head is get without the bytes. S3 honours ranges on HEAD: offset and length
// say what a GET would carry.
func (c *conditions) head(ctx context.Context, store object.Store, key object.Key) (info object.Info, offset, length int64, partial bool, err error) {
	info, err = store.Head(ctx, key, object.HeadOptions{IfMatch: c.match, IfNoneMatch: c.noneMatch})
	if err := c.check(info, err); err != nil {
		return info, 0, 0, false, err
	}
	if !c.rng.IsSet() || !c.ifRange.holds(info) {
		return info, 0, info.Size, false, nil
	}
	if offset, length, err = c.rng.Resolve(info.Size); err != nil {
		return info, 0, 0, false, &rangeError{info.Size}
	}
	return info, offset, length, true, nil
}
