package s3test

import (
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A fakeBucket holds objects and unfinished uploads. The lock of the Fake
// guards it; what it points to is never changed.
type fakeBucket struct {
	objects map[string]*fakeObject
	uploads map[string]*fakeUpload // by id
}

func newFakeBucket() *fakeBucket {
	return &fakeBucket{objects: map[string]*fakeObject{}, uploads: map[string]*fakeUpload{}}
}

type fakeObject struct {
	body     []byte
	etag     string // quoted
	modified time.Time
	header   http.Header // what the writer said
}

// maxObject is the largest object that one request writes, and maxMeta the
// most metadata, in bytes.
const (
	maxObject = 5 << 30
	maxMeta   = 2 << 10
)

func newFakeObject(body []byte, header http.Header, now time.Time) *fakeObject {
	sum := md5.Sum(body)
	return &fakeObject{body: body, etag: `"` + hex.EncodeToString(sum[:]) + `"`, modified: now, header: described(header)}
}

// described returns what S3 keeps of the headers of a write.
func described(header http.Header) http.Header {
	kept := http.Header{}
	for name, values := range header {
		switch {
		case strings.HasPrefix(name, "X-Amz-Meta-"):
			kept[name] = []string{strings.Join(values, ",")}
		case slices.Contains([]string{"Content-Type", "Content-Language", "Content-Disposition", "Cache-Control", "Expires", "X-Amz-Server-Side-Encryption"}, name):
			kept[name] = slices.Clone(values)
		case name == "Content-Encoding":
			var of []string // the object: the other was of the transfer
			for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
				if part = strings.TrimSpace(part); part != "" && part != "aws-chunked" {
					of = append(of, part)
				}
			}
			if len(of) > 0 {
				kept[name] = []string{strings.Join(of, ",")}
			}
		}
	}
	if kept.Get("Content-Type") == "" {
		kept.Set("Content-Type", "binary/octet-stream")
	}
	return kept
}

// describe returns the headers of an answer with the whole object.
func (o *fakeObject) describe() http.Header {
	h := o.header.Clone()
	h.Set("Etag", o.etag)
	h.Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.Itoa(len(o.body)))
	return h
}

// current returns the object that the key names, nil if there is none.
func (c *call) current() *fakeObject {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	b := c.f.buckets[c.bucket]
	if c.r.Context().Value(otherObject{}) != nil {
		return b.other(c.key)
	}
	return b.objects[c.key]
}

// getObject answers GET and HEAD.
func (c *call) getObject() error {
	if c.query.Has("partNumber") {
		return errUnknown("partNumber")
	}
	o := c.current()
	if o == nil {
		return refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	}
	h := c.w.Header()
	if m := c.r.Header.Get("If-Match"); m != "" && !matches(m, o.etag) {
		return errPrecondition()
	}
	if m := c.r.Header.Get("If-None-Match"); m != "" && matches(m, o.etag) {
		h.Set("Etag", o.etag)
		h.Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
		return refuse(http.StatusNotModified, "NotModified", "Not Modified")
	}
	first, n, status, err := selectRange(c.r.Header.Get("Range"), int64(len(o.body)))
	if err != nil {
		return err
	}
	for name, values := range o.describe() {
		h[name] = values
	}
	h.Set("Content-Length", strconv.FormatInt(n, 10))
	if status == http.StatusPartialContent {
		h.Set("Content-Range", "bytes "+strconv.FormatInt(first, 10)+"-"+strconv.FormatInt(first+n-1, 10)+"/"+strconv.Itoa(len(o.body)))
	}
	c.w.WriteHeader(status)
	if c.r.Method == http.MethodGet {
		_, _ = c.w.Write(o.body[first : first+n]) // the client may be gone
	}
	return nil
}

// matches reports whether a condition names an ETag.
func matches(condition, etag string) bool {
	for tag := range strings.SplitSeq(condition, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || strings.Trim(tag, `"`) == strings.Trim(etag, `"`) {
			return true
		}
	}
	return false
}

