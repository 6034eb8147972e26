// Hitratio plays public and made-up traces to our policy and to others, and
// writes what part of the requests each answers, as tables and a plot, into the
// project's docs. See "make hit-ratios".
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/micelio/micelio/bench/policy"
	"github.com/micelio/micelio/bench/report"
	"github.com/micelio/micelio/bench/trace"
)

// section names the place of the tables in benchmarks.md.
const section = "hit ratios"

func main() {
	traces := flag.String("traces", "", "`directory` of the public traces; empty: only those that are made up")
	docs := flag.String("docs", "", "`directory` whose benchmarks.md and img/hitratio.svg are written; empty: print the tables")
	flag.Parse()
	if err := run(*traces, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "hitratio:", err)
		os.Exit(1)
	}
}

func run(dir, docs string) error {
	var all []*trace.Trace
	if dir != "" {
		public, err := trace.Public(dir)
		if err != nil {
			return err
		}
		all = public
	}
	all = append(all, trace.Synthetic()...)
	results := play(all)
	text := tables(results)
	if docs == "" {
		_, err := fmt.Print(text)
		return err
	}
	img := filepath.Join(docs, "img")
	if err := os.MkdirAll(img, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(img, "hitratio.svg"), []byte(plot(results)), 0o644); err != nil {
		return err
	}
	return report.Insert(filepath.Join(docs, "benchmarks.md"), section, text)
}

// A result is the hit ratios of one trace, in per cent.
type result struct {
	trace *trace.Trace
	names []string    // of policies that can play it; optimum last, where it is known
	ratio [][]float64 // by policy, by capacity
}

const optimum = "optimum"

// play runs every trace with every policy, a few at once. Each game is played by
// one goroutine.
func play(traces []*trace.Trace) []result {
	results := make([]result, len(traces))
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	var games sync.WaitGroup
	for i, t := range traces {
		r := &results[i]
		r.trace = t
		add := func(name string, game func(capacity int64) float64) {
			ratios := make([]float64, len(t.Capacities))
			r.names, r.ratio = append(r.names, name), append(r.ratio, ratios)
			for j, capacity := range t.Capacities {
				turns <- struct{}{}
				games.Go(func() {
					ratios[j] = game(capacity)
					<-turns
				})
			}
		}
		for _, p := range policy.All() {
			if cache := p.New(t.Capacities[0], t.Sizes != nil); cache != nil {
				cache.Close()
				add(p.Name, func(capacity int64) float64 { return ratio(p, t, capacity) })
			}
		}
		if t.Sizes == nil {
			add(optimum, func(capacity int64) float64 {
				return 100 * float64(policy.Optimal(t.Keys, capacity)) / float64(len(t.Keys))
			})
		}
	}
	games.Wait()
	return results
}

// ratio plays one game: what is missed is stored. Where objects have sizes it
// counts bytes.
func ratio(p policy.Policy, t *trace.Trace, capacity int64) float64 {
	cache := p.New(capacity, t.Sizes != nil)
	defer cache.Close()
	var hits, all int64
	for _, key := range t.Keys {
		weight := t.Weight(key)
		all += weight
		if cache.Get(key) {
			hits += weight
		} else {
			cache.Set(key, weight)
		}
	}
	return 100 * float64(hits) / float64(all)
}
