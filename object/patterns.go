package object

import (
	"errors"
	"fmt"
	"strings"
)

// Patterns are patterns of keys. They are immutable and safe for concurrent use;
// the zero Patterns, and nil, match nothing.
type Patterns struct {
	patterns []pattern
	prefixes []string // what each begins with literally
}

// NewPatterns compiles patterns as NewClasses reads them, without {sha256}. All
// faulty ones are reported together.
func NewPatterns(patterns []string) (*Patterns, error) {
	p := &Patterns{}
	var errs []error
	for _, s := range patterns {
		if strings.Contains(s, sha256Token) {
			errs = append(errs, fmt.Errorf("key pattern %q must not contain %s", s, sha256Token))
			continue
		}
		p.patterns = append(p.patterns, compile(s, &errs))
		wildcard := strings.IndexAny(s, `*?[\`)
		if wildcard < 0 {
			wildcard = strings.LastIndexByte(s, '/') + 1
		}
		p.prefixes = append(p.prefixes, s[:wildcard])
	}
	return p, errors.Join(errs...)
}

// Match reports whether a pattern matches key, and what the first that does
// begins with: all before its first wildcard, or before its last segment if it has
// none.
func (p *Patterns) Match(key Key) (prefix string, ok bool) {
	if p == nil {
		return "", false
	}
	for i, pattern := range p.patterns {
		if pattern.match(string(key), nil) {
			return p.prefixes[i], true
		}
	}
	return "", false
}
