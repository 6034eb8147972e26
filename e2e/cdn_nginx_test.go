package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/micelio/micelio/origin/s3test"
)

// nginxConfig is a CDN that keeps everything for an hour and a 404 for a minute,
// whatever the bucket says.
const nginxConfig = `
%[1]s
daemon off;
worker_processes 1;
pid %[2]s/nginx.pid;
error_log %[2]s/error.log;
events { worker_connections 256; }
http {
	access_log %[2]s/access.log;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	proxy_cache_path %[2]s/cache levels=1:2 keys_zone=objects:1m max_size=256m;
	server {
		listen %[3]s;
		location / {
			proxy_pass %[4]s;
			proxy_http_version 1.1;
			proxy_cache objects;
			proxy_cache_key $request_uri;
			proxy_cache_valid 200 1h;
			proxy_cache_valid 404 1m;
			proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
		}
	}
}
`

// An nginx is a CDN in front of a server.
type nginx struct {
	url  string
	dir  string
	kill func()
}

func startNginx(t *testing.T, server string) *nginx {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = tool(t, "/usr/sbin/nginx") // no user's PATH has it
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // whose directory this is
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, user, dir, listener.Addr(), server), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-p", dir, "-c", config, "-e", filepath.Join(dir, "error.log"))
	// It takes the socket over as it does from itself in an upgrade. So the port
	// is its own from the start, and connections wait until it is ready.
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), "NGINX=3;")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &nginx{url: "http://" + listener.Addr().String(), dir: dir}
	killed := false
	n.kill = func() {
		if !killed {
			killed = true
			cmd.Process.Signal(syscall.SIGTERM) // its workers go with it, as they would not with SIGKILL
			cmd.Wait()
		}
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			complaints, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("nginx: %s", complaints)
		}
	})
	return n
}

// asked returns what nginx was asked for.
func (n *nginx) asked(t *testing.T) string {
	t.Helper()
	lines, err := os.ReadFile(filepath.Join(n.dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(lines)
}

// wantFrom reads a whole object and the tier that it came from.
func wantFrom(t *testing.T, p *process, key string, body []byte, tier string) {
	t.Helper()
	got, err := p.ask(http.DefaultClient, http.MethodGet, key)
	if err != nil || got.status != http.StatusOK || !bytes.Equal(got.body, body) {
		t.Fatalf("GET %s: %d, %d bytes, %v; want %d", key, got.status, len(got.body), err, len(body))
	}
	if from := got.header.Get("X-Cache"); from != tier {
		t.Errorf("GET %s: from %q, want %q", key, from, tier)
	}
}

// A CDN in front of the bucket answers what never changes, and is not asked for
// anything else. Without it everything is as before.
func TestACDNAnswersForTheOrigin(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t, s3test.WithPublicRead())
	cdn := startNginx(t, server.Endpoint)
	writer := startOver(t, server)
	store := func(key string, body []byte) {
		t.Helper()
		if err := writer.put(escape("/micelio/"+key), bytes.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(err)
		}
	}
	throughCDN := []string{"--cdn-base-url=" + cdn.url + "/" + server.Bucket, "--cdn-allow-private"}
	reader := startOver(t, server, throughCDN...)
	var keys []string
	var bodies [][]byte
	for i, size := range []int{0, 1, 4_000, 300_000, 3 << 20, 20 << 20} {
		for _, verified := range []bool{true, false} {
			if !verified && size > 8<<20 {
				continue // it was uploaded in parts: nothing at the bucket proves what a CDN has of it
			}
			body := randomBytes(uint64(2*i), size)
			keys, bodies = append(keys, keyOf(verified, body)), append(bodies, body)
		}
	}
	for i, key := range keys {
		store(key, bodies[i])
		wantFrom(t, reader, key, bodies[i], "cdn")
	}
	other := startOver(t, server, throughCDN...) // which finds what nginx has kept
	for i, key := range keys {
		wantFrom(t, other, key, bodies[i], "cdn")
	}
	if asked := strings.Count(cdn.asked(t), "\n"); asked < len(keys) {
		t.Errorf("nginx was asked %d times for %d objects", asked, len(keys))
	}

	for _, body := range []string{"one", "two", "three"} { // nginx would keep the first
		store("projects/1/head", []byte(body))
		wantFrom(t, reader, "projects/1/head", []byte(body), "origin")
	}
	for _, key := range []string{"projects/2/head", keyOf(true, []byte("nowhere")), keyOf(false, []byte("nowhere"))} {
		if got, err := reader.ask(http.DefaultClient, http.MethodGet, key); err != nil || got.status != http.StatusNotFound {
			t.Errorf("GET %s: %d, %v; want 404", key, got.status, err)
		}
	}
	late := []byte("nowhere") // nginx keeps a 404 for the one, and was not asked for the other
	for verified, tier := range map[bool]string{true: "origin", false: "cdn"} {
		store(keyOf(verified, late), late)
		wantFrom(t, reader, keyOf(verified, late), late, tier)
	}
	if asked := cdn.asked(t); strings.Contains(asked, "/projects/") {
		t.Errorf("nginx was asked for a mutable key:\n%s", asked)
	}
	if n := reader.metric("micelio_cdn_hits_total"); n != float64(len(keys)+1) {
		t.Errorf("%v hits of the CDN, want %d", n, len(keys)+1)
	}

	cdn.kill()
	without := startOver(t, server, throughCDN...)
	for i, key := range keys {
		wantFrom(t, without, key, bodies[i], "origin")
	}
	if got, err := without.ask(http.DefaultClient, http.MethodGet, keyOf(true, []byte("never"))); err != nil || got.status != http.StatusNotFound {
		t.Errorf("a missing key without the CDN: %d, %v", got.status, err)
	}
}
