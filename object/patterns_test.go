package object

import (
	"strings"
	"testing"
)

func TestPatternsSayWhatTheyBeginWith(t *testing.T) {
	p, err := NewPatterns([]string{"sessions/**", "users/*/token", "top-?ecret", "**/private/*", "exact/key", "exact"})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[Key]string{
		"sessions/a": "sessions/", "sessions/a/b": "sessions/", "users/ann/token": "users/", "top-secret": "top-",
		"a/b/private/c": "", "private/c": "", "exact/key": "exact/", "exact": "",
	} {
		if prefix, ok := p.Match(key); !ok || prefix != want {
			t.Errorf("%q: %q, %v, want %q", key, prefix, ok, want)
		}
	}
	for _, key := range []Key{"session/a", "users/token", "exact/key/too", "top-secrets"} {
		if prefix, ok := p.Match(key); ok {
			t.Errorf("%q matches, with prefix %q", key, prefix)
		}
	}
	if _, ok := (*Patterns)(nil).Match("a"); ok {
		t.Error("no patterns match a key")
	}
}

func TestFaultyPatternsAreReportedTogether(t *testing.T) {
	_, err := NewPatterns([]string{"a//b", "ok/**", "x/{sha256}", "[a"})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Fatalf("got %v, want three faults", err)
	}
}
