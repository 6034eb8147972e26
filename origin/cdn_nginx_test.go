package origin_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
)

// nginxConfig is a cache as it is found in the field: it keeps a 404 for a
// minute and everything else for an hour whatever the origin says, and
// compresses where it may.
const nginxConfig = `
%[1]s
daemon off;
worker_processes 1;
pid %[2]s/nginx.pid;
error_log %[2]s/error.log;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	proxy_cache_path %[2]s/cache levels=1:2 keys_zone=objects:1m max_size=256m;
	gzip on;
	gzip_types *;
	gzip_min_length 1;
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

// nginx starts a cache in front of a server and returns its URL and a way to
// stop it early.
func nginx(t *testing.T, server string) (url string, stop func()) {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx") // no user's PATH has it
	}
	if err != nil {
		if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
			t.Fatal("nginx is not installed; it is Debian's package nginx")
		}
		t.Skip("nginx is not installed")
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // whose directory this is
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	must(t, err)
	defer file.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(config, fmt.Appendf(nil, nginxConfig, user, dir, listener.Addr(), server), 0o600))
	cmd := exec.Command(path, "-p", dir, "-c", config, "-e", filepath.Join(dir, "error.log"))
	// It takes the socket over as it does from itself in an upgrade. So the port
	// is its own from the start, and connections wait until it is ready.
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), "NGINX=3;")
	must(t, cmd.Start())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			complaints, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("nginx: %s", complaints)
		}
	})
	return "http://" + listener.Addr().String(), stop
}

// newNginxRig is a rig whose edge is the server behind the cache.
func newNginxRig(t *testing.T) (r *cdnRig, stop func()) {
	t.Helper()
	s := &spy{Store: &objecttest.Memory{}}
	e := newEdge(t, s.Store)
	url, stop := nginx(t, e.url)
	return &cdnRig{CDN: openCDN(t, s, url), t: t, edge: e, spy: s}, stop
}

func TestNginxServesWhatItHasFetchedOnce(t *testing.T) {
	t.Parallel()
	r, _ := newNginxRig(t)
	for i, size := range []int{0, 1, cdnSmall, cdnLarge, 8 << 20} {
		for _, of := range []func(uint64, int) (object.Key, []byte){r.verified, r.immutable} {
			key, body := of(uint64(i), size)
			asked := r.edge.asked.Load()
			for range 3 {
				info := r.wantRead(key, body, object.TierCDN)
				if info.ContentType != "application/x-true" || info.User["owner"] != "us" || string(info.ETag) != md5Hex(body) {
					t.Errorf("%+v", info)
				}
			}
			if n := r.edge.asked.Load() - asked; n != 1 {
				t.Errorf("nginx fetched %d bytes %d times", size, n)
			}
		}
	}
	if n := r.spy.gets.Load(); n != 0 {
		t.Errorf("upstream answered %d reads", n)
	}
}

func TestNginxPassesEveryKeyOn(t *testing.T) {
	t.Parallel()
	r, _ := newNginxRig(t)
	for i, key := range []object.Key{
		"derivations/sha256:a", "cache/x/sha256:1/a+b c&d=e;f", "cache/x/sha256:1/100%", "cache/x/sha256:1/%2e%2e%2fup", "cache/x/sha256:1/q?a=b#c",
		"cache/x/sha256:1/ünïcödé/日本語/🦊", "cache/x/sha256:1/...", "cache/x/sha256:1/~t'(1)!*", "cache/x/sha256:1/[a]{b}|^`<>\"",
	} {
		body := cdnBytes(uint64(i), 100+i)
		r.put(key, body)
		r.wantRead(key, body, object.TierCDN)
		r.wantRead(key, body, object.TierCDN)
	}
}

func TestAStaleHitOfNginxIsNeverAnAnswer(t *testing.T) {
	t.Parallel()
	r, _ := newNginxRig(t)

	// It is asked for an object before there is one, and goes on saying so.
	early := verifiedKey("early")
	_, _, err := readCDN(t.Context(), r.CDN, early)
	wantErr(t, err, object.ErrNotFound)
	put(t, r.CDN, early, "early", object.PutOptions{})
	asked := r.edge.asked.Load()
	r.wantRead(early, []byte("early"), object.TierOrigin)
	if n := r.edge.asked.Load(); n != asked {
		t.Error("the 404 was not kept: the test shows nothing")
	}
	r.wantMisses(origin.CDNAbsent, 2)

	// It keeps an object that has been deleted, and one that has a second life.
	for i, size := range []int{cdnSmall, cdnLarge} {
		for _, other := range []int{size, size + 1} {
			key, first := r.immutable(uint64(10*i+other-size), size)
			r.wantRead(key, first, object.TierCDN)
			must(t, r.Delete(t.Context(), key, object.DeleteOptions{}))
			_, _, err = readCDN(t.Context(), r.CDN, key)
			wantErr(t, err, object.ErrNotFound)
			second := cdnBytes(99, other)
			r.put(key, second)
			asked = r.edge.asked.Load()
			r.wantRead(key, second, object.TierOrigin)
			if n := r.edge.asked.Load(); n != asked {
				t.Error("the object was not kept: the test shows nothing")
			}
		}
	}
	r.wantMisses(origin.CDNStale, 4)
	if s := r.Stats(); s.Bad != 0 || s.Bypassed != 4 {
		t.Errorf("%+v", s)
	}
}

func TestNginxMayGoAway(t *testing.T) {
	t.Parallel()
	r, stop := newNginxRig(t)
	kept, keptBody := r.verified(1, cdnSmall)
	other, otherBody := r.verified(2, cdnSmall)
	r.wantRead(kept, keptBody, object.TierCDN)
	r.edge.close()
	r.wantRead(kept, keptBody, object.TierCDN)
	r.wantRead(other, otherBody, object.TierOrigin) // 502
	r.wantMisses(origin.CDNStatus, 1)
	stop()
	r.wantRead(kept, keptBody, object.TierOrigin)
	r.wantMisses(origin.CDNUnreachable, 1)
}
