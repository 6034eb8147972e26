//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/node"
)

const (
	unitFile = "../../deploy/systemd/micelio-node.service"
	confFile = "../../deploy/systemd/micelio-node.conf"
)

// readUnit returns the values of the unit's directives, in order.
func readUnit(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	unit := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(name, "#") {
			unit[name] = append(unit[name], value)
		}
	}
	return unit
}

func TestSystemdAcceptsTheUnit(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	data, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/micelio-node"
	if !strings.Contains(string(data), "ExecStart="+installed+" serve ") {
		t.Fatalf("the unit does not run %s", installed)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "micelio-node.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(data), installed, program)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(analyze, "verify", "--man=no", unit)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), unit) {
		t.Errorf("%v\n%s", err, out)
	}
	// 10 is a service that may do all; below 2 it is what systemd calls "OK".
	cmd = exec.Command(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("exposed: %v\n%s", err, out)
	}
}

func TestTheExampleOfSettingsIsAccepted(t *testing.T) {
	unit := readUnit(t)
	if !slices.Contains(unit["Environment"], "MICELIO_CLUSTER_SECRET_FILE=%d/cluster-secret") {
		t.Fatalf("the unit gives no secret: %q", unit["Environment"])
	}
	secret := writeFile(t, strings.Repeat("0123456789abcdef", 4)+"\n")
	code, stdout, stderr := runWith(t, []string{"MICELIO_CLUSTER_SECRET_FILE=" + secret}, "config", "--config", confFile)
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, folder := range []struct{ setting, made string }{{"data-dir", "/var/lib/" + unit["StateDirectory"][0]}, {"cache-path", "/var/cache/" + unit["CacheDirectory"][0]}} {
		if !strings.Contains(stdout, folder.setting) || !strings.Contains(stdout, " "+folder.made+" ") {
			t.Errorf("%s is not %s, which systemd makes", folder.setting, folder.made)
		}
	}
}

// What is commented out in the example is meant to be used.
func TestTheSettingsThatTheExampleNamesExist(t *testing.T) {
	data, err := os.ReadFile(confFile)
	if err != nil {
		t.Fatal(err)
	}
	secret := writeFile(t, strings.Repeat("0123456789abcdef", 4)+"\n")
	var lines []string
	for line := range strings.Lines(string(data)) {
		if rest, found := strings.CutPrefix(line, "#"); found && !strings.HasPrefix(rest, " ") && strings.TrimSpace(rest) != "" {
			line = rest
		}
		lines = append(lines, line)
	}
	file := writeFile(t, strings.Join(lines, ""))
	code, _, stderr := runWith(t, []string{"MICELIO_CLUSTER_SECRET_FILE=" + secret, "S3_SECRET_ACCESS_KEY=x"}, "config", "--check", "--config", file)
	if code != exitOK {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestSystemdWaitsForTheDrain(t *testing.T) {
	unit, cfg := readUnit(t), node.DefaultConfig()
	const telling = 5 * time.Second // the others, at most
	limit, err := time.ParseDuration(unit["TimeoutStopSec"][0] + "s")
	if need := cfg.DrainDelay + cfg.DrainTimeout + telling; err != nil || limit <= need {
		t.Errorf("TimeoutStopSec=%v, %v, and a drain may take %v", limit, err, need)
	}
}

// startService runs the program as the unit does, and returns it with what it
// tells, when it is ready.
func startService(t *testing.T) (*exec.Cmd, *manager) {
	t.Helper()
	unit, m, dir := readUnit(t), newManager(t), t.TempDir()
	cmd := exec.Command(os.Args[0], "serve", "--listen=127.0.0.1:0", "--peer-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0",
		"--gossip-listen=127.0.0.1:0", "--data-dir="+dir, "--ssd-bytes=64MiB", "--drain-delay=0s", "--canary-interval=0s")
	cmd.Env = []string{asProgram + "=yes", "NOTIFY_SOCKET=" + m.path, "GORACE=atexit_sleep_ms=0"}
	for _, v := range unit["Environment"] {
		if !strings.Contains(v, "%d") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	m.hear("READY=1")
	return cmd, m
}

func TestAServiceThatIsStoppedSaysSoAndSucceeds(t *testing.T) {
	cmd, m := startService(t)
	cmd.Process.Signal(syscall.SIGTERM)
	m.hear("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// systemd must not take a node that its watchdog ended, or one that crashed, for
// one that has wrong settings and is not started again.
func TestACrashIsNotTakenForWrongSettings(t *testing.T) {
	if unit := readUnit(t); !slices.Equal(unit["RestartPreventExitStatus"], []string{"2"}) {
		t.Errorf("RestartPreventExitStatus is %q", unit["RestartPreventExitStatus"])
	}
	cmd, _ := startService(t)
	// One byte, and not none, keeps a pipe that cores go into from it too: core(5).
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}, nil); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGABRT)
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGABRT {
		t.Errorf("it ended with %v, want by SIGABRT", cmd.ProcessState)
	}
}
