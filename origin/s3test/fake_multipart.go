package s3test

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxPartNumber = 10_000
	maxDeletes    = 1000 // of one request
)

// A fakeUpload is an upload in parts that is not finished.
type fakeUpload struct {
	key    string
	header http.Header // of the object to be
	begun  time.Time
	parts  map[int]*fakeObject
}

// upload returns the upload that the request names. c.f.mu is held.
func (c *call) upload() (*fakeUpload, error) {
	u := c.f.buckets[c.bucket].uploads[c.query.Get("uploadId")]
	if u == nil || u.key != c.key {
		return nil, refuse(http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	}
	return u, nil
}

func (c *call) createUpload() error {
	if err := checkMeta(c.r.Header); err != nil {
		return err
	}
	if _, err := c.body(); err != nil {
		return err
	}
	type document struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}
	id := rand.Text()
	c.f.mu.Lock()
	c.f.buckets[c.bucket].uploads[id] = &fakeUpload{key: c.key, header: described(c.r.Header), begun: c.f.now(), parts: map[int]*fakeObject{}}
	c.f.mu.Unlock()
	sendXML(c.w, http.StatusOK, document{Bucket: c.bucket, Key: c.key, UploadID: id})
	return nil
}

func (c *call) uploadPart() error {
	number, err := strconv.Atoi(c.query.Get("partNumber"))
	if err != nil || number < 1 || number > maxPartNumber {
		return refuse(http.StatusBadRequest, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
	}
	if c.r.ContentLength < 0 {
		return refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	part := newFakeObject(body, nil, c.f.now())
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	u, err := c.upload()
	if err != nil {
		return err
	}
	u.parts[number] = part
	c.w.Header().Set("Etag", part.etag)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// completion is the body of CompleteMultipartUpload.
type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		PartNumber int
		ETag       string
	} `xml:"Part"`
}

func (c *call) completeUpload() error {
	body, err := c.body()
	if err != nil {
		return err
	}
	var asked completion
	if err := xml.Unmarshal(body, &asked); err != nil || len(asked.Parts) == 0 {
		return refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	var o *fakeObject
	err = c.store(func(*fakeBucket) (*fakeObject, error) {
		u, err := c.upload()
		if err != nil {
			return nil, err
		}
		o, err = u.assemble(&asked, c.f.minPart, c.f.now())
		return o, err
	})
	if err != nil {
		return err
	}
	c.f.mu.Lock()
	delete(c.f.buckets[c.bucket].uploads, c.query.Get("uploadId")) // a refused one stays, for its client to abort
	c.f.mu.Unlock()
	type document struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
		Location string
		Bucket   string
		Key      string
		ETag     string
	}
	sendXML(c.w, http.StatusOK, document{Location: c.f.Endpoint + c.r.URL.EscapedPath(), Bucket: c.bucket, Key: c.key, ETag: o.etag})
	return nil
}

// assemble puts the parts together that the client names.
func (u *fakeUpload) assemble(asked *completion, minPart int64, now time.Time) (*fakeObject, error) {
	var whole bytes.Buffer
	sums := md5.New()
	last := 0
	for i, p := range asked.Parts {
		if p.PartNumber <= last {
			return nil, refuse(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
		last = p.PartNumber
		part := u.parts[p.PartNumber]
		if part == nil || !matches(p.ETag, part.etag) {
			return nil, refuse(http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
		}
		if i < len(asked.Parts)-1 && int64(len(part.body)) < minPart {
			return nil, refuse(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
		whole.Write(part.body)
		sum := md5.Sum(part.body)
		sums.Write(sum[:])
	}
	o := newFakeObject(whole.Bytes(), u.header, now)
	o.etag = fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(sums.Sum(nil)), len(asked.Parts))
	return o, nil
}

func (c *call) abortUpload() error {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if _, err := c.upload(); err != nil {
		return err
	}
	delete(c.f.buckets[c.bucket].uploads, c.query.Get("uploadId"))
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) listParts() error {
	type part struct {
		PartNumber   int
		LastModified string
		ETag         string
		Size         int
	}
	type document struct {
		XMLName     xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
		Bucket      string
		Key         string
		UploadID    string `xml:"UploadId"`
		IsTruncated bool
		Parts       []part `xml:"Part"`
	}
	if c.query.Has("part-number-marker") || c.query.Has("max-parts") {
		return errUnknown("pages of parts")
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	u, err := c.upload()
	if err != nil {
		return err
	}
	d := document{Bucket: c.bucket, Key: c.key, UploadID: c.query.Get("uploadId")}
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		p := u.parts[n]
		d.Parts = append(d.Parts, part{n, listedTime(p.modified), p.etag, len(p.body)})
	}
	sendXML(c.w, http.StatusOK, d)
	return nil
}

// listUploads answers ListMultipartUploads, all of them in one page.
func (c *call) listUploads() error {
	type upload struct {
		Key       string
		UploadID  string `xml:"UploadId"`
		Initiated string
	}
	type document struct {
		XMLName      xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
		Bucket       string
		Prefix       string
		EncodingType string `xml:",omitempty"`
		MaxUploads   int
		IsTruncated  bool
		Uploads      []upload `xml:"Upload"`
	}
	for _, name := range []string{"delimiter", "key-marker", "upload-id-marker", "max-uploads"} {
		if c.query.Get(name) != "" {
			return errUnknown(name)
		}
	}
	d := document{Bucket: c.bucket, Prefix: c.query.Get("prefix"), MaxUploads: maxKeys}
	encode := func(name string) string { return name }
	if c.query.Get("encoding-type") == "url" && !c.f.has(QuirkNoURLEncoding) {
		d.EncodingType, encode = "url", listedName
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	for id, u := range c.f.buckets[c.bucket].uploads {
		if strings.HasPrefix(u.key, d.Prefix) {
			d.Uploads = append(d.Uploads, upload{u.key, id, listedTime(u.begun)})
		}
	}
	slices.SortFunc(d.Uploads, func(a, b upload) int {
		return strings.Compare(a.Key+"\x00"+a.Initiated+a.UploadID, b.Key+"\x00"+b.Initiated+b.UploadID)
	})
	for i := range d.Uploads {
		d.Uploads[i].Key = encode(d.Uploads[i].Key)
	}
	d.Prefix = encode(d.Prefix)
	sendXML(c.w, http.StatusOK, d)
	return nil
}

// deleteObjects removes many objects. It insists on Content-MD5, as many services
// do and S3 itself did.
func (c *call) deleteObjects() error {
	type object struct {
		Key  string
		ETag string `xml:",omitempty"`
	}
	type document struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Objects []object `xml:"Object"`
	}
	type deleted struct {
		Key string
	}
	type failed struct {
		Key     string
		Code    string
		Message string
	}
	type result struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
		Deleted []deleted
		Errors  []failed `xml:"Error"`
	}
	if sum, err := base64.StdEncoding.DecodeString(c.r.Header.Get("Content-Md5")); err != nil || len(sum) == 0 {
		return refuse(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: Content-MD5")
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	var d document
	if err := xml.Unmarshal(body, &d); err != nil || len(d.Objects) == 0 || len(d.Objects) > maxDeletes {
		return refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	var r result
	c.f.mu.Lock()
	objects := c.f.buckets[c.bucket].objects
	for _, o := range d.Objects {
		if e := (*refusal)(nil); o.ETag != "" && !c.f.weakDelete && !c.f.weakBatch {
			if held := objects[o.Key]; held == nil {
				e = refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
			} else if !matches(o.ETag, held.etag) {
				e = refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
			}
			if e != nil {
				r.Errors = append(r.Errors, failed{o.Key, e.code, e.message})
				continue
			}
		}
		delete(objects, o.Key)
		if !d.Quiet {
			r.Deleted = append(r.Deleted, deleted{o.Key})
		}
	}
	c.f.mu.Unlock()
	sendXML(c.w, http.StatusOK, r)
	return nil
}
