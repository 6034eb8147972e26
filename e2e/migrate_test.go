package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/micelio/micelio/origin/s3test"
)

// A tally is a proxy in front of an S3 service that counts what clients do.
type tally struct {
	url string

	mu    sync.Mutex     // guards the following
	wrote map[string]int // by path: writes that the service confirmed
	reads int            // of objects
}

func startTally(t *testing.T, server *s3test.Server) *tally {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	y := &tally{wrote: map[string]int{}}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
		ModifyResponse: y.count,
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, 0), // clients are killed
	})
	t.Cleanup(front.Close)
	y.url = front.URL
	return y
}

func (y *tally) count(resp *http.Response) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch req := resp.Request; {
	case req.Method == http.MethodPut && resp.StatusCode == http.StatusOK:
		y.wrote[req.URL.Path]++
	case req.Method == http.MethodGet && !req.URL.Query().Has("list-type"):
		y.reads++
	}
	return nil
}

// objects returns how many were written, and fails for those that were twice.
func (y *tally) objects(t *testing.T) int {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	for path, n := range y.wrote {
		if n > 1 {
			t.Errorf("%s was written %d times, and it may not be the only one", path, n)
			break
		}
	}
	return len(y.wrote)
}

// takeReads returns how many reads of objects there were since the last call.
func (y *tally) takeReads() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	n := y.reads
	y.reads = 0
	return n
}

// A migrating process is one run of the command.
type migrating struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout screen
	stderr screen
	done   chan struct{} // closed when it has ended
	term   *os.File      // the person's end of its terminal, nil without one
}

// A screen keeps what a process says.
type screen struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// settingsOf are those of a bucket, as a forge's environment has them.
func settingsOf(server *s3test.Server, endpoint string) []string {
	return environment("S3_ENDPOINT="+endpoint, "S3_REGION="+server.Region,
		"S3_ACCESS_KEY_ID="+server.AccessKey, "S3_SECRET_ACCESS_KEY="+server.SecretKey)
}

// startMigrate runs the command without a terminal.
func startMigrate(t *testing.T, env []string, args ...string) *migrating {
	t.Helper()
	return runCommand(t, env, binary, append([]string{"migrate"}, args...)...)
}

func runCommand(t *testing.T, env []string, name string, args ...string) *migrating {
	t.Helper()
	m := &migrating{t: t, cmd: exec.Command(name, args...)}
	m.cmd.Stdout, m.cmd.Stderr = &m.stdout, &m.stderr
	m.launch(env)
	return m
}

func (m *migrating) launch(env []string) {
	m.t.Helper()
	m.cmd.Env, m.done = env, make(chan struct{})
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		defer close(m.done)
		if m.term != nil {
			_, _ = io.Copy(&m.stdout, m.term) // it ends with an error when nobody is there any more
		}
		_ = m.cmd.Wait() // what came of it is in the state
	}()
	m.t.Cleanup(m.kill)
}

func (m *migrating) kill() {
	_ = m.cmd.Process.Kill() // it may have ended by itself
	<-m.done
}

// wait returns the exit code.
func (m *migrating) wait() int {
	<-m.done
	return m.cmd.ProcessState.ExitCode()
}

func (m *migrating) hasEnded() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// reaches waits until the journal has so many lines.
func (m *migrating) reaches(journal string, lines int) {
	m.t.Helper()
	var file *os.File
	have, part := 0, make([]byte, 64<<10)
	await(m.t, fmt.Sprintf("%d lines in the journal", lines), func() bool {
		ended := m.hasEnded() // before the journal is read: what it wrote last counts
		if file == nil {
			var err error
			if file, err = os.Open(journal); errors.Is(err, fs.ErrNotExist) && !ended {
				return false
			} else if err != nil {
				m.t.Fatal(err)
			}
			m.t.Cleanup(func() { file.Close() })
		}
		for {
			n, err := file.Read(part)
			have += bytes.Count(part[:n], []byte("\n"))
			if err == io.EOF {
				if ended && have < lines {
					m.t.Fatalf("it ended with %d of %d lines in the journal: %v\n%s%s", have, lines, m.cmd.ProcessState, m.stdout.text(), m.stderr.text())
				}
				return have >= lines
			} else if err != nil {
				m.t.Fatal(err)
			}
		}
	})
}

// succeeds waits for the end, which must be a good one that says want.
func (m *migrating) succeeds(want string) {
	m.t.Helper()
	if code := m.wait(); code != 0 || !strings.Contains(m.stdout.text(), want) {
		m.t.Fatalf("exit code %d, want 0 and %q\n%s%s", code, want, m.stdout.text(), m.stderr.text())
	}
}

