package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fails runs a node that should not start and returns its exit code and what
// it said.
func fails(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = environment(env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("it did not fail: %v\n%s", err, out.String())
	}
	return exit.ExitCode(), out.String()
}

func TestAStartThatCannotSucceedNamesAllProblems(t *testing.T) {
	code, out := fails(t, []string{"MICELIO_RAM_BYTES=lots", "STORAGE_BACKEND=tape"}, "--listen=nowhere", "--no-such-flag", "--drain-timeout=soon")
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for _, want := range []string{"lots", "tape", "nowhere", "no-such-flag", "soon"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not named in:\n%s", want, out)
		}
	}
}

func TestMissingS3SettingsAreNamed(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	withoutAny := []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none}
	for want, env := range map[string][]string{
		"Missing S3 bucket":      {"STORAGE_BACKEND=s3"},
		"Missing S3 credentials": append(withoutAny, "S3_BUCKET=forge", "STORAGE_CACHE_PATH="+t.TempDir()),
	} {
		if _, out := fails(t, env, "--data-dir="+t.TempDir()); !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
}

func TestTakenPortsAndUnusableFoldersAreNamedTogether(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	code, out := fails(t, nil, "--listen="+taken.Addr().String(), "--peer-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0",
		"--gossip-listen=127.0.0.1:0", "--data-dir="+dir, "--local-path="+filepath.Join(file, "x"), "--cache-path="+filepath.Join(file, "y"))
	if code == 0 {
		t.Error("exit code 0")
	}
	for _, want := range []string{"address already in use", filepath.Join(file, "x"), filepath.Join(file, "y")} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not named in:\n%s", want, out)
		}
	}
}

func TestAListenerForOthersNeedsConsent(t *testing.T) {
	_, out := fails(t, nil, "--listen=0.0.0.0:0", "--data-dir="+t.TempDir())
	if !strings.Contains(out, "allow-anonymous") {
		t.Errorf("the way out is not named in:\n%s", out)
	}
}

func TestSIGTERMDrainsAndExitsCleanly(t *testing.T) {
	p := start(t, "--data-dir="+t.TempDir())
	if got := p.get(p.admin("/readyz?verbose")); !strings.Contains(got, "ready") {
		t.Errorf("readyz: %s", got)
	}
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.log.text())
	}
	if log := p.log.text(); !strings.Contains(log, "drained") {
		t.Errorf("no drain in the log:\n%s", log)
	}
}
