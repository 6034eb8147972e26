package gateway

import (
	"net/http"
	"strings"

	"github.com/micelio/micelio/object"
)

// putObject stores one object. Everything that the header alone decides is
// decided before the body is touched: a client that waits for "100 Continue"
// then never sends it.
func (x *exchange) putObject(key object.Key) error {
	h := x.r.Header
	if err := refuseUnserved(h); err != nil {
		return err
	}
	opt, err := parsePut(h)
	if err != nil {
		return err
	}
	up, err := x.newUpload(x.MaxObject)
	if err != nil {
		return err
	}
	opt.SHA256, opt.MD5 = up.sha256, up.md5
	if x.r.ContentLength == 0 && h.Get("Expect") != "" {
		// net/http sends no 100 where there is nothing to continue with, as it may.
		// The AWS CLI waits for one all the same, and then takes the next answer on
		// its connection for this one's: a minute of silence.
		x.w.WriteHeader(http.StatusContinue)
	}
	info, err := x.Store.Put(x.ctx(), key, up, opt)
	if err != nil {
		return up.explain(key, err)
	}
	if info.ETag != "" {
		x.w.Header()["ETag"] = []string{info.ETag.Quoted()}
	}
	if info.Node != "" {
		x.w.Header().Set("Micelio-Node", info.Node)
	}
	return x.sendEmpty(http.StatusOK)
}

// parsePut reads the conditions and attributes of a PUT. Conditions are S3's:
// If-None-Match takes only "*". A weak tag in If-Match is passed on, and names
// no version.
func parsePut(h http.Header) (opt object.PutOptions, err error) {
	if opt.IfMatch, err = parseWriteMatch(h); err != nil {
		return opt, err
	}
	if opt.IfNoneMatch, err = parseMatch(h, "If-None-Match"); err != nil {
		return opt, err
	}
	if opt.IfNoneMatch.IsSet() && !opt.IfNoneMatch.IsAny() {
		return opt, notImplemented("A write can only say * in If-None-Match.")
	}
	if opt.IfMatch.IsSet() && opt.IfNoneMatch.IsSet() {
		return opt, notImplemented("A write can have one condition, not both If-Match and If-None-Match.")
	}
	opt.Attrs, err = parseAttrs(h)
	return opt, err
}

// parseWriteMatch reads the If-Match header of a write, which names one version
// or any.
func parseWriteMatch(h http.Header) (object.Match, error) {
	m, err := parseMatch(h, "If-Match")
	if err == nil && strings.Contains(m.String(), ", ") { // no tag contains a space
		return object.Match{}, notImplemented("A write can name one version in If-Match, not several.")
	}
	return m, err
}

// unserved are header prefixes that ask for something which is not done here.
// Storing the object without it would look like success.
var unserved = []string{
	"x-amz-copy-source", "x-amz-server-side-encryption", "x-amz-tagging", "x-amz-object-lock-",
	"x-amz-website-redirect-location", "x-amz-write-offset-bytes", "x-amz-grant-",
}

// refuseUnserved answers the header fields that a PUT must not ignore.
func refuseUnserved(h http.Header) error {
	for name := range h {
		lower := strings.ToLower(name)
		for _, prefix := range unserved {
			if strings.HasPrefix(lower, prefix) {
				return notImplemented("A header you provided implies functionality that is not implemented: " + prefix + ".")
			}
		}
	}
	switch h.Get("X-Amz-Acl") {
	case "", "private", "bucket-owner-full-control", "bucket-owner-read":
	default:
		return &apiError{status: http.StatusBadRequest, code: "AccessControlListNotSupported",
			message: "The bucket does not allow ACLs."}
	}
	if class := h.Get("X-Amz-Storage-Class"); class != "" && class != storageClass {
		return &apiError{status: http.StatusBadRequest, code: "InvalidStorageClass",
			message: "The storage class you specified is not valid."}
	}
	if h.Get("If-Modified-Since") != "" || h.Get("If-Unmodified-Since") != "" {
		return notImplemented("A write can be conditional on an entity tag, not on a date.")
	}
	return nil
}

// deleteObject removes one object. That there was none is no error.
func (x *exchange) deleteObject(key object.Key) error {
	h := x.r.Header
	for _, name := range []string{"If-None-Match", "If-Unmodified-Since", "X-Amz-If-Match-Last-Modified-Time", "X-Amz-If-Match-Size"} {
		if len(h.Values(name)) > 0 {
			return notImplemented("A DELETE can be conditional by If-Match alone.")
		}
	}
	match, err := parseWriteMatch(h)
	if err != nil {
		return err
	}
	if err := x.Store.Delete(x.ctx(), key, object.DeleteOptions{IfMatch: match}); err != nil {
		return err
	}
	return x.sendEmpty(http.StatusNoContent)
}
