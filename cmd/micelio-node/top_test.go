package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/console"
)

// sampleStatus is that of a node with something of everything.
func sampleStatus() *console.Status {
	at := time.Date(2026, 11, 28, 13, 6, 12, 0, time.UTC)
	st := &console.Status{
		At: at,
		Node: console.Node{ID: "node-1", Cluster: "forge", Version: "v0.1.0", State: "ready", Started: at.Add(-3*time.Hour - 12*time.Minute),
			Memory: 412 << 20, Goroutines: 87},
		Checks: []console.Check{{Name: "ring", OK: true, Text: "3 members"}, {Name: "origin", Says: true, Text: "not checked yet"}},
		Ring: console.Ring{Epoch: "0123456789abcdef", Members: []console.Member{
			{ID: "node-1", State: "serving", Self: true, Weight: 1, Share: .334, Data: "10.0.0.1:8080", Admin: "127.0.0.1:8082", Epoch: "0123456789abcdef"},
			{ID: "node-2", State: "serving", Weight: 1, Share: .331, Data: "10.0.0.2:8080", Epoch: "0123456789abcdef", Heard: 2.1, RTT: .00042, Breaker: "closed"},
			{ID: "node-3", State: "draining", Weight: 2, Data: "10.0.0.3:8080", Epoch: "fedcba9876543210", Heard: 31, RTT: .0021, Breaker: "open", Error: "connection refused"}}},
		Tiers: []console.Tier{{Name: "ram", Objects: 12034, Bytes: 48 << 20, Capacity: 64 << 20}, {Name: "ssd", Objects: 1_204_331, Bytes: 3 << 30, Capacity: 10 << 30, Damaged: 1},
			{Name: "hot", Capacity: 8 << 20}},
		Answers: []console.Answer{{Count: 12}, {From: "ram", Count: 4_034_221, Rate: 981.3, P50: .000061, P99: .00042}, {From: "ssd", Count: 120_034, Rate: 41, P50: .00031, P99: .0042},
			{From: "peer", Count: 33, Rate: .4, P50: .0012, P99: .018}, {From: "origin", Count: 3021, Rate: 2.3, P50: .041, P99: .62}},
		FillCount: 61,
		Fills: []console.Fill{{Key: "artifacts/sha256:" + strings.Repeat("9f3a", 16), From: "origin", Bytes: 3 << 20, Size: 8 << 20, Readers: 12, Age: .31},
			{Key: "sessions/abc/head", Size: -1, Readers: 1, Age: .002}},
		Hot: []console.HotKey{{Key: "artifacts/sha256:" + strings.Repeat("00ff", 16), Class: "verified", Owner: "node-2", Rate: 412.5, Copy: 4096},
			{Key: "sessions/abc/head", Class: "mutable", Owner: "node-1", Rate: 3.2}},
		Upstreams: []console.Upstream{{Name: "origin", Place: "s3://forge/objects", Breaker: "closed", InFlight: 3, Counts: map[string]int64{"ok": 5021, "error": 3}},
			{Name: "cdn", Place: "https://cdn.example", Breaker: "half-open", Note: "answers slowly"}},
		Slow:     []console.Request{{At: at.Add(-time.Minute), ID: "4d2", Trace: "0af7651916cd43dd8448eb211c80319c", Op: "GET", Key: "artifacts/sha256:" + strings.Repeat("ab12", 16), Status: 200, From: "origin", Node: "node-2", Duration: 2.31, Bytes: 9 << 20}},
		Settings: []console.Setting{{Name: "listen", Value: "10.0.0.1:8080", Source: "flag --listen"}, {Name: "cluster-secret", Value: "********", Source: "environment MICELIO_CLUSTER_SECRET_FILE"}, {Name: "ram-bytes", Value: "64000000", Source: "default"}},
	}
	st.Rates.Minute = console.Rate{Seconds: 60, Requests: 1024.6, Failed: .1, BytesIn: 300 << 10, BytesOut: 12 << 20, Origin: 2.3, Hits: .973, CPU: .42,
		Tiers: map[string]float64{"ram": .941, "ssd": .72}, Evicted: map[string]float64{"ram": 12.1}}
	st.Rates.Hour.Tiers = map[string]float64{"ram": .93, "ssd": .70}
	return st
}

