package objecttest

import (
	"testing"

	"github.com/micelio/micelio/object"
)

func TestMemoryConforms(t *testing.T) {
	Test(t, func(*testing.T) object.Store { return new(Memory) })
}
