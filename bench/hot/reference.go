package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/golang/groupcache"
)

// The servers that this program is itself, in a process of its own.
const (
	serveNetHTTP    = "net/http"
	serveGroupcache = "groupcache"
)

func (s *stage) startNetHTTP(ctx context.Context) (*contender, error) {
	return s.startSelf(ctx, serveNetHTTP)
}

func (s *stage) startGroupcache(ctx context.Context) (*contender, error) {
	return s.startSelf(ctx, serveGroupcache)
}

func (s *stage) startSelf(ctx context.Context, kind string) (*contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := free()
	if err != nil {
		return nil, err
	}
	return s.run(ctx, addr, clean("GOMAXPROCS=1"), self, "-serve", kind, "-root", s.objects.root, "-at", addr)
}

// serve is a reference server over a directory of objects, until ctx is over.
func serve(ctx context.Context, kind, root, addr string) error {
	var handler http.Handler
	var err error
	switch kind {
	case serveNetHTTP:
		handler, err = inMemory(root)
	case serveGroupcache:
		handler = grouped(root)
	default:
		err = fmt.Errorf("no server of the kind %q", kind)
	}
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// started stands for when an object has changed.
var started = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// named returns the item that a path names, without its size.
func named(path string) (item, bool) {
	digest, ok := strings.CutPrefix(path, prefix+"artifacts/sha256:")
	return item{digest: digest}, ok && len(digest) == 64
}

// describe sets the fields that any of the servers sets. It does so past
// Header.Set, for names that are in their canonical form.
func describe(w http.ResponseWriter, o item) {
	h := w.Header()
	h["Etag"] = []string{o.etag()}
	h["Content-Type"] = []string{"application/octet-stream"}
}

// plain tells whether a request is for a whole object, without conditions, which
// needs the least.
func plain(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header["Range"] == nil && r.Header["If-None-Match"] == nil
}

// inMemory is the least that net/http can do: a map and Write. What is not plain
// net/http answers itself.
func inMemory(root string) (http.Handler, error) {
	objects := map[string][]byte{}
	files, err := filepath.Glob(filepath.Join(root, "artifacts", "sha256:*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		bytes, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		objects[prefix+"artifacts/"+filepath.Base(file)] = bytes
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := objects[r.URL.Path]
		o, valid := named(r.URL.Path)
		if !ok || !valid {
			http.NotFound(w, r)
			return
		}
		describe(w, o)
		if !plain(r) {
			http.ServeContent(w, r, "", started, bytes.NewReader(body))
			return
		}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		_, _ = w.Write(body) // the client may be gone
	}), nil
}

// grouped is groupcache as its users have it, alone in its group of peers.
func grouped(root string) http.Handler {
	group := groupcache.NewGroup("hot", ramBytes, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
		bytes, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(key)))
		if err != nil {
			return err
		}
		return dest.SetBytes(bytes)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o, ok := named(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		var view groupcache.ByteView
		if err := group.Get(r.Context(), o.key(), groupcache.ByteViewSink(&view)); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		describe(w, o)
		if !plain(r) {
			http.ServeContent(w, r, "", started, view.Reader())
			return
		}
		w.Header()["Content-Length"] = []string{strconv.Itoa(view.Len())}
		_, _ = view.WriteTo(w)
	})
}

// serveOrigin serves the files to caches, in this process, until stop is called.
func serveOrigin(root string) (addr string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	files := http.StripPrefix(strings.TrimSuffix(prefix, "/"), http.FileServer(http.Dir(root)))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o, ok := named(r.URL.Path); ok {
			describe(w, o)
		}
		files.ServeHTTP(w, r)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends with Close
	}()
	return listener.Addr().String(), func() { _ = server.Close(); <-done }, nil
}
