package tiers_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// BenchmarkHotMutableKey reads one mutable key at so many requests a second, each
// sent at its time whether the others have been answered or not, from an
// authority that is 20 ms away. What counts is how often the authority is asked.
func BenchmarkHotMutableKey(b *testing.B) {
	for _, budget := range []time.Duration{0, time.Second} {
		for _, rate := range []int{10, 100, 1000, 10_000} {
			b.Run(fmt.Sprintf("staleness=%v/rate=%d", budget, rate), func(b *testing.B) {
				for b.Loop() {
					hotMutableKey(b, rate, budget)
				}
			})
		}
	}
}

func hotMutableKey(b *testing.B, rate int, budget time.Duration) {
	const span = 3 * time.Second
	origin := &distant{}
	origin.trip.Store(int64(20 * time.Millisecond))
	if _, err := origin.Memory.Put(b.Context(), "head", object.BytesSource(random(1, 64)), object.PutOptions{}); err != nil {
		b.Fatal(err)
	}
	cache := tiers.New(tiers.Config{
		Upstream: origin, Classes: &object.Classes{}, RAM: tiers.NewRAM(mib),
		Staleness: func(object.Key) time.Duration { return budget },
	})
	ctx, cancel := context.WithCancel(b.Context())
	var running, readers sync.WaitGroup
	running.Go(func() { cache.Run(ctx) })
	took := make([]time.Duration, int(span.Seconds())*rate)
	before, began := cpuTime(), time.Now()
	for i := range took {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		<-time.After(time.Until(due))
		readers.Go(func() {
			obj, err := cache.Get(b.Context(), "head", object.GetOptions{})
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, obj.Body); err != nil {
				b.Error(err)
			}
			obj.Body.Close()
			took[i] = time.Since(due)
		})
	}
	readers.Wait()
	used, elapsed := cpuTime()-before, time.Since(began)
	cancel()
	running.Wait()
	slices.Sort(took)
	n := float64(len(took))
	b.ReportMetric(float64(origin.gets.Load())/elapsed.Seconds(), "questions/s")
	b.ReportMetric(n/elapsed.Seconds(), "reads/s")
	b.ReportMetric(float64(used.Microseconds())/n, "cpu-us/read")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}
