package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/loadtesttest"
)

func encode(t *testing.T, r *loadtest.Result, format VegetaFormat) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Vegeta(&out, r, format); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// calls counts the writes.
type calls int

func (c *calls) Write(b []byte) (int, error) { *c++; return len(b), nil }

// Each line of the CSV was a write of its own, which to a pipe is a system call.
func TestResultsForVegetaAreWrittenManyAtATime(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{Seconds: 3})
	for _, format := range []VegetaFormat{VegetaCSV, VegetaJSON} {
		var n calls
		if err := Vegeta(&n, r, format); err != nil {
			t.Fatal(err)
		}
		if int64(n) > r.Totals.Sent/5 {
			t.Errorf("%s: %d writes for %d results", format, n, r.Totals.Sent)
		}
	}
}

func decode(t *testing.T, encoded []byte) (all []vegetaResult) {
	t.Helper()
	lines := json.NewDecoder(bytes.NewReader(encoded))
	for {
		var one vegetaResult
		if err := lines.Decode(&one); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// near reports whether two histograms have the same latencies within the
// thousandth that one bucket is wide.
func near(a, b *loadtest.Histogram) bool {
	if a.Count() != b.Count() {
		return false
	}
	for q := 0.0; q <= 1; q += 0.01 {
		x, y := a.Quantile(q), b.Quantile(q)
		if (x - y).Abs() > max(x/500, 2*time.Microsecond) {
			return false
		}
	}
	return true
}

func TestTheResultsAreThoseOfTheRun(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	all := decode(t, encode(t, r, VegetaJSON))
	if int64(len(all)) != r.Totals.Sent {
		t.Fatalf("%d results, %d requests were sent", len(all), r.Totals.Sent)
	}
	in, out := uint64(0), uint64(0)
	statuses := map[int]*loadtest.Histogram{}
	seconds := make([]*loadtest.Histogram, len(r.Intervals))
	for i := range seconds {
		seconds[i] = &loadtest.Histogram{}
	}
	for i, one := range all {
		if one.Seq != uint64(i) {
			t.Fatalf("result %d has the number %d", i, one.Seq)
		}
		if i > 0 && one.Timestamp.Before(all[i-1].Timestamp) {
			t.Fatalf("result %d is of %v, before the one before it", i, one.Timestamp)
		}
		in, out = in+one.BytesIn, out+one.BytesOut
		if statuses[int(one.Code)] == nil {
			statuses[int(one.Code)] = &loadtest.Histogram{}
		}
		statuses[int(one.Code)].Record(one.Latency)
		seconds[int(one.Timestamp.Add(one.Latency).Sub(r.Start)/time.Second)].Record(one.Latency)
	}
	if in != uint64(r.Totals.BytesIn) || out != uint64(r.Totals.BytesOut) {
		t.Errorf("%d bytes in and %d out, want %d and %d", in, out, r.Totals.BytesIn, r.Totals.BytesOut)
	}
	for _, g := range r.Group(func(s *loadtest.Series) string { return strconv.Itoa(s.Status) }) {
		code, _ := strconv.Atoi(g.Name)
		if statuses[code] == nil || !near(statuses[code], g.Response) {
			t.Errorf("status %d has other latencies than in the run", code)
		}
	}
	for i, in := range r.Intervals {
		h, err := in.Response.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if !near(seconds[i], h) {
			t.Errorf("second %d has other latencies than in the run", i)
		}
	}
}

func TestTheErrorsAreInTheirSeconds(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	wrong, total := int64(0), r.Totals.Failed
	got := make([]int64, len(r.Intervals))
	for _, one := range decode(t, encode(t, r, VegetaJSON)) {
		if one.Error != "" {
			got[int(one.Timestamp.Add(one.Latency).Sub(r.Start)/time.Second)]++
		}
	}
	for i, n := range got {
		wrong += max(0, r.Intervals[i].Failed-n)
	}
	if wrong > total/5 {
		t.Errorf("%d of %d errors are in other seconds than in the run: %v", wrong, total, got)
	}
}

func TestBothEncodingsAreTheSame(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{Seconds: 12})
	all := decode(t, encode(t, r, VegetaJSON))
	rows, err := csv.NewReader(bytes.NewReader(encode(t, r, VegetaCSV))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(all) {
		t.Fatalf("%d rows, %d lines", len(rows), len(all))
	}
	for i, one := range all {
		want := []string{
			fmt.Sprint(one.Timestamp.UnixNano()), fmt.Sprint(one.Code), fmt.Sprint(int64(one.Latency)), fmt.Sprint(one.BytesOut),
			fmt.Sprint(one.BytesIn), one.Error, "", one.Attack, fmt.Sprint(one.Seq), one.Method, one.URL, "",
		}
		if !slices.Equal(rows[i], want) {
			t.Fatalf("row %d is %q, want %q", i, rows[i], want)
		}
	}
	if !bytes.Equal(encode(t, r, VegetaCSV), encode(t, r, VegetaCSV)) {
		t.Error("one run is encoded in two ways")
	}
}

func TestARunThatContradictsItselfIsNotEncoded(t *testing.T) {
	for name, spoil := range map[string]func(*loadtest.Result){
		"no seconds":       func(r *loadtest.Result) { r.Intervals = nil },
		"a second lost":    func(r *loadtest.Result) { r.Intervals = r.Intervals[:5] },
		"a series lost":    func(r *loadtest.Result) { r.Series = r.Series[1:] },
		"a damaged second": func(r *loadtest.Result) { r.Intervals[0].Response = "x" },
	} {
		r := loadtesttest.Run(loadtesttest.Shape{})
		spoil(r)
		if err := Vegeta(io.Discard, r, VegetaCSV); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	if err := Vegeta(io.Discard, loadtesttest.Run(loadtesttest.Shape{}), "gob"); err == nil {
		t.Error("gob is encoded")
	}
}

// Vegeta itself says of the results what our report says of the run. Its digest
// estimates quantiles, so those are compared by hand, not here.
func TestVegetaReadsTheResults(t *testing.T) {
	vegeta, err := exec.LookPath(filepath.Join("..", "..", "bin", "tools", "vegeta"))
	if err != nil {
		if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
			t.Fatal("vegeta is not there: scripts/build-test-servers.sh builds it")
		}
		t.Skip("vegeta is not there: scripts/build-test-servers.sh builds it")
	}
	r := loadtesttest.Run(loadtesttest.Shape{})
	for _, format := range []VegetaFormat{VegetaCSV, VegetaJSON} {
		cmd := exec.Command(vegeta, "report", "-type=json")
		cmd.Stdin = bytes.NewReader(encode(t, r, format))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var got struct {
			Requests  int64
			Latencies struct{ Max, Min int64 }
			BytesIn   struct{ Total int64 } `json:"bytes_in"`
			Codes     map[string]int64      `json:"status_codes"`
			Errors    []string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		codes := map[string]int64{}
		for _, g := range r.Group(func(s *loadtest.Series) string { return strconv.Itoa(s.Status) }) {
			codes[g.Name] = g.Count
		}
		if got.Requests != r.Totals.Sent || got.BytesIn.Total != r.Totals.BytesIn || !maps.Equal(got.Codes, codes) {
			t.Errorf("%s: vegeta says %s", format, out)
		}
		if d := time.Duration(got.Latencies.Max) - r.Response.Max(); d.Abs() > r.Response.Max()/500 {
			t.Errorf("%s: vegeta's maximum is %v, ours %v", format, time.Duration(got.Latencies.Max), r.Response.Max())
		}
		plot := exec.Command(vegeta, "plot")
		plot.Stdin = bytes.NewReader(encode(t, r, format))
		if out, err := plot.CombinedOutput(); err != nil || !strings.Contains(string(out), "<html") {
			t.Errorf("%s: vegeta plot: %v: %.200s", format, err, out)
		}
	}
}
