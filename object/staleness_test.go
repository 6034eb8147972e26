package object

import (
	"strings"
	"testing"
	"time"
)

func TestTheFirstStalenessRuleDecides(t *testing.T) {
	s, err := NewStaleness([]string{"sessions/locks/**=0s", "sessions/**=1s", "**/a=b=250ms"})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[Key]time.Duration{
		"sessions/1/files/x": time.Second, "sessions/locks/1": 0, "head": 0, "heads/sessions/1": 0, "x/a=b": 250 * time.Millisecond,
	} {
		if got := s.Of(key); got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	for _, none := range []*Staleness{nil, {}} {
		if none.Of("sessions/1") != 0 {
			t.Error("there is a budget without a rule")
		}
	}
}

func TestEveryFaultOfStalenessRulesIsReported(t *testing.T) {
	faulty := []string{"sessions/**", "a/**=", "a/**=fast", "a/**=-1s", "a/**=25h", "a/[=1s", "cas/{sha256}=1s"}
	_, err := NewStaleness(append(faulty, "fine/**=1s"))
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(faulty) {
		t.Fatalf("%d faults reported of %d: %v", len(lines), len(faulty), err)
	}
	for i, rule := range faulty {
		if pattern, _, _ := strings.Cut(rule, "="); !strings.Contains(lines[i], pattern) {
			t.Errorf("%q does not name %q", lines[i], rule)
		}
	}
}