// A part of the Go source tree moves to a bucket and back. On the way there the command is
// killed while it copies and while it verifies; on the way back it is killed, and
// then stopped from the keyboard. What arrives is what left, and nothing was
// written twice.
func TestTheGoSourceTreeMovesToABucketAndBack(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t)
	root, files := sourceTree(t, "internal")
	own := t.TempDir()
	y := startTally(t, server)
	bucket := "s3:" + server.Bucket + "/moved"

	moveThere(t, y, settingsOf(server, y.url), len(files),
		"--from=local:"+root, "--to="+bucket, "--journal="+filepath.Join(own, "there"))

	back := filepath.Join(own, "new", "storage")
	env := settingsOf(server, server.Endpoint)
	again := []string{"--from=" + bucket, "--to=local:" + back, "--journal=" + filepath.Join(own, "back journal")}
	moveBack(t, env, len(files), filepath.Join(own, "back journal"), again...)
	wantSameFiles(t, back, root, files)

	// What is proven is proven of this state only.
	victim := filepath.Join(back, filepath.FromSlash(files[len(files)/2]))
	body, err := os.ReadFile(victim)
	if err != nil || len(body) == 0 {
		t.Fatalf("%s: %d bytes, %v", victim, len(body), err)
	}
	body[len(body)/2] ^= 1
	if err := os.WriteFile(victim, body, 0o644); err != nil {
		t.Fatal(err)
	}
	m := startMigrate(t, env, again...)
	if code, want := m.wait(), fmt.Sprintf("different %q: the bytes hash to", files[len(files)/2]); code != 1 || !strings.Contains(m.stdout.text(), want) {
		t.Errorf("exit code %d, want 1 and %q\n%s%s", code, want, m.stdout.text(), m.stderr.text())
	}
}

// inFlight is more than what a killed process may have sent without having heard
// the answer.
const inFlight = 16

func moveThere(t *testing.T, y *tally, env []string, n int, args ...string) {
	journal := strings.TrimPrefix(args[len(args)-1], "--journal=")
	first := startMigrate(t, env, args...)
	first.reaches(journal, n/2)
	first.kill()

	second := startMigrate(t, env, args...)
	second.reaches(journal, n+n/2) // a line for each copy and one for each that was read back
	second.kill()
	if got := y.objects(t); got > n || got < n-inFlight {
		t.Errorf("%d objects were written, want %d", got, n)
	}
	y.takeReads()

	third := startMigrate(t, env, args...)
	third.succeeds(fmt.Sprintf("%d objects, ", n))
	third.succeeds(fmt.Sprintf("0 copied (0 B), %d the same already, %d verified, 0 differences", n, n))
	if reads := y.takeReads(); reads > n*3/4 {
		t.Errorf("%d objects were read again, of %d of which half were proven", reads, n)
	}
	t.Logf("to the bucket: %s", third.stdout.text())
	y.objects(t)
	if said := first.stderr.text() + second.stderr.text() + third.stderr.text(); !strings.Contains(said, "ing [") || strings.Contains(said, "\r") {
		t.Errorf("no progress in:\n%s", said)
	}
}

func moveBack(t *testing.T, env []string, n int, journal string, args ...string) {
	first := startMigrate(t, env, args...)
	first.reaches(journal, n/3)
	first.kill()

	// Few at a time, so that there is something left to stop on a fast machine.
	second := startMigrateOnTerminal(t, env, append(args, "--parallel=2")...)
	second.reaches(journal, n*2/3)
	await(t, "a bar on the terminal", func() bool {
		return strings.Contains(second.stdout.text(), "\r\x1b[Kcopying [") || second.hasEnded()
	})
	if _, err := io.WriteString(second.term, "\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	code, said := second.wait(), second.stdout.text()
	_, command, found := strings.Cut(strings.ReplaceAll(said, "\r\n", "\n"), "to go on, with the same settings, run\n  ")
	command, _, _ = strings.Cut(command, "\n")
	if code != 1 || !found {
		t.Fatalf("exit code %d, or nothing said on how to go on:\n%q", code, said)
	}

	last := runCommand(t, append(env, "PATH="+filepath.Dir(binary)), "/bin/sh", "-c", "exec "+command)
	last.succeeds(fmt.Sprintf("%d verified, 0 differences", n))
	if strings.Contains(last.stdout.text(), fmt.Sprintf("%d copied", n)) {
		t.Errorf("it began anew: %s", last.stdout.text())
	}
	t.Logf("back: %s", last.stdout.text())
}

// wantSameFiles compares two trees, apart from what a folder of ours keeps for
// itself.
func wantSameFiles(t *testing.T, got, want string, files []string) {
	t.Helper()
	each(t, files, 8, func(_ int, file string) error {
		a, err := os.ReadFile(filepath.Join(want, filepath.FromSlash(file)))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(got, filepath.FromSlash(file)))
		if err == nil && !bytes.Equal(a, b) {
			err = fmt.Errorf("%d bytes, and not the %d that left", len(b), len(a))
		}
		return err
	})
	count := 0
	err := filepath.WalkDir(got, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == filepath.Join(got, ".micelio"):
			return fs.SkipDir
		case !d.IsDir():
			count++
		}
		return nil
	})
	if err != nil || count != len(files) {
		t.Errorf("%d files arrived, %v; want %d", count, err, len(files))
	}
}
