package main

import (
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/migrate"
)

// A bar shows how far a migration is: on a terminal as one line that is written
// again and again, elsewhere as a line every few seconds. The log is written
// through it, so that its lines do not end up in that one.
type bar struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	mu    sync.Mutex // guards the following, and keeps lines apart
	phase migrate.Phase
	began time.Time // of the phase
	base  int64     // bytes that were done then
	said  time.Time // when the last line was written
	dirty bool      // the cursor stands behind a line that is to be written again
}

func newBar(w io.Writer) *bar { return &bar{w: w, terminal: isTerminal(w), now: time.Now} }

// Write writes whole lines.
func (b *bar) Write(lines []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finish()
	return b.w.Write(lines)
}

// Stat describes what is written to, for the form of the log.
func (b *bar) Stat() (fs.FileInfo, error) {
	if f, ok := b.w.(interface{ Stat() (fs.FileInfo, error) }); ok {
		return f.Stat()
	}
	return nil, fs.ErrInvalid
}

const (
	// plainEvery is the time between two lines that stay: often enough to see that
	// it moves, seldom enough for a log.
	plainEvery = 10 * time.Second

	// barWidth fits the line into 79 columns, the least that terminals have.
	barWidth  = 20
	lineWidth = 79
)

// show is a migrate.Config.Report.
func (b *bar) show(p migrate.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	done := doneBytes(p)
	if p.Phase != b.phase {
		b.phase, b.began, b.base, b.said = p.Phase, now, done, time.Time{}
		b.finish()
	}
	if b.terminal {
		line := b.line(p, done, now)
		fmt.Fprintf(b.w, "\r\x1b[K%s", line[:min(len(line), lineWidth)])
		b.dirty = true
	} else if now.Sub(b.said) >= plainEvery && !p.Done {
		fmt.Fprintln(b.w, b.line(p, done, now))
		b.said = now
	}
	if p.Done {
		b.finish()
	}
}

// finish leaves the line as it is.
func (b *bar) finish() {
	if b.dirty {
		fmt.Fprintln(b.w)
		b.dirty = false
	}
}

// doneBytes returns how much of Progress.Bytes the phase has behind it.
func doneBytes(p migrate.Progress) int64 {
	if p.Phase == migrate.Verifying {
		return p.VerifiedBytes
	}
	return p.CopiedBytes + p.SkippedBytes
}

// line is for example
//
//	copying [=====>    ]  53% 1204/2270, 1.1 GiB/2.0 GiB, 84.1 MiB/s, 11s left
func (b *bar) line(p migrate.Progress, done int64, now time.Time) string {
	if p.Phase == migrate.Listing {
		return fmt.Sprintf("listing: %d objects, %s", p.Objects, bytesText(p.Bytes))
	}
	objects := p.Copied + p.Skipped
	if p.Phase == migrate.Verifying {
		objects = p.Verified
	}
	share := 1.0
	if p.Bytes > 0 {
		share = min(float64(done)/float64(p.Bytes), 1)
	} else if p.Objects > 0 {
		share = min(float64(objects)/float64(p.Objects), 1)
	}
	filled := int(share * barWidth)
	text := fmt.Sprintf("%s [%s%s] %3.0f%% %d/%d, %s/%s", p.Phase, strings.Repeat("=", filled), strings.Repeat(" ", barWidth-filled),
		share*100, objects, p.Objects, bytesText(done), bytesText(p.Bytes))
	if p.Differences > 0 {
		text += fmt.Sprintf(", %d differ", p.Differences)
	}
	moved, elapsed := done-b.base, now.Sub(b.began)
	if moved <= 0 || elapsed < time.Second {
		return text
	}
	rate := float64(moved) / elapsed.Seconds()
	text += fmt.Sprintf(", %s/s", bytesText(int64(rate)))
	if left := float64(p.Bytes-done) / rate; left > 0 && left < (1000*time.Hour).Seconds() {
		text += fmt.Sprintf(", %v left", (time.Duration(left*float64(time.Second)) + time.Second).Truncate(time.Second))
	}
	return text
}

// bytesText writes a number of bytes as people read it, which is not exact.
func bytesText(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/step, 0
	const units = "KMGTPE"
	for value >= step && unit+1 < len(units) {
		value, unit = value/step, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
