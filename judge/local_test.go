package judge_test

import (
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

func openLocal(t *testing.T) object.Store {
	t.Helper()
	l, err := origin.OpenLocal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestTheLocalOriginPassesAsADriver(t *testing.T) {
	skip := map[string]string{"TestNonexistentBucket": "a directory that is missing is made when it is opened"}
	t.Run("streamed", func(t *testing.T) {
		(&judge{newStore: openLocal, skip: skip}).run(t)
	})
	t.Run("whole", func(t *testing.T) {
		(&judge{newStore: openLocal, skip: skip, whole: true}).run(t)
	})
}
