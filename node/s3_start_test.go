package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// refuser starts a service that gives every request one answer.
func refuser(t *testing.T, status int, code string, header ...string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or a client that still sends may see no answer
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as AWS says it</Message></Error>", code)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// What an operator has to change ends the start, and the message says what.
func TestANodeThatItsBucketRefusesDoesNotStart(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t)
	fourActions := []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}
	for name, c := range map[string]struct {
		edit func(*Config)
		says []string
	}{
		"no such bucket": {func(c *Config) { c.S3.Bucket = "no-such-bucket" }, []string{`"no-such-bucket" does not exist`}},
		"a wrong secret": {func(c *Config) { c.S3.SecretAccessKey = "not-the-secret" }, fourActions},
		"a wrong key id": {func(c *Config) { c.S3.AccessKeyID = "AKIANOBODY" }, fourActions},
		"a wrong region": {func(c *Config) { c.S3.Region = "eu-west-1" }, []string{"region", "eu-west-1"}},
		"a region that AWS corrects": {func(c *Config) {
			c.S3.Endpoint = refuser(t, http.StatusBadRequest, "AuthorizationHeaderMalformed")
		}, []string{"region", server.Region}},
		"a bucket that is elsewhere": {func(c *Config) {
			c.S3.Endpoint = refuser(t, http.StatusMovedPermanently, "PermanentRedirect", "X-Amz-Bucket-Region", "eu-west-1")
		}, []string{"region", "endpoint"}},
		"a bucket that has just moved": {func(c *Config) {
			c.S3.Endpoint = refuser(t, http.StatusTemporaryRedirect, "TemporaryRedirect", "Location", server.Endpoint+"/"+server.Bucket)
		}, []string{"region", "endpoint"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.DataDir, cfg.DrainDelay = t.TempDir(), 0
			cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
			over(server, server.Endpoint)(&cfg)
			c.edit(&cfg)
			n, err := Open(cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // a node that starts would run for ever
			defer cancel()
			err = n.Run(ctx)
			if !errors.Is(err, origin.ErrRefused) {
				t.Fatalf("Run: %v, want a refusal", err)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in: %v", part, err)
				}
			}
			for _, secret := range []string{server.SecretKey, "not-the-secret"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a secret is in: %v", err)
				}
			}
		})
	}
}

// An origin that cannot be reached is no reason not to start: what the disk
// holds is served at once, and the rest as soon as the origin answers.
func TestANodeStartsWithoutItsOriginAndFindsIt(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t)
	proxy := s3test.Toxiproxy(t, server.Endpoint)
	dir, body := t.TempDir(), []byte("body")
	n := startNode(t, dir, over(server, proxy.URL()))
	awaitServing(t, []*running{n}, 1)
	for _, key := range append(keep(body), "projects/1/head") {
		put(t, n, key, body)
	}
	settled(n)
	if err := n.drained(); err != nil {
		t.Fatal(err)
	}

	proxy.Down(t)
	again := startNode(t, dir, over(server, proxy.URL()))
	awaitServing(t, []*running{again}, 1)
	for _, key := range keep(body) {
		if obj := want(t, again, key, body); obj.Tier != object.TierSSD {
			t.Errorf("%q from %q", key, obj.Tier)
		}
	}
	for op, err := range everyCall(t.Context(), again, "projects/1/head") {
		if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrNotFound) {
			t.Errorf("%s: %v, want unavailable", op, err)
		}
	}
	if ready, says := readyz(t, again); !ready || !strings.Contains(says, "[!] origin: bucket "+server.Bucket+", not checked yet") {
		t.Errorf("ready %v:\n%s", ready, says)
	}

	proxy.Up(t)
	ctx, cancel := context.WithTimeout(t.Context(), backWithin)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		_, got, err := read(ctx, again, "projects/1/head")
		if err == nil {
			if !bytes.Equal(got, body) {
				t.Errorf("read %q", got)
			}
			break
		}
		if !errors.Is(err, object.ErrUnavailable) {
			t.Fatal(err)
		}
		<-pause.C
	}
	if _, says := readyz(t, again); !strings.Contains(says, "[+] origin: bucket "+server.Bucket+", keeps conditional writes apart; breaker closed") {
		t.Errorf("readyz:\n%s", says)
	}
	put(t, again, "projects/1/head", []byte("after"))
	want(t, again, "projects/1/head", []byte("after"))
}

