package hotset

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

func TestACopyIsReadAtOnceAsGetAnswersIt(t *testing.T) {
	inBubble(t, func(r *rig) {
		content := []byte("what everybody wants")
		key := r.stored(immutable(1), content)
		if _, _, ok := r.GetAtOnce(key); ok {
			t.Error("there is a copy that nobody asked for")
		}
		r.heat(key)
		obj := r.want(key, content, object.TierHot)
		hits := r.Stats().Hits
		info, got, ok := r.GetAtOnce(key)
		if !ok || string(got) != string(content) {
			t.Fatalf("%q, %t", got, ok)
		}
		if diff := cmp.Diff(obj.Info, info); diff != "" {
			t.Errorf("it is described in another way: -Get +GetAtOnce\n%s", diff)
		}
		if n := r.Stats().Hits - hits; n != 1 {
			t.Errorf("one hit is counted as %d", n)
		}
		if err := r.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := r.GetAtOnce(key); ok {
			t.Error("a copy outlived its object")
		}
	})
}

// Who answers reads past the Store tells it of them, or it would never see what is
// hot.
func TestReadsThatWereSeenMakeAKeyHot(t *testing.T) {
	inBubble(t, func(r *rig) {
		content := []byte("what everybody wants")
		key := r.stored(immutable(1), content)
		obj := r.want(key, content, object.TierRAM)
		for range 500 {
			r.Saw(&obj.Info)
			pass(2 * time.Millisecond)
		}
		r.want(key, content, object.TierHot)
	})
}
