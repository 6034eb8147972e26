package node

import (
	"slices"
	"testing"

	"github.com/micelio/micelio/object"
)

func TestWhoDoesNotAnswerIsNotAmongThePlaces(t *testing.T) {
	p := newPlan(t, object.Immutable)
	c := p.view.Candidates("k", 2)
	if got, want := p.places("k"), []string{c[0].ID, c[1].ID, "self"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range failuresToOpen {
		p.vitals.blame(c[0])
	}
	if got, want := p.places("k"), []string{c[1].ID, "self"}; !slices.Equal(got, want) {
		t.Errorf("without the owner: got %q, want %q", got, want)
	}
	if p.stations[c[1].ID].asked.Load() != 0 || p.local.asked.Load() != 0 {
		t.Error("somebody was asked for the key")
	}
}
