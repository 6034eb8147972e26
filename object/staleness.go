package object

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxStaleness is the largest staleness budget: beyond it somebody means a key
// that never changes, which has classes of its own.
const MaxStaleness = 24 * time.Hour

// Staleness maps mutable keys to how stale a read of them may be. It is
// immutable and safe for concurrent use; the zero Staleness, and nil, allow none.
type Staleness struct{ rules []stalenessRule }

type stalenessRule struct {
	keys   pattern
	budget time.Duration
}

// NewStaleness compiles rules such as "sessions/**=1s": a pattern as in
// NewClasses, without {sha256}, and a duration of at most MaxStaleness. The first
// rule whose pattern matches decides, so that "sessions/locks/**=0s" before
// another one is an exception. All faulty rules are reported together.
func NewStaleness(rules []string) (*Staleness, error) {
	s := &Staleness{}
	var errs []error
	for _, rule := range rules {
		at := strings.LastIndexByte(rule, '=')
		if at < 0 {
			errs = append(errs, fmt.Errorf("staleness rule %q is not of the form PATTERN=DURATION", rule))
			continue
		}
		budget, err := time.ParseDuration(rule[at+1:])
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("staleness rule %q has no duration such as 500ms or 2s", rule))
			continue
		case budget < 0 || budget > MaxStaleness:
			errs = append(errs, fmt.Errorf("staleness rule %q is outside of 0s to %v", rule, MaxStaleness))
			continue
		case strings.Contains(rule, sha256Token):
			errs = append(errs, fmt.Errorf("staleness rule %q must not contain %s: such keys never change", rule, sha256Token))
			continue
		}
		s.rules = append(s.rules, stalenessRule{compile(rule[:at], &errs), budget})
	}
	return s, errors.Join(errs...)
}

// Of returns the budget of a key, 0 if each read has to ask.
func (s *Staleness) Of(key Key) time.Duration {
	if s == nil {
		return 0
	}
	for _, r := range s.rules {
		if r.keys.match(string(key), nil) {
			return r.budget
		}
	}
	return 0
}
