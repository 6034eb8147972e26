package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

const (
	indexFile = "index.html"
	// assetsMark is what index.html has where the folder of the assets belongs.
	assetsMark = "ASSETS"
)

// A page is index.html and the assets it refers to. They have one version, the
// hash of them all, and it is a part of their path: modules that import one
// another by relative names so get those of the same version, and a browser
// need never ask for one again.
type page struct {
	index   []byte
	indexID string // its ETag
	version string
	assets  map[string][]byte
}

// newPage reads the folder "page" of a file system that is part of the program.
func newPage(files fs.FS) *page {
	p := &page{assets: map[string][]byte{}}
	all := sha256.New()
	entries, err := fs.ReadDir(files, "page")
	for _, entry := range entries {
		text, readErr := fs.ReadFile(files, path.Join("page", entry.Name()))
		if readErr != nil {
			err = readErr
			break
		}
		if entry.Name() == indexFile {
			p.index = text
			continue
		}
		p.assets[entry.Name()] = text
		one := sha256.Sum256(text)
		all.Write(append(one[:], entry.Name()...))
	}
	if err != nil {
		panic(err) // they are in the program's own memory
	}
	p.version = hex.EncodeToString(all.Sum(nil)[:8])
	p.index = []byte(strings.ReplaceAll(string(p.index), assetsMark, "assets/"+p.version))
	one := sha256.Sum256(p.index)
	p.indexID = `"` + hex.EncodeToString(one[:8]) + `"`
	return p
}

func (p *page) serveIndex(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache") // ask each time if it is still this one
	send(w, r, "text/html; charset=utf-8", p.indexID, p.index)
}

// serveAsset answers with an asset of this version: one of another is not there,
// rather than one that does not fit to the page that asks for it.
func (p *page) serveAsset(w http.ResponseWriter, r *http.Request) {
	text, found := p.assets[r.PathValue("name")]
	if !found || r.PathValue("version") != p.version {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	send(w, r, typeOf(r.PathValue("name")), `"`+p.version+`"`, text)
}

// typeOf returns the type of an asset. The common ones are said here, because
// the tables of a machine are wrong about them now and then.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func send(w http.ResponseWriter, r *http.Request, contentType, etag string, text []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
}