func samplePicture() *picture {
	st := sampleStatus()
	return &picture{address: "127.0.0.1:8082", status: st, asked: st.At, now: st.At, zone: time.UTC}
}

// golden compares what was drawn with a reviewed file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("run the test with -update if %s is to change (-want +got):\n%s", name, diff)
	}
}

// shown returns what a terminal shows of a frame, trailing space aside.
func shown(frame []byte, s size) []byte {
	term := newTerminal(s)
	term.write(frame)
	return []byte(strings.Join(term.rows(), "\n") + "\n")
}

func TestThePicturesAreReviewed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		size   size
		look   look
		change func(*picture)
	}{
		{"top-80x24.golden", size{80, 24}, look{unicode: true}, nil},
		{"top-120x40.golden", size{120, 40}, look{unicode: true}, nil},
		{"top-40x12.golden", size{40, 12}, look{unicode: true}, nil},
		{"top-ascii.golden", size{80, 24}, look{}, nil},
		{"top-silent.golden", size{80, 24}, look{unicode: true}, func(p *picture) {
			p.fault, p.now, p.status.Ring.Agreed = "no answer: connection refused", p.now.Add(12*time.Second), true
		}},
		{"top-members.golden", size{120, 12}, look{unicode: true}, func(p *picture) { p.view = membersView }},
		{"top-slow.golden", size{120, 12}, look{unicode: true}, func(p *picture) { p.view = slowView }},
		{"top-settings.golden", size{80, 12}, look{unicode: true}, func(p *picture) { p.view, p.paused = settingsView, true }},
		{"top-help.golden", size{100, 16}, look{unicode: true}, func(p *picture) { p.help = true }},
		{"top-asking.golden", size{60, 4}, look{unicode: true}, func(p *picture) { p.status = nil }},
	} {
		p := samplePicture()
		if tt.change != nil {
			tt.change(p)
		}
		golden(t, tt.name, shown(render(p, tt.size, tt.look), tt.size))
	}
	golden(t, "top-paper.golden", render(samplePicture(), size{columns: plainWidth}, look{unicode: true}))
}

func TestAPictureFitsEverySize(t *testing.T) {
	for v := range views {
		for columns := 1; columns < 200; columns += 7 {
			for rows := 1; rows < 60; rows++ {
				p := samplePicture()
				p.view, p.fault = v, "no answer"
				frame := render(p, size{columns, rows}, look{unicode: true, colours: true})
				if n := bytes.Count(frame, []byte("\n")); n != rows-1 {
					t.Fatalf("%s at %dx%d: %d lines", viewNames[v], columns, rows, n+1)
				}
				lines := p.lines(size{columns, rows}, look{unicode: true})
				if len(lines) > rows {
					t.Fatalf("%s at %dx%d: %d lines, and the last, with the keys, is lost", viewNames[v], columns, rows, len(lines))
				}
				for i, l := range lines {
					if w := l.cut(columns).width(); w > columns {
						t.Fatalf("%s at %dx%d: line %d takes %d", viewNames[v], columns, rows, i, w)
					}
				}
			}
		}
	}
}

func TestColoursAreOnlyWhereTheyAreWanted(t *testing.T) {
	p, s := samplePicture(), size{80, 24}
	with, without := render(p, s, look{colours: true}), render(p, s, look{})
	if !bytes.Contains(with, []byte("\x1b[1;31m")) {
		t.Error("members that do not agree are not red")
	}
	if i := bytes.Index(without, []byte("m")); bytes.Contains(without, []byte("\x1b[0m")) || bytes.Contains(without, []byte("\x1b[1")) {
		t.Errorf("colours in a picture without them, near %q", without[:i])
	}
	p.fault = "no answer"
	if old := render(p, s, look{colours: true}); bytes.Contains(old, []byte("\x1b[32m")) || !bytes.Contains(old, []byte("\x1b[2m")) {
		t.Error("figures of before are not dimmed")
	}
	if got, want := shown(with, s), shown(without, s); !bytes.Equal(got, want) {
		t.Errorf("colours change what is shown:\n%s\n%s", got, want)
	}
}

