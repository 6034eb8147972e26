package s3test

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A call is one request on its way through a Fake.
type call struct {
	f           *Fake
	w           http.ResponseWriter
	r           *http.Request
	query       url.Values
	bucket, key string
	auth        authorization
}

// A refusal is an answer of S3 that is an error.
type refusal struct {
	status  int
	code    string
	message string
}

func (e *refusal) Error() string { return e.code + ": " + e.message }

func refuse(status int, code, message string) *refusal { return &refusal{status, code, message} }

// errUnknown answers what a Fake does not know.
func errUnknown(what string) error {
	return refuse(http.StatusNotImplemented, "NotImplemented", "A header or parameter you provided implies functionality that is not implemented: "+what)
}

// answer authenticates the request and carries it out.
func (c *call) answer() error {
	if err := c.quirk(); err != nil {
		return err
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	if c.bucket == "" {
		return errUnknown("ListBuckets")
	}
	if err := c.known(); err != nil {
		return err
	}
	if c.key == "" {
		return c.answerBucket()
	}
	if len(c.key) > 1024 {
		return refuse(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	return c.answerObject()
}

// quirk refuses what providers refuse.
func (c *call) quirk() error {
	h := c.r.Header
	if c.f.has(QuirkR2) && strings.HasPrefix(h.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return refuse(http.StatusNotImplemented, "NotImplemented", h.Get("X-Amz-Content-Sha256")+" not implemented")
	}
	if c.f.has(QuirkB2) {
		for _, name := range []string{"X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Checksum-Mode"} {
			if h.Get(name) != "" || c.query.Has(strings.ToLower(name)) {
				return refuse(http.StatusBadRequest, "InvalidArgument", "Unsupported header '"+strings.ToLower(name)+"' received for this API call.")
			}
		}
	}
	return nil
}

// known refuses what would change the meaning of a request and is not
// implemented: a client must not take it for done.
func (c *call) known() error {
	parameters := []string{
		"x-id", "list-type", "prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type", "fetch-owner", "delete",
		"uploads", "uploadId", "partNumber", "key-marker", "upload-id-marker", "max-uploads", "part-number-marker", "max-parts", "x-amz-checksum-mode",
	}
	for name := range c.query {
		if !slices.Contains(parameters, name) && !strings.HasPrefix(name, "X-Amz-") {
			return errUnknown(name)
		}
	}
	for _, name := range []string{"X-Amz-Copy-Source", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "X-Amz-Tagging", "X-Amz-Server-Side-Encryption-Customer-Key"} {
		if c.r.Header.Get(name) != "" {
			return errUnknown(name)
		}
	}
	return nil
}

func (c *call) answerBucket() error {
	if c.r.Method == http.MethodPut && len(c.query) == 0 || c.r.Method == http.MethodPut && c.query.Has("x-id") {
		return c.createBucket()
	}
	if c.holder() == nil {
		return refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	switch {
	case c.r.Method == http.MethodHead:
		c.w.Header().Set("X-Amz-Bucket-Region", c.f.Region)
		c.w.WriteHeader(http.StatusOK)
		return nil
	case c.r.Method == http.MethodGet && c.query.Get("list-type") == "2":
		return c.listObjects()
	case c.r.Method == http.MethodGet && c.query.Has("uploads"):
		return c.listUploads()
	case c.r.Method == http.MethodPost && c.query.Has("delete"):
		return c.deleteObjects()
	}
	return errUnknown(c.r.Method + " of a bucket")
}

func (c *call) answerObject() error {
	if c.holder() == nil {
		return refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	upload := c.query.Has("uploadId")
	switch c.r.Method {
	case http.MethodGet:
		if upload {
			return c.listParts()
		}
		return c.getObject()
	case http.MethodHead:
		return c.getObject()
	case http.MethodPut:
		if upload {
			return c.uploadPart()
		}
		return c.putObject()
	case http.MethodPost:
		if c.query.Has("uploads") {
			return c.createUpload()
		}
		if upload {
			return c.completeUpload()
		}
	case http.MethodDelete:
		if upload {
			return c.abortUpload()
		}
		return c.deleteObject()
	}
	return errUnknown(c.r.Method + " of an object")
}

// holder returns the bucket, nil if there is none.
func (c *call) holder() *fakeBucket {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	return c.f.buckets[c.bucket]
}

func (c *call) createBucket() error {
	if _, err := c.body(); err != nil {
		return err
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if c.f.buckets[c.bucket] != nil {
		return refuse(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
	}
	c.f.buckets[c.bucket] = newFakeBucket()
	c.w.Header().Set("Location", "/"+c.bucket)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// fail sends an error as S3 does. The body of the request is taken in before,
// or a client that still sends may see no answer.
func (c *call) fail(err error) {
	var e *refusal
	if !errors.As(err, &e) {
		panic(http.ErrAbortHandler) // the client broke off
	}
	_, _ = io.Copy(io.Discard, c.r.Body) // what is left is of no use
	sendRefusal(c.w, c.r, e, c.f.Region)
}

func sendRefusal(w http.ResponseWriter, r *http.Request, e *refusal, region string) {
	type document struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Region    string `xml:",omitempty"`
		Resource  string
		RequestID string `xml:"RequestId"`
		HostID    string `xml:"HostId"`
	}
	d := document{Code: e.code, Message: e.message, Resource: r.URL.Path, RequestID: w.Header().Get("X-Amz-Request-Id"), HostID: w.Header().Get("X-Amz-Id-2")}
	if e.code == "AuthorizationHeaderMalformed" {
		d.Region = region
	}
	if r.Method == http.MethodHead || e.status == http.StatusNotModified {
		w.WriteHeader(e.status) // these have no body
		return
	}
	sendXML(w, e.status, d)
}

func sendXML(w http.ResponseWriter, status int, document any) {
	raw, err := xml.Marshal(document)
	if err != nil {
		panic(err) // all documents are of this package
	}
	raw = append([]byte(xml.Header), raw...)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the client may be gone
}
