package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/micelio/micelio/origin/s3test"
)

func environment(server *s3test.Server, bucket string) func(string) string {
	return func(name string) string {
		return map[string]string{
			"S3_ENDPOINT": server.Endpoint, "S3_REGION": server.Region, "S3_BUCKET": bucket,
			"S3_ACCESS_KEY_ID": server.AccessKey, "S3_SECRET_ACCESS_KEY": server.SecretKey,
		}[name]
	}
}

// However often it runs, there is one secret and one bucket, of which strangers
// read what never changes and nothing else.
func TestSetupMakesWhatIsMissingAndKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t)
	env, bucket := environment(server, "demo"), "demo"
	file := filepath.Join(t.TempDir(), "cluster.secret")
	if err := run(t.Context(), []string{file}, env); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.TrimSpace(string(first))); n < 32 {
		t.Errorf("a secret of %d characters, want at least the 32 that a node asks for", n)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret has mode %v, %v", info.Mode(), err)
	}
	open := []string{"artifacts/sha256:1/a", "cache/builds/sha256:1/b", "derivations/sha256:c", "x/cas/1", "cas/1", "p/trees/ab/1", "p/blobs/ab/1"}
	closed := []string{"sessions/1/head", "cache/x", "artifacts/latest"}
	for _, key := range append(open, closed...) {
		if _, err := server.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(key)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := run(t.Context(), []string{file}, env); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := os.ReadFile(file); err != nil || string(again) != string(first) {
		t.Errorf("the secret changed from %q to %q, %v", first, again, err)
	}
	for _, key := range open {
		if status, body := get(t, server.Endpoint+"/demo/"+key); status != http.StatusOK || body != key {
			t.Errorf("a stranger's GET of %s: %d %q, want 200", key, status, body)
		}
	}
	for _, key := range append(closed, "?list-type=2") {
		if status, _ := get(t, server.Endpoint+"/demo/"+key); status != http.StatusForbidden {
			t.Errorf("a stranger's GET of %s: %d, want 403", key, status)
		}
	}
}

func TestSetupFailsWithoutAnOrigin(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	env := environment(&s3test.Server{Endpoint: gone.URL, Region: "us-east-1", AccessKey: "a", SecretKey: "b"}, "demo")
	if err := run(t.Context(), []string{filepath.Join(t.TempDir(), "secret")}, env); err == nil {
		t.Error("no error")
	}
}

func TestAProbeFailsUnlessTheAnswerIs200(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	if err := run(t.Context(), []string{"probe", server.URL + "/health"}, os.Getenv); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), []string{"probe", server.URL + "/"}, os.Getenv); err == nil {
		t.Error("503 is no error")
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