// hostile returns a status all strings of which are the text.
func hostile(text string) *console.Status {
	st := sampleStatus()
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString(text)
		case reflect.Slice:
			for i := range v.Len() {
				fill(v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					fill(v.Field(i))
				}
			}
		}
	}
	fill(reflect.ValueOf(st).Elem())
	st.Upstreams[0].Counts = map[string]int64{text: 1}
	return st
}

func FuzzNothingAStrangerWroteReachesTheTerminal(f *testing.F) {
	for _, seed := range []string{"a/b", "\x1b]0;owned\x07", "\x9b31m", "a\rb\nc\x00", "\xff\xfe", "\u202egnp.exe", "e\u0301\u0301", "漢字/キー", "\u200b", "\x1b[2J\x1b[H"} {
		f.Add(seed, uint8(80), uint8(24))
	}
	f.Fuzz(func(t *testing.T, text string, columns, rows uint8) {
		for _, k := range []look{{}, {unicode: true}, {unicode: true, colours: true}} {
			st := hostile(text)
			k.clean(reflect.ValueOf(st).Elem())
			for v := range views {
				p := &picture{address: "x", status: st, view: v, zone: time.UTC, fault: printable(text)}
				frame := render(p, size{int(columns), int(rows)}, k)
				frame = ours(frame)
				for len(frame) > 0 {
					r, n := utf8.DecodeRune(frame)
					if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) && r != '\n' && r != '\r' {
						t.Fatalf("%q of %q reaches the terminal", frame[:n], text)
					}
					if !k.unicode && r >= utf8.RuneSelf && p.fault == "" {
						t.Fatalf("%q is not ASCII", r)
					}
					frame = frame[n:]
				}
			}
		}
	})
}

// ours takes our own control sequences out of a frame.
func ours(frame []byte) []byte {
	for _, s := range []string{"\x1b[?2026h", "\x1b[?2026l", "\x1b[H", "\x1b[K", "\x1b[0m"} {
		frame = bytes.ReplaceAll(frame, []byte(s), nil)
	}
	for _, code := range sgr {
		frame = bytes.ReplaceAll(frame, []byte("\x1b["+code+"m"), nil)
	}
	return frame
}

func TestWithoutATerminalOnePictureIsPrinted(t *testing.T) {
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != statusPath {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(sampleStatus())
	}))
	defer admin.Close()
	args := []string{"top", "--admin-listen", admin.Listener.Addr().String()}
	for _, more := range [][]string{nil, {"--once"}} {
		code, stdout, stderr := runWith(t, []string{"LANG=C"}, append(args, more...)...)
		if code != exitOK || stderr != "" || !strings.Contains(stdout, "node-1") || strings.ContainsFunc(stdout, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
			t.Errorf("%q: exit code %d\n%s%s", more, code, stdout, stderr)
		}
	}
	if _, stdout, _ := runWith(t, []string{"LC_ALL=C.UTF-8"}, args...); !strings.Contains(stdout, "█") {
		t.Errorf("no bars in\n%s", stdout)
	}
	if code, _, stderr := runWith(t, nil, append(args, "--interval", "1ms")...); code != exitUsage || !strings.Contains(stderr, "--interval: 1ms is too often") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	admin.Close()
	if code, stdout, stderr := runWith(t, nil, args...); code != exitFailure || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Errorf("without a node: exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestKeysAreUnderstood(t *testing.T) {
	for sent, want := range map[string][]key{
		"q": {'q'}, "12\t": {'1', '2', keyTab}, "\x1b[A\x1bOB": {keyUp, keyDown}, "\x1b": {keyEscape}, "\x1b[Z?": {keyBackTab, '?'},
		"\x1b[1;5Cp": {'p'}, "\x1b[": {keyEscape, '['}, "\x1b[1;": nil, "": nil,
	} {
		if got := parseKeys([]byte(sent)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %v, want %v", sent, got, want)
		}
	}
}
