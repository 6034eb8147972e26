package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/migrate"
)

// folder makes a directory of files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMigrateMovesAForgesFolder(t *testing.T) {
	from, to := folder(t, map[string]string{"sessions/1/files/a.ex": "one", "sessions/1/metadata.json": "{}"}), filepath.Join(t.TempDir(), "new", "storage")
	journal := filepath.Join(t.TempDir(), "it's here")
	for _, want := range []string{"2 copied (5 B), 0 the same already, 2 verified, 0 differences", "0 copied (0 B), 2 the same already, 2 verified"} {
		code, stdout, stderr := runWith(t, nil, "migrate", "--from", "local:"+from, "--to=local:"+to, "--journal", journal)
		if code != exitOK || !strings.Contains(stdout, "2 objects, 5 B: "+want) {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	if body, err := os.ReadFile(filepath.Join(to, "sessions/1/files/a.ex")); err != nil || string(body) != "one" {
		t.Errorf("got %q, %v", body, err)
	}
	if _, err := os.Stat(filepath.Join(from, ".micelio")); !os.IsNotExist(err) {
		t.Errorf("the source was written to: %v", err)
	}
	// The new folder is an origin of ours and can be a source itself.
	code, stdout, stderr := runWith(t, nil, "migrate", "--from", "local:"+to, "--to=local:"+filepath.Join(t.TempDir(), "third"))
	if code != exitOK || !strings.Contains(stdout, "2 copied") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestMigrateListsWhatDiffers(t *testing.T) {
	from := folder(t, map[string]string{"a": "one", "b\\c": "x", "d": "1"})
	to := folder(t, map[string]string{"a": "two", "e": "extra"})
	args := []string{"migrate", "--from", "local:" + from, "--to", "local:" + to}
	code, stdout, stderr := runWith(t, nil, append(args, "--dry-run")...)
	if code != exitFailure || !strings.Contains(stdout, "1 would be copied (1 B), 1 of the same size are there, 2 differences") {
		t.Errorf("--dry-run: exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = runWith(t, nil, args...)
	for _, want := range []string{"different \"a\": the bytes hash to ", "unnamed   \"b\\\\c\": invalid key", "extra     \"e\": 5 bytes", "different: 1\nextra: 1\nunnamed: 1\n",
		"1 copied (1 B), 0 the same already, 1 verified, 3 differences\nthe destination is not the same"} {
		if code != exitFailure || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, no %q in\n%s%s", code, want, stdout, stderr)
		}
	}
	if err := os.Remove(filepath.Join(from, "b\\c")); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := runWith(t, nil, append(args, "--overwrite")...); code != exitFailure {
		t.Errorf("an extra object: exit code %d\n%s", code, stdout)
	}
	code, stdout, _ = runWith(t, nil, append(args, "--allow-extra")...)
	if code != exitOK || !strings.Contains(stdout, "1 differences, of which 1 extra objects are allowed") {
		t.Errorf("--allow-extra: exit code %d\n%s", code, stdout)
	}
	if body, err := os.ReadFile(filepath.Join(to, "a")); err != nil || string(body) != "one" {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestMigrateNamesAllThatIsWrongWithIt(t *testing.T) {
	dir := folder(t, map[string]string{"sub/a": "1"})
	missing := filepath.Join(dir, "missing")
	inside := []string{"--from", "local:" + dir, "--to"}
	for _, tt := range []struct {
		args []string
		env  []string
		want []string
	}{
		{nil, nil, []string{"no source: ", "no destination: "}},
		{[]string{"--from", "x", "--to=ftp:y", "z"}, nil, []string{`invalid value "x" for flag -from: is no place`, `invalid value "ftp:y" for flag -to`, `unexpected argument "z"`}},
		{[]string{"--from=local:" + missing, "--to", "local:" + t.TempDir(), "--parallel=0"}, nil, []string{"--from: stat " + missing, "--parallel: 0 moves nothing"}},
		{[]string{"--from=local:" + dir + "/sub/a", "--to", "local:" + t.TempDir()}, nil, []string{"--from: " + dir + "/sub/a is not a directory"}},
		{append(inside, "local:"+dir+"/."), nil, []string{"--from and --to are the same place"}},
		{append(inside, "local:"+dir+"/new/deep"), nil, []string{"--from and --to are the same place"}},
		{append(inside, "local:"+t.TempDir(), "--journal", dir+"/j"), nil, []string{"--journal: "}},
		{append(inside, "s3:"), nil, []string{"Missing S3 bucket: "}},
		{append(inside, "s3:-bad-"), bucketEnv(), []string{"--to: \"-bad-\""}},
		{append(inside, "s3:bucket", "--s3-endpoint=http://minio:9000"), bucketEnv(), []string{"--s3-endpoint: the URL is plain http"}},
		{[]string{"--from", "s3:objects/a", "--to", "s3:objects/a/b"}, bucketEnv(), []string{"--from and --to are the same place"}},
		{[]string{"--from", "s3:", "--to", "s3:objects/a/b"}, bucketEnv(), []string{"--from and --to are the same place"}},
	} {
		code, stdout, stderr := runWith(t, tt.env, append([]string{"migrate"}, tt.args...)...)
		if code != exitUsage || stdout != "" {
			t.Errorf("%q: exit code %d\n%s", tt.args, code, stdout)
		}
		for _, want := range tt.want {
			if strings.Count(stderr, "\n  "+want) != 1 {
				t.Errorf("%q: %q is not said once in\n%s", tt.args, want, stderr)
			}
		}
		const frame = 2 // the head and the hint at the help
		if lines := strings.Count(stderr, "\n"); lines != len(tt.want)+frame {
			t.Errorf("%q: got %d problems, want %d:\n%s", tt.args, lines-frame, len(tt.want), stderr)
		}
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("the source was made: %v", err)
	}
}

func TestMigrateSaysHowToGoOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	from := folder(t, map[string]string{"a": "1"})
	var out, errs bytes.Buffer
	a := &app{env: environ{}, stdout: &out, stderr: &errs}
	code := a.run(ctx, []string{"migrate", "--from", "local:" + from, "--to", "local:" + t.TempDir() + "/it's", "--overwrite",
		"--s3-secret-access-key=" + canary, "--s3-access-key-id=x"})
	want := "run\n  micelio-node migrate --from local:" + from + " --to 'local:"
	if code != exitFailure || !strings.Contains(errs.String(), want) || !strings.Contains(errs.String(), `it'\''s' --overwrite`) ||
		strings.Contains(errs.String(), canary) {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
}

func TestPlacesAreReadAsPeopleWriteThem(t *testing.T) {
	l := load(parseFlags([]string{"--s3-bucket=own", "--s3-prefix=team/"}, nil), nil)
	for text, want := range map[string]string{
		"s3:b": "s3:b/", "s3:b/": "s3:b/", "s3:b/p": "s3:b/p/", "s3:b/p/q/": "s3:b/p/q/", "s3://b/p": "s3:b/p/", "s3:": "s3:own/team/",
		"local:/nowhere/x": "local:/nowhere/x/", "local:/": "local:/", "s3": "", "s3:/p": "", "s3:///p": "", "local:": "", "/x": "", "": "",
	} {
		var p place
		err := p.set(text)
		if err != nil {
			if want != "" {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if got := p.name(l); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	var p place
	if err := p.set("s3:own"); err != nil {
		t.Fatal(err)
	}
	if w := (&migration{to: p}).warnings(l); len(w) != 1 || !strings.Contains(w[0], "write s3:own/team/") {
		t.Errorf("got %q", w)
	}
}

func TestTheBarIsOneLineOnATerminalAndFewElsewhere(t *testing.T) {
	half := migrate.Progress{Phase: migrate.Copying, Objects: 200, Bytes: 2 << 30, Copied: 90, Skipped: 10, CopiedBytes: 1 << 30, Differences: 2}
	end := migrate.Progress{Phase: migrate.Verifying, Objects: 200, Bytes: 2 << 30, Verified: 200, VerifiedBytes: 2 << 30, Done: true}
	for _, terminal := range []bool{true, false} {
		var out bytes.Buffer
		now := time.Unix(0, 0)
		b := &bar{w: &out, terminal: terminal, now: func() time.Time { return now }}
		b.show(migrate.Progress{Phase: migrate.Copying, Objects: 200, Bytes: 2 << 30})
		for range 20 {
			now = now.Add(time.Second)
			b.show(half)
		}
		if _, err := b.Write([]byte("a log line\n")); err != nil {
			t.Fatal(err)
		}
		b.show(end)
		text := out.String()
		if terminal {
			if strings.Count(text, "\n") != 3 || strings.Count(text, "\r\x1b[K") != 22 || !strings.Contains(text, "\na log line\n") || !strings.HasSuffix(text, "\n") {
				t.Errorf("got %q", text)
			}
			for line := range strings.SplitSeq(text, "\r\x1b[K") {
				if line, _, _ = strings.Cut(line, "\n"); len(line) > lineWidth {
					t.Errorf("%q has %d columns", line, len(line))
				}
			}
			continue
		}
		if want := "copying [==========          ]  50% 100/200, 1.0 GiB/2.0 GiB, 2 differ, 51.2 MiB/s, 21s left\n"; strings.Count(text, "\n") != 4 || !strings.Contains(text, want) {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

func TestBytesAreShownInReadableUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536 << 10: "1.5 MiB", 5 << 40: "5.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
