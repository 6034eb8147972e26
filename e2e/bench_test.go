package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/origin/s3test"
)

const coldBytes = 1 << 30

// BenchmarkAColdRead reads 1 GiB through a node that has none of it, and the
// same straight from the bucket, by turns. A run of less than five rounds says
// little: -benchtime=5x. What it reports are medians: MB/s both ways and their
// ratio, the milliseconds until the first byte, and the seconds of processor
// time that the node took for 1 GiB.
func BenchmarkAColdRead(b *testing.B) {
	server := s3test.VersityGW(b, s3test.WithPublicRead())
	writer := startOver(b, server, "--ssd-bytes=0")
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(pattern(), coldBytes)); err != nil {
		b.Fatal(err)
	}
	keys := map[string]string{
		"verified": fmt.Sprintf("artifacts/sha256:%x", sum.Sum(nil)), "immutable": "derivations/sha256:large", "mutable": "sessions/large/file",
	}
	for _, key := range keys {
		if err := writer.put(escape("/micelio/"+key), io.LimitReader(pattern(), coldBytes), coldBytes); err != nil {
			b.Fatal(err)
		}
	}
	writer.kill()
	for class, key := range keys {
		for tier, args := range map[string][]string{"RAM and SSD": nil, "RAM only": {"--ssd-bytes=0"}} {
			b.Run(class+", "+tier, func(b *testing.B) { compareReads(b, server, key, args) })
		}
	}
}

// compareReads reads one object by turns. Each round has a new node.
func compareReads(b *testing.B, server *s3test.Server, key string, args []string) {
	straight, through := &coldReads{}, &coldReads{}
	for b.Loop() {
		straight.read(b, server.Endpoint+"/"+server.Bucket+"/"+escape(key))
		p := startOver(b, server, args...)
		before := p.cpu()
		through.read(b, p.url(escape("/micelio/"+key)))
		through.cpu = append(through.cpu, p.cpu()-before)
		p.kill()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(coldBytes/1e6/straight.took.median(), "MB/s-straight")
	b.ReportMetric(coldBytes/1e6/through.took.median(), "MB/s-through")
	b.ReportMetric(straight.took.median()/through.took.median(), "ratio")
	b.ReportMetric(1e3*straight.first.median(), "ms-first-straight")
	b.ReportMetric(1e3*through.first.median(), "ms-first-through")
	b.ReportMetric(through.cpu.median(), "cpu-s/GiB")
}

// seconds are measurements.
type seconds []float64

func (s seconds) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// coldReads are measurements of reads of one object.
type coldReads struct{ took, first, cpu seconds }

func (c *coldReads) read(b *testing.B, url string) {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, ReadBufferSize: 256 << 10}}
	defer client.CloseIdleConnections()
	began := time.Now()
	resp, err := client.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	c.first = append(c.first, time.Since(began).Seconds())
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 256<<10))
	c.took = append(c.took, time.Since(began).Seconds())
	if err != nil || n != coldBytes-1 || resp.StatusCode != http.StatusOK {
		b.Fatalf("GET %s: %s, %d bytes, %v", url, resp.Status, n+1, err)
	}
}

// cpu returns the processor time that the process has taken, in seconds.
func (p *process) cpu() float64 {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	// The name of the program is in brackets and may hold anything; utime and
	// stime are the 12th and 13th fields behind it, in ticks of 10 ms (proc(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks float64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return ticks / 100
}
