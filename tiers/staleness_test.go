package tiers_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// second is a staleness budget for every key of "s/", and none for the rest.
func second(key object.Key) time.Duration {
	if key[:2] == "s/" {
		return time.Second
	}
	return 0
}

func TestWithinItsBudgetAKeyIsReadWithoutAsking(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{Staleness: second}, func(d *distance) {
		d.at("s/1", "one")
		d.at("t/1", "one")
		d.want("s/1", "one")
		d.want("t/1", "one")
		asked := time.Now()
		for range 9 {
			<-time.After(80 * time.Millisecond)
			// The age counts from before the question was sent, 20 ms ago.
			if obj := d.want("s/1", "one"); obj.Age != time.Since(asked)+40*time.Millisecond {
				d.Errorf("after %v the age is %v", time.Since(asked), obj.Age)
			}
			d.want("t/1", "one")
		}
		if n := d.origin.gets.Load(); n != 11 {
			d.Errorf("%d questions, want 1 for the one key and 10 for the other", n)
		}
		info, err := d.cache.Head(d.Context(), "s/1", object.HeadOptions{})
		if err != nil || info.Age == 0 || d.origin.gets.Load() != 11 {
			d.Errorf("Head: %+v, %v", info, err)
		}
		d.at("s/1", "two") // by somebody else
		<-time.After(time.Second)
		d.want("s/1", "two")
	})
}

// The budget is counted from before the question was sent: however long the
// answer took, what is read was current at most a second before the read.
func TestABudgetCountsFromBeforeTheQuestion(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{Staleness: second}, func(d *distance) {
		d.origin.trip.Store(int64(1800 * time.Millisecond))
		d.at("s/1", "one")
		d.want("s/1", "one")
		d.want("s/1", "one")
		if n := d.origin.gets.Load(); n != 2 {
			d.Errorf("%d questions, want 2: the first answer was older than the budget when it came", n)
		}
	})
}

// What is missing is asked for every time.
func TestABudgetIsNotForWhatIsMissing(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{Staleness: second}, func(d *distance) {
		for range 3 {
			if _, _, err := d.read("s/1", object.GetOptions{}); !errors.Is(err, object.ErrNotFound) {
				d.Errorf("%v, want not found", err)
			}
		}
		d.at("s/1", "one")
		d.want("s/1", "one")
		if n := d.origin.gets.Load(); n != 4 {
			d.Errorf("%d questions, want 4", n)
		}
	})
}

// Whoever wrote through this node reads it here at once, budget or not, and so
// does everybody after that, whatever was on its way before.
func TestAWriteEndsTheBudgetOfWhatItReplaces(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{Staleness: second}, func(d *distance) {
		d.at("s/1", "one")
		d.want("s/1", "one")
		if _, err := d.cache.Put(d.Context(), "s/1", object.BytesSource([]byte("two")), object.PutOptions{}); err != nil {
			d.Fatal(err)
		}
		d.want("s/1", "two")
		if n := d.origin.gets.Load(); n != 1 {
			d.Errorf("%d questions, want 1: what was written is known to be current", n)
		}
		if err := d.cache.Delete(d.Context(), "s/1", object.DeleteOptions{}); err != nil {
			d.Fatal(err)
		}
		if _, _, err := d.read("s/1", object.GetOptions{}); !errors.Is(err, object.ErrNotFound) {
			d.Errorf("after a delete: %v, want not found", err)
		}
	})
}

// An answer from before a write must not be taken for what is current after it.
func TestALateAnswerDoesNotBuryANewerWrite(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{Staleness: second}, func(d *distance) {
		d.at("s/1", "one")
		var early sync.WaitGroup
		d.origin.trip.Store(int64(100 * time.Millisecond))
		early.Go(func() { d.want("s/1", "one") })
		<-time.After(60 * time.Millisecond) // it has been decided, and is on its way
		d.origin.trip.Store(int64(10 * time.Millisecond))
		if _, err := d.cache.Put(d.Context(), "s/1", object.BytesSource([]byte("two")), object.PutOptions{}); err != nil {
			d.Fatal(err)
		}
		early.Wait()
		for range 3 {
			<-time.After(100 * time.Millisecond)
			d.want("s/1", "two")
		}
	})
}

// While a key is being written nobody knows which version is current: some reader
// elsewhere may have seen the new one.
func TestWhileAKeyIsWrittenItsReadersAsk(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{Staleness: second}, func(d *distance) {
		d.at("s/1", "one")
		d.want("s/1", "one")
		d.origin.puts = func() { // it is decided, and not answered
			d.want("s/1", "two")
			d.want("s/1", "two")
		}
		if _, err := d.cache.Put(d.Context(), "s/1", object.BytesSource([]byte("two")), object.PutOptions{}); err != nil {
			d.Fatal(err)
		}
		if n := d.origin.gets.Load(); n != 3 {
			d.Errorf("%d questions, want 3", n)
		}
	})
}
