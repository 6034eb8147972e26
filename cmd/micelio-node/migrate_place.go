package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/micelio/micelio/migrate"
	"github.com/micelio/micelio/node"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// A place is one end of a migration.
type place struct {
	kind   string // node.BackendLocal, node.BackendS3, or "" if none was given
	text   string // as the user wrote it
	given  bool   // something was written, right or wrong
	dir    string // of a local place
	bucket string // "" for that of the settings, with their prefix
	prefix string // in the bucket; empty, or ends in a slash
}

var errPlace = errors.New("is no place: write local:DIR or s3:BUCKET[/PREFIX]")

// set reads local:DIR, s3:BUCKET, s3:BUCKET/PREFIX, or "s3:" for the bucket and
// the prefix of the settings. S3's own s3:// is understood too.
func (p *place) set(text string) error {
	*p = place{text: text, given: true}
	kind, rest, found := strings.Cut(text, ":")
	switch {
	case found && kind == node.BackendLocal && rest != "":
		p.kind, p.dir = kind, rest
	case found && kind == node.BackendS3:
		bucket, prefix, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
		if bucket == "" && rest != "" {
			return errPlace
		}
		if prefix != "" && !strings.HasSuffix(prefix, "/") {
			prefix += "/"
		}
		p.kind, p.bucket, p.prefix = kind, bucket, prefix
	default:
		return errPlace
	}
	return nil
}

func (p *place) isLocal() bool { return p.kind == node.BackendLocal }
func (p *place) isS3() bool    { return p.kind == node.BackendS3 }

// config returns the configuration of a node that has the bucket as its origin.
func (p *place) config(l *loaded) node.Config {
	cfg := l.options.Config
	if p.bucket != "" {
		cfg.S3.Bucket, cfg.S3.Prefix = p.bucket, p.prefix
	}
	return cfg
}

// A closableStore is a Store that somebody has to close.
type closableStore interface {
	object.Store
	Close() error
}

// open opens the place. A source is not written to: a folder is opened as a
// Micelio origin, which keeps metadata in it, only if it is one already. One
// that other programs filled is read as it is, from a read-only disk too.
func (p *place) open(ctx context.Context, l *loaded, logger *slog.Logger, asSource bool) (closableStore, error) {
	if p.isS3() {
		return origin.OpenS3(ctx, p.config(l).S3Origin(logger))
	}
	if !asSource {
		return origin.OpenLocal(p.dir)
	}
	switch _, err := os.Lstat(filepath.Join(p.dir, ".micelio")); {
	case errors.Is(err, os.ErrNotExist):
		return migrate.OpenFolder(p.dir)
	case err != nil:
		return nil, err
	}
	store, err := origin.OpenLocal(p.dir)
	if err != nil {
		return nil, fmt.Errorf("%w (its .micelio has the content types and metadata of its objects and is opened for writing; "+
			"give a copy that can be written to)", err)
	}
	return store, nil
}

// root returns where the keys of the place begin, so that two places of one kind
// can be compared.
func (p *place) root(l *loaded) string {
	if p.isS3() {
		s3 := p.config(l).Resolved().S3
		return s3.Bucket + "/" + s3.Prefix
	}
	return strings.TrimSuffix(realPath(p.dir), "/") + "/"
}

// realPath returns the absolute path without symbolic links. What does not exist
// yet has none, but what it is in may be behind some.
func realPath(name string) string {
	full, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	rest := ""
	for at := full; ; {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		up := filepath.Dir(at)
		if up == at {
			return full
		}
		at, rest = up, filepath.Join(filepath.Base(at), rest)
	}
}

// name returns what a journal is bound to: the place, and for a bucket also
// whose it is.
func (p *place) name(l *loaded) string {
	if p.isLocal() {
		return "local:" + p.root(l)
	}
	s3 := p.config(l).Resolved().S3
	name := "s3:" + p.root(l)
	if s3.Endpoint != "" {
		name += " at " + s3.Endpoint
	}
	return name
}

// overlap reports whether one of two roots, which end in a slash, is or contains
// the other.
func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }
