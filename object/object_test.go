package object_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/micelio/micelio/object"
)

func TestAnEntryIsNamedByItsKeyOrItsPrefix(t *testing.T) {
	for want, entry := range map[string]object.Entry{
		"a/b": {Info: object.Info{Key: "a/b"}},
		"a/":  {CommonPrefix: "a/"},
	} {
		if got := entry.Name(); got != want {
			t.Errorf("%+v is named %q, want %q", entry, got, want)
		}
	}
}

// Callers tell the sentinels apart with errors.Is: none may match another, and
// above all nothing that broke may pass for a missing object.
func TestTheSentinelsAreDistinct(t *testing.T) {
	sentinels := []error{
		object.ErrNotFound, object.ErrPrecondition, object.ErrNotModified, object.ErrRange, object.ErrTooLarge, object.ErrInvalidKey,
		object.ErrDigest, object.ErrConflict, object.ErrUnavailable, object.ErrUnknownOutcome, object.ErrReplay,
	}
	for i, err := range sentinels {
		for j, target := range sentinels {
			if got := errors.Is(fmt.Errorf("wrapped: %w", err), target); got != (i == j) {
				t.Errorf("that %q is %q is %t", err, target, got)
			}
		}
	}
	notModified := &object.NotModifiedError{Info: object.Info{ETag: "v1"}}
	for _, target := range sentinels {
		if got := errors.Is(notModified, target); got != (target == object.ErrNotModified) {
			t.Errorf("that a NotModifiedError is %q is %t", target, got)
		}
	}
	if got := notModified.Error(); got != object.ErrNotModified.Error() {
		t.Errorf("a NotModifiedError says %q", got)
	}
}