func errPrecondition() error {
	return refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
}

// selectRange reads a Range header. S3 answers what it does not understand, and
// more than one range, with the whole object.
func selectRange(header string, size int64) (first, n int64, status int, err error) {
	text, ok := strings.CutPrefix(header, "bytes=")
	from, to, cut := strings.Cut(text, "-")
	if !ok || !cut || strings.Contains(text, ",") {
		return 0, size, http.StatusOK, nil
	}
	unsatisfiable := refuse(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable")
	start, startErr := strconv.ParseUint(from, 10, 63)
	end, endErr := strconv.ParseUint(to, 10, 63)
	switch {
	case from == "" && endErr == nil: // the last bytes
		if end == 0 || size == 0 {
			return 0, 0, 0, unsatisfiable
		}
		n = min(int64(end), size)
		return size - n, n, http.StatusPartialContent, nil
	case startErr != nil, to != "" && (endErr != nil || end < start):
		return 0, size, http.StatusOK, nil
	case int64(start) >= size:
		return 0, 0, 0, unsatisfiable
	case to == "":
		return int64(start), size - int64(start), http.StatusPartialContent, nil
	}
	return int64(start), min(int64(end)+1, size) - int64(start), http.StatusPartialContent, nil
}

// putObject stores an object if the conditions hold when all of it is there.
func (c *call) putObject() error {
	if c.r.ContentLength < 0 {
		return refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if c.r.ContentLength > maxObject {
		return refuse(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	if err := checkMeta(c.r.Header); err != nil {
		return err
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	o := newFakeObject(body, c.r.Header, c.f.now())
	if err := c.store(func(*fakeBucket) (*fakeObject, error) { return o, nil }); err != nil {
		return err
	}
	c.w.Header().Set("Etag", o.etag)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func checkMeta(header http.Header) error {
	size := 0
	for name, values := range header {
		if short, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
			size += len(short) + len(strings.Join(values, ","))
		}
	}
	if size > maxMeta {
		return refuse(http.StatusBadRequest, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
	}
	return nil
}

// store writes an object under the conditions of the request. Nothing changes
// between what build sees and the write.
func (c *call) store(build func(*fakeBucket) (*fakeObject, error)) error {
	ifMatch, ifNoneMatch := c.r.Header.Get("If-Match"), c.r.Header.Get("If-None-Match")
	if ifNoneMatch != "" && ifNoneMatch != "*" {
		return errUnknown("If-None-Match with an ETag")
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	b := c.f.buckets[c.bucket]
	o, err := build(b)
	if err != nil {
		return err
	}
	if !c.f.weak && (ifMatch != "" || ifNoneMatch != "") {
		if err := checkWrite(b.objects[c.key], ifMatch, ifNoneMatch); err != nil {
			return err
		}
		if c.f.racy {
			c.f.join(c.r.Context(), c.bucket+"/"+c.key, func() { b.objects[c.key] = o })
			return nil
		}
	}
	b.objects[c.key] = o
	return nil
}

// checkWrite tests conditions against what is there, nil if nothing.
func checkWrite(o *fakeObject, ifMatch, ifNoneMatch string) error {
	switch {
	case ifNoneMatch != "" && o != nil:
		return errPrecondition()
	case ifMatch != "" && o == nil:
		return refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	case ifMatch != "" && !matches(ifMatch, o.etag):
		return errPrecondition()
	}
	return nil
}

// deleteObject removes an object; that it is not there is no error.
func (c *call) deleteObject() error {
	ifMatch := c.r.Header.Get("If-Match")
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	objects := c.f.buckets[c.bucket].objects
	if ifMatch != "" && !c.f.weakDelete {
		if err := checkWrite(objects[c.key], ifMatch, ""); err != nil {
			return err
		}
	}
	delete(objects, c.key)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
