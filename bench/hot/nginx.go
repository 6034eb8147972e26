package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// nginxConf is what both nginxes have: one worker, connections that are never
// closed for the number of requests on them, no log, and files that stay open.
const nginxConf = `daemon off;
%suser
worker_processes 1;
error_log stderr warn;
pid %dir/nginx.pid;
events { worker_connections %conns; multi_accept on; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	tcp_nodelay on;
	keepalive_timeout 1h;
	keepalive_requests 1000000000;
	open_file_cache max=%files inactive=1h;
	open_file_cache_valid 1h;
	open_file_cache_min_uses 1;
	default_type application/octet-stream;
	client_body_temp_path %dir/body;
	proxy_temp_path %dir/proxy;
	fastcgi_temp_path %dir/fastcgi;
	uwsgi_temp_path %dir/uwsgi;
	scgi_temp_path %dir/scgi;
%http
	server {
		listen %addr;
%server
	}
}
`

// startStatic starts an nginx that serves the files.
func (s *stage) startStatic(ctx context.Context) (*contender, error) {
	return s.startNginx(ctx, "static", "", "\t\tlocation "+prefix+" { alias "+s.objects.root+"/; }")
}

// startProxy starts an nginx that caches what the origin has.
func (s *stage) startProxy(ctx context.Context) (*contender, error) {
	return s.startNginx(ctx, "proxy",
		"\tproxy_cache_path "+filepath.Join(s.dir, "proxy", "cache")+" levels=1:2 keys_zone=hot:64m max_size=8g inactive=1d use_temp_path=off;\n"+
			"\tupstream origin { server "+s.origin+"; keepalive 64; }",
		"\t\tlocation / {\n\t\t\tproxy_pass http://origin;\n\t\t\tproxy_http_version 1.1;\n\t\t\tproxy_set_header Connection \"\";\n"+
			"\t\t\tproxy_cache hot;\n\t\t\tproxy_cache_key $uri;\n\t\t\tproxy_cache_valid 200 1d;\n\t\t\tproxy_max_temp_file_size 1024m;\n\t\t}")
}

func (s *stage) startNginx(ctx context.Context, name, http, server string) (*contender, error) {
	program, err := lookFor("nginx")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addr, err := free()
	if err != nil {
		return nil, err
	}
	conns, files, err := descriptors()
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // else the worker is nobody, who may not read the directory
	}
	conf := strings.NewReplacer("%suser", user, "%dir", dir, "%conns", fmt.Sprint(conns), "%files", fmt.Sprint(files),
		"%addr", addr, "%http", http, "%server", server).Replace(nginxConf)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	return s.run(ctx, addr, clean(), program, "-p", dir, "-e", "stderr", "-c", file)
}

// descriptors shares out the files that a process may open: to connections, and to
// files that a server keeps open.
func descriptors() (conns, files int, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, 0, fmt.Errorf("open files: %w", err)
	}
	return share(limit.Max)
}

func share(most uint64) (conns, files int, err error) {
	n := int(min(most, 400_000))
	if n < 2048 {
		return 0, 0, fmt.Errorf("a process may open %d files, which is too few", n)
	}
	conns = min(n/4, 4096)
	return conns, n - conns - 512, nil
}

// startVarnish starts a Varnish that keeps what the origin has in memory.
func (s *stage) startVarnish(ctx context.Context) (*contender, error) {
	program, err := lookFor("varnishd")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, "varnish")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(s.origin)
	if err != nil {
		return nil, err
	}
	vcl := fmt.Sprintf("vcl 4.1;\nbackend default { .host = %q; .port = %q; }\n"+
		"sub vcl_backend_response { set beresp.ttl = 1d; set beresp.grace = 1h; }\n", host, port)
	file := filepath.Join(dir, "hot.vcl")
	if err := os.WriteFile(file, []byte(vcl), 0o644); err != nil {
		return nil, err
	}
	addr, err := free()
	if err != nil {
		return nil, err
	}
	// Two pools of threads are what it has by default; each has a thread for as
	// many connections as ask at once.
	return s.run(ctx, addr, clean("HOME="+dir), program, "-F", "-j", "none", "-n", filepath.Join(dir, "work"), "-a", addr, "-f", file,
		"-s", fmt.Sprintf("malloc,%d", ramBytes), "-p", "thread_pools=2", "-p", "thread_pool_min=300", "-p", "timeout_idle=3600", "-T", "none")
}
