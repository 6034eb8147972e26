package gateway

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/micelio/micelio/object"
)

const (
	// maxDeleteKeys and maxDeleteBody bound a DeleteObjects request. The
	// number of keys is S3's limit.
	maxDeleteKeys = 1000
	maxDeleteBody = 1 << 20

	// deleteWorkers is how many keys of one request are deleted at a time:
	// enough that a thousand round trips to an authority take a second or two.
	deleteWorkers = 16
)

type deleteRequest struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool
	Object  []deleteTarget
}

type deleteTarget struct {
	Key              string
	VersionID        string `xml:"VersionId"`
	ETag             string
	LastModifiedTime string
	Size             string
}

type deleteResult struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
	Deleted []deleted
	Error   []deleteFailure
}

type deleted struct{ Key string }

type deleteFailure struct {
	Key     string
	Code    string
	Message string
}

// deleteObjects deletes many objects. Each key has an outcome of its own; the
// answer is 200 even if none could be deleted.
func (x *exchange) deleteObjects() error {
	req, err := x.readDeletes()
	if err != nil {
		return err
	}
	outcomes := make([]error, len(req.Object))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(deleteWorkers, len(req.Object)) {
		workers.Go(func() {
			for i := range next {
				outcomes[i] = x.deleteOne(req.Object[i])
			}
		})
	}
	for i := range req.Object {
		next <- i
	}
	close(next)
	workers.Wait()
	return x.sendXML(http.StatusOK, x.deleteOutcomes(req, outcomes))
}

// readDeletes reads the request's document, which is a body like any other:
// framed and summed as its client likes.
func (x *exchange) readDeletes() (*deleteRequest, error) {
	up, err := x.newUpload(maxDeleteBody)
	if err != nil {
		return nil, documentError(err)
	}
	doc, err := io.ReadAll(up)
	if err != nil {
		return nil, documentError(err)
	}
	if err := up.verifyDocument(doc); err != nil {
		return nil, err
	}
	req := &deleteRequest{}
	if err := xml.Unmarshal(doc, req); err != nil || len(req.Object) == 0 || len(req.Object) > maxDeleteKeys {
		return nil, &apiError{status: http.StatusBadRequest, code: "MalformedXML", cause: err,
			message: fmt.Sprintf("The XML you provided was not well-formed or does not name 1 to %d keys.", maxDeleteKeys)}
	}
	return req, nil
}

// documentError says that a document, not an object, is too large.
func documentError(err error) error {
	if errors.Is(err, object.ErrTooLarge) {
		return &apiError{status: http.StatusBadRequest, code: "MaxMessageLengthExceeded", message: "Your request was too big.", cause: err}
	}
	return err
}

// deleteOne deletes one key on the conditions that its element states.
func (x *exchange) deleteOne(t deleteTarget) error {
	key, err := checkKey(t.Key)
	switch {
	case err != nil:
		return err
	case t.VersionID != "" && t.VersionID != "null":
		return errNoSuchVersion
	case t.LastModifiedTime != "" || t.Size != "":
		return notImplemented("A deletion can be conditional on an ETag alone.")
	}
	var opt object.DeleteOptions
	if t.ETag != "" {
		if opt.IfMatch, err = object.ParseMatch(t.ETag); err != nil {
			return invalidArgument("The ETag is malformed.")
		}
	}
	return x.Store.Delete(x.ctx(), key, opt)
}

// deleteOutcomes makes the answer, in the order of the request.
func (x *exchange) deleteOutcomes(req *deleteRequest, outcomes []error) deleteResult {
	var result deleteResult
	for i, err := range outcomes {
		key := req.Object[i].Key
		if err == nil {
			if !req.Quiet {
				result.Deleted = append(result.Deleted, deleted{key})
			}
			continue
		}
		a := classify(err)
		x.logInternal(a, err)
		result.Error = append(result.Error, deleteFailure{key, a.code, a.message})
	}
	return result
}
