package trace

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A source is a public trace: a file in a checkout of github.com/maypok86/otter
// at the commit that the Makefile names, below benchmarks/simulator/trace.
type source struct {
	name, about, file string
	sha256            string // of the compressed file
	format            Format
	capacities        []int64
}

var sources = []source{
	{
		name: "OLTP", file: "arc/oltp.gz", format: ARC,
		about:      "references of an online transaction system to a CODASYL database (authors of ARC, FAST '03)",
		sha256:     "9599b313a5662e72734fb499b3513759144d7f80847134f29638567b6a5ab151",
		capacities: []int64{500, 1000, 2000, 5000},
	},
	{
		name: "P3", file: "arc/p3.gz", format: ARC,
		about:      "disk reads of a workstation (authors of ARC, FAST '03)",
		sha256:     "71be839be560a64cc260c6a93fe002b6de5b4d24bdbc885f4a81a65ff84e4cbf",
		capacities: []int64{25_000, 50_000, 100_000, 200_000},
	},
	{
		name: "Glimpse", file: "lirs/gli.gz", format: LIRS,
		about:      "block reads of a text search over and over the same files (authors of LIRS, SIGMETRICS '02)",
		sha256:     "c300a0bff8149373bdbb7df3fa440e621aba920b0ec6bcc7a936f360f782511c",
		capacities: []int64{500, 1000, 1500, 2000},
	},
	{
		name: "loop", file: "lirs/loop.gz", format: LIRS,
		about:      "loops over files a little larger than the cache (authors of LIRS, SIGMETRICS '02)",
		sha256:     "465c1cc6bb08993034fd3597106cb0edc55b25a5984a17a12018f30a06ba60e9",
		capacities: []int64{250, 500, 750, 1000},
	},
}

// maxRequests bounds how much of a trace is used.
const maxRequests = 4_000_000

// Public reads the public traces from the directory that holds them. A file that
// is not the expected one is an error.
func Public(dir string) ([]*Trace, error) {
	var traces []*Trace
	for _, s := range sources {
		packed, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(s.file)))
		if err != nil {
			return nil, fmt.Errorf("trace %s: %w", s.name, err)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(packed)); sum != s.sha256 {
			return nil, fmt.Errorf("trace %s: %s has SHA-256 %s, want %s", s.name, s.file, sum, s.sha256)
		}
		unpacked, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, fmt.Errorf("trace %s: %w", s.name, err)
		}
		keys, err := Parse(io.Reader(unpacked), s.format, maxRequests)
		if err != nil {
			return nil, fmt.Errorf("trace %s: %w", s.name, err)
		}
		traces = append(traces, &Trace{Name: s.name, About: s.about, Keys: keys, Capacities: s.capacities})
	}
	return traces, nil
}
