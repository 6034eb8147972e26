package origin_test

import (
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
)

func openLocal(t testing.TB, dir string) *origin.Local {
	t.Helper()
	l, err := origin.OpenLocal(dir)
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

func defaultClasses(t testing.TB) *object.Classes {
	t.Helper()
	c, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLocalIsAStore(t *testing.T) {
	objecttest.Test(t, func(t *testing.T) object.Store { return openLocal(t, t.TempDir()) })
}

func TestAGuardedLocalIsAStore(t *testing.T) {
	objecttest.Test(t, func(t *testing.T) object.Store {
		return origin.Guard(openLocal(t, t.TempDir()), defaultClasses(t), true)
	})
}
