package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestConfigSaysWhereEachValueCameFrom(t *testing.T) {
	file := writeFile(t, "cluster green\n")
	code, stdout, stderr := runWith(t, []string{"STORAGE_LOCAL_PATH=/l"}, "config", "--config", file, "--data-dir=/d", "--allow-anonymous", "--ssd-bytes", "2GiB")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var lines []string
	for line := range strings.Lines(stdout) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if len(lines) != len(settings) {
		t.Errorf("got %d lines for %d settings", len(lines), len(settings))
	}
	for _, want := range []string{
		"cluster green file " + file + ":1",
		"local-path /l environment STORAGE_LOCAL_PATH",
		"data-dir /d flag --data-dir",
		"cache-path /d/cache default: <data-dir>/cache",
		"allow-anonymous true flag --allow-anonymous",
		"ssd-bytes 2GiB flag --ssd-bytes",
		"ram-bytes 64000000 default",
		"listen 127.0.0.1:8080 default",
		"join - default",
	} {
		if !strings.Contains("\n"+strings.Join(lines, "\n")+"\n", "\n"+want+"\n") {
			t.Errorf("no line %q in\n%s", want, stdout)
		}
	}
}

func TestConfigShowsWhatItCanOfABadConfiguration(t *testing.T) {
	code, stdout, stderr := runWith(t, nil, "config", "--cluster", "green", "--env", "prod")
	if code != exitUsage || !strings.Contains(stdout, "green") || !strings.Contains(stderr, "1 problem with") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = runWith(t, nil, "config", "--check", "--env", "prod")
	if code != exitUsage || stdout != "" || !strings.Contains(stderr, `--env: "prod" is unknown`) {
		t.Errorf("--check: exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestSizesAreReadInTheUnitsPeopleWrite(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64
		err  error
	}{
		{"0", 0, nil}, {"64000000", 64e6, nil}, {"-1", -1, nil}, {"12B", 12, nil},
		{"1kB", 1e3, nil}, {"1KB", 1e3, nil}, {"64MB", 64e6, nil}, {"5GB", 5e9, nil}, {"1TB", 1e12, nil},
		{"1KiB", 1 << 10, nil}, {"64MiB", 64 << 20, nil}, {"5 GiB", 5 << 30, nil}, {"8388607TiB", 8388607 << 40, nil},
		{"8388608TiB", 0, errSizeRange}, {"-8388609TiB", 0, errSizeRange}, {"9223372036854775808", 0, errSizeRange},
		{"", 0, errSize}, {"12q", 0, errSize}, {"1G", 0, errSize}, {"1.5GiB", 0, errSize}, {"GiB", 0, errSize}, {"0x10", 0, errSize}, {"1_000", 0, errSize},
	} {
		got, err := parseSize(tt.text)
		if got != tt.want || err != tt.err {
			t.Errorf("%q: got %d, %v, want %d, %v", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"64000000", "5GiB", "-3 MiB", "8388608TiB", "1.5GB", "B"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseSize(text)
		if err != nil {
			return
		}
		again, err := parseSize(fmt.Sprint(sizeValue{&n}))
		if err != nil || again != n {
			t.Errorf("%q is %d, printed as %v, which is %d, %v", text, n, sizeValue{&n}, again, err)
		}
	})
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"listen 127.0.0.1:8080\n# comment\n\njoin\ta:1 b:2\r\n", "name", "s3-secret-access-key a#b = c", "listen=x", "\ufefflisten x", "a\x00b c", "\xff x", "=\n= =",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, problems := parseLines(data)
		if len(lines)+len(problems) > strings.Count(string(data), "\n")+1 {
			t.Fatalf("%d settings and %d problems from %q", len(lines), len(problems), data)
		}
		var text strings.Builder
		text.WriteByte('\n') // a byte order mark counts in the first line only
		for _, line := range lines {
			if line.name == "" || strings.ContainsAny(line.name, " \t=") || strings.TrimSpace(line.text) != line.text {
				t.Fatalf("got %+v", line)
			}
			fmt.Fprintf(&text, "%s %s\n", line.name, line.text)
		}
		again, problems := parseLines([]byte(text.String()))
		if len(problems) > 0 || len(again) != len(lines) {
			t.Fatalf("%q was read as %q, which is read as %v, %q", data, text.String(), again, problems)
		}
		for i, line := range again {
			if line.name != lines[i].name || line.text != lines[i].text {
				t.Fatalf("got %+v, want %+v", line, lines[i])
			}
		}
	})
}
