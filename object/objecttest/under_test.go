package objecttest

import (
	"fmt"
	"testing"

	"github.com/micelio/micelio/object"
)

// All claims share a Store here, in which others have names on both sides.
func TestAPartOfAStoreIsAStore(t *testing.T) {
	shared, claims := new(Memory), 0
	for _, key := range []object.Key{"claim", "claim-", "claim-1", "claim-1-/x", "claim-10", "claim-100/x", "claim0", "x"} {
		if _, err := shared.Put(t.Context(), key, object.BytesSource(nil), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	Test(t, func(*testing.T) object.Store {
		claims++
		return Under(shared, fmt.Sprintf("claim-%d/", claims))
	})
}
