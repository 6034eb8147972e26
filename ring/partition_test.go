package ring

import (
	"fmt"
	"math"
	"testing"
)

func TestKeysOfAPartitionHaveOneOwner(t *testing.T) {
	v, err := NewView([]Member{{ID: "a", State: Serving}, {ID: "b", State: Serving}, {ID: "c", State: Serving}})
	if err != nil {
		t.Fatal(err)
	}
	owners := map[int]string{}
	for i := range 50_000 {
		key := fmt.Sprint("sessions/", i)
		m, _ := v.Owner(key)
		p := v.Partition(key)
		if owner, seen := owners[p]; p < 0 || p >= partitionCount || seen && owner != m.ID {
			t.Fatalf("partition %d of %s is owned by %s and %s", p, key, m.ID, owner)
		}
		owners[p] = m.ID
	}
	// Of P partitions, P (1 - e^(-n/P)) have one of n keys.
	if hit := partitionCount * (1 - math.Exp(-50_000.0/partitionCount)); float64(len(owners)) < 0.9*hit {
		t.Errorf("the keys are in %d partitions of %d", len(owners), partitionCount)
	}
}
