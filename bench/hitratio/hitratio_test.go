package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/micelio/micelio/bench/policy"
	"github.com/micelio/micelio/bench/trace"
)

func small() []*trace.Trace {
	var keys []uint64
	for i := range uint64(3000) {
		keys = append(keys, i%50, 1000+i)
	}
	return []*trace.Trace{
		{Name: "a & b", Keys: keys, Capacities: []int64{20, 60}},
		{Name: "sizes", Keys: keys, Sizes: func(uint64) int64 { return 1 << 20 }, Capacities: []int64{40 << 20, 100 << 20}},
	}
}

func TestResultsBecomeTablesAndAPlot(t *testing.T) {
	results := play(small())
	text := tables(results)
	for _, want := range []string{"a & b", "100 MiB", policy.Ours, optimum, "Of 4 games"} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables lack %q:\n%s", want, text)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(plot(results))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
