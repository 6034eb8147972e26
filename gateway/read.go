package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/micelio/micelio/object"
)

func (x *exchange) getObject(t target) error {
	cond, err := x.readConditions(t)
	if err != nil {
		return err
	}
	obj, err := cond.get(x.ctx(), x.Store, t.key)
	if err != nil {
		return x.rangeFailed(err)
	}
	defer obj.Body.Close()
	x.setInfo(obj.Info)
	x.beginObject(obj.Info, obj.Offset, obj.Length, cond.rng.IsSet())
	if err := x.copyBody(obj); err != nil {
		x.abort(err)
	}
	return nil
}

func (x *exchange) headObject(t target) error {
	cond, err := x.readConditions(t)
	if err != nil {
		return err
	}
	info, offset, length, partial, err := cond.head(x.ctx(), x.Store, t.key)
	if err != nil {
		return x.rangeFailed(err)
	}
	x.setInfo(info)
	x.beginObject(info, offset, length, partial)
	return nil
}

// readConditions reads what narrows a GET or HEAD.
func (x *exchange) readConditions(t target) (conditions, error) {
	for name := range t.query {
		if strings.HasPrefix(name, "response-") {
			return conditions{}, invalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
		}
	}
	return parseConditions(x.r.Header)
}

// beginObject sends the header of a successful read.
func (x *exchange) beginObject(info object.Info, offset, length int64, ranged bool) {
	h := x.w.Header()
	setValidators(h, info)
	setAttrs(h, info.Attrs)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	status := http.StatusOK
	if ranged && length > 0 {
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, info.Size))
	}
	x.begin(status)
}

func setValidators(h http.Header, info object.Info) {
	if info.ETag != "" {
		h["ETag"] = []string{info.ETag.Quoted()}
	}
	if !info.Modified.IsZero() {
		h.Set("Last-Modified", info.Modified.UTC().Format(http.TimeFormat))
	}
}

// notModified answers 304, with what the client needs to refresh its copy.
func (x *exchange) notModified(err error) {
	var nm *object.NotModifiedError
	if errors.As(err, &nm) {
		x.setInfo(nm.Info)
		setValidators(x.w.Header(), nm.Info)
		if nm.Info.CacheControl != "" {
			x.w.Header().Set("Cache-Control", nm.Info.CacheControl)
		}
	}
	x.sendEmpty(http.StatusNotModified)
}

// rangeFailed tells a client whose range selects nothing how long the object is.
func (x *exchange) rangeFailed(err error) error {
	var re *rangeError
	if errors.As(err, &re) {
		x.w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", re.size))
	}
	return err
}