// readyz asks a node whether it is ready.
func readyz(t *testing.T, n *running) (ready bool, says string) {
	t.Helper()
	resp, err := newClient(t).Get("http://" + n.AdminAddr() + "/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode == http.StatusOK, string(got)
}

// A journal keeps a log for a test to read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// forgetful returns a service that takes writes as if they had no conditions.
func forgetful(t *testing.T) (*s3test.Server, string) {
	t.Helper()
	server := s3test.GoFakeS3(t) // which does not check that a request is as it was signed
	g := newGate(t, server)
	g.change = func(r *http.Request) {
		if r.Method == http.MethodPut {
			r.Header.Del("If-Match")
			r.Header.Del("If-None-Match")
		}
	}
	return server, g.URL
}

func TestAWeakOriginKeepsNoMutableKeys(t *testing.T) {
	t.Parallel()
	server, endpoint := forgetful(t)
	log := &journal{}
	n := startLogging(t, slog.NewTextHandler(log, nil), t.TempDir(), over(server, endpoint))
	awaitServing(t, []*running{n}, 1)
	client := newClient(t)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		resp, got, err := dialect(t.Context(), client, n, method, "projects/1/head", strings.NewReader("x"))
		if err != nil || status(resp) != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s, %v; want 503", method, status(resp), got, err)
		}
	}
	for _, key := range keep([]byte("body")) {
		put(t, n, key, []byte("body"))
		want(t, n, key, []byte("body"))
	}
	if ready, says := readyz(t, n); !ready || !strings.Contains(says, "weak: mutable keys are refused") {
		t.Errorf("ready %v:\n%s", ready, says)
	}
	for _, part := range []string{"level=WARN", "weak", "--allow-weak-origin"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%q is not in the log:\n%s", part, log)
		}
	}
	for name, want := range map[string]string{"conditional_create": "0", "conditional_replace": "0", "read_after_write": "1"} {
		if line := fmt.Sprintf("micelio_origin_s3_capability{name=%q} %s\n", name, want); !strings.Contains(metrics(t, n), line) {
			t.Errorf("the metrics have no line %s", line)
		}
	}
}

// metrics returns what a node tells Prometheus.
func metrics(t *testing.T, n *running) string {
	t.Helper()
	resp, err := newClient(t).Get("http://" + n.AdminAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestAWeakOriginServesWhoAcceptsIt(t *testing.T) {
	t.Parallel()
	server, endpoint := forgetful(t)
	n := startNode(t, t.TempDir(), over(server, endpoint), func(c *Config) { c.AllowWeakOrigin = true })
	awaitServing(t, []*running{n}, 1)
	for _, body := range []string{"one", "two"} {
		put(t, n, "projects/1/head", []byte(body))
		want(t, n, "projects/1/head", []byte(body))
	}
	if ready, says := readyz(t, n); !ready || !strings.Contains(says, "weak, and allowed to be") {
		t.Errorf("ready %v:\n%s", ready, says)
	}
	// A condition that is not met at the moment of the write is still refused.
	_, err := n.Store().Put(t.Context(), "projects/1/head", object.BytesSource([]byte("x")), object.PutOptions{IfNoneMatch: object.MatchAny()})
	if !errors.Is(err, object.ErrPrecondition) {
		t.Errorf("creating it again: %v", err)
	}
	want(t, n, "projects/1/head", []byte("two"))
}
