package loadtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// serverVariable makes the test binary a server of objects of 16 bytes, which
// says on its standard output where it listens, and ends with its standard input.
const serverVariable = "LOADTEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		if err := serveProcess(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func serveProcess() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Cache", ok.cache)
		_, _ = io.WriteString(w, ok.body)
	})}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	fmt.Println(listener.Addr())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// startProcess starts such a server, and returns it and where it listens.
func startProcess(t *testing.T) (*os.Process, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), serverVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process, strings.TrimSpace(addr)
}

// The same as TestAFreezeIsSeenByAllThatWereDue, with a real server that the
// kernel stops: nothing in the generator may depend on the server's going on.
func TestAStoppedServerShowsInTheP99(t *testing.T) {
	const freeze = 400 * time.Millisecond
	process, addr := startProcess(t)
	cfg := bubbleConfig("5000", 4*time.Second, 32)
	cfg.Targets = []string{addr}
	second := make(chan struct{}, 100)
	cfg.OnInterval = func(Interval) { second <- struct{}{} }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	frozen := make(chan error, 1)
	go func() {
		<-second
		err := process.Signal(syscall.SIGSTOP)
		<-time.After(freeze) // no wait for anything: this is how long the server stands still
		if err == nil {
			err = process.Signal(syscall.SIGCONT)
		}
		if err != nil {
			cancel()
		}
		frozen <- err
	}()
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-frozen; err != nil {
		t.Fatal(err)
	}
	checkResult(t, r)
	p99, longest := r.Response.Quantile(0.99), r.Response.Max()
	t.Logf("%s: response p99 %v, max %v; service p99 %v; own lateness p99 %v", r.Self.Verdict, p99, longest, r.Service.Quantile(0.99), r.Self.LatenessP99)
	if p99 < 300*time.Millisecond || longest < 390*time.Millisecond {
		t.Errorf("a server that stood still for %v of 4 s has a p99 of %v and a maximum of %v, want 300ms and 390ms at least", freeze, p99, longest)
	}
	if r.Totals.Scheduled != 20_000 || r.Totals.Failed > 0 {
		t.Errorf("%+v, want 20000 scheduled and no error", r.Totals)
	}
}

// Over real connections a busy machine makes requests late, and does not make
// them fewer.
func TestTheRateIsKeptOverRealConnections(t *testing.T) {
	_, addr := startProcess(t)
	for _, rate := range []int64{1000, 10_000} {
		const seconds = 2
		cfg := bubbleConfig(fmt.Sprint(rate), seconds*time.Second, 32)
		cfg.Targets, cfg.Grace, cfg.Timeout = []string{addr}, time.Minute, time.Minute
		r, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		checkResult(t, r)
		for what, got := range map[string]int64{"due": r.Totals.Scheduled, "sent": r.Totals.Sent, "answered": r.Totals.Done} {
			if want := rate * seconds; got*1000 < want*995 || got*1000 > want*1005 {
				t.Errorf("%d requests were %s in %d s at %d a second", got, what, seconds, rate)
			}
		}
		t.Logf("%s: %d/s for %v, lateness p50 %v p99 %v, %v CPU a request", r.Self.Verdict, rate, r.Took,
			r.Lateness.Quantile(0.5), r.Lateness.Quantile(0.99), r.Self.CPUPerRequest)
	}
}
