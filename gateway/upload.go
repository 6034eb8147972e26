package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/micelio/micelio/object"
)

// streamings are the values of x-amz-content-sha256 that announce aws-chunked.
// Whether the chunks are signed makes no difference to who reads them.
var streamings = []string{
	"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
	"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
	"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
}

// An upload is the body of a request as an [object.Source]. Its reader ends
// cleanly only if all framing was well-formed, the length is the announced one
// and the checksum that the Store is not told about matched. The bytes of the
// Read that completes the body are withheld until then, so that a Store which
// stops at the announced size has not got it either.
type upload struct {
	digests
	size  int64 // decoded; -1 if it is not known
	limit int64 // of bytes, for an unknown size
	body  io.Reader

	opened atomic.Bool
	n      int64
	end    error // sticky outcome

	// fault is the first error, for the handler to see when the Store has
	// returned: a Store may wrap it or lose it.
	fault atomic.Pointer[error]
}

// newUpload prepares to read the body of a request of at most limit bytes. It
// refuses whatever the header gives away, before the client is asked for a
// single byte.
func (x *exchange) newUpload(limit int64) (*upload, error) {
	h := x.r.Header
	framed, err := isFramed(h)
	if err != nil {
		return nil, err
	}
	u := &upload{size: x.r.ContentLength, limit: limit, body: &x.in}
	if u.digests, err = parseDigests(h, framed); err != nil {
		return nil, err
	}
	switch {
	case framed:
		if err := u.unframe(h); err != nil {
			return nil, err
		}
	case h.Get("X-Amz-Trailer") != "":
		return nil, invalidRequest("x-amz-trailer needs an aws-chunked body.")
	case x.r.ProtoMajor == 1 && u.size == 0 && h.Get("Content-Length") == "":
		return nil, errLength // no length and no framing: HTTP/1 would call this an empty body
	}
	if u.size > limit {
		return nil, tooLarge(limit)
	}
	if u.size == 0 {
		// A Store need not read a source of no bytes: check the end for it.
		if _, err := u.Read(make([]byte, 1)); err != io.EOF {
			return nil, err
		}
	}
	return u, nil
}

var errLength = &apiError{status: http.StatusLengthRequired, code: "MissingContentLength",
	message: "You must provide the Content-Length HTTP header."}

func tooLarge(limit int64) error {
	return &apiError{status: http.StatusRequestEntityTooLarge, code: "EntityTooLarge", cause: object.ErrTooLarge,
		message: fmt.Sprintf("Your proposed upload exceeds the maximum allowed size of %d bytes.", limit)}
}

// isFramed reports whether the body is aws-chunked. Some clients say it by
// Content-Encoding, some by x-amz-content-sha256, some by both.
func isFramed(h http.Header) (bool, error) {
	sha, err := single(h, "X-Amz-Content-Sha256")
	if err != nil {
		return false, err
	}
	if strings.HasPrefix(sha, "STREAMING-") {
		if !slices.Contains(streamings, sha) {
			return false, notImplemented(fmt.Sprintf("The payload type %.64q is not implemented.", sha))
		}
		return true, nil
	}
	if !hasAWSChunked(strings.Join(h.Values("Content-Encoding"), ",")) {
		return false, nil
	}
	if sha != "" && sha != unsignedPayload {
		return false, invalidRequest("x-amz-content-sha256 of an aws-chunked body must name its framing, not a sum.")
	}
	return true, nil
}

// unframe puts the decoder of aws-chunked before the body.
func (u *upload) unframe(h http.Header) error {
	value, err := single(h, "X-Amz-Decoded-Content-Length")
	if err != nil {
		return err
	}
	if value == "" {
		return errLength
	}
	size, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return invalidArgument("x-amz-decoded-content-length is not a length.")
	}
	announced, err := u.announceTrailer(h)
	if err != nil {
		return err
	}
	u.size = int64(size)
	u.body = newAWSChunkedReader(u.body, u.size, func(name, value string) error {
		switch {
		case name == "x-amz-trailer-signature":
			return nil
		case announced == nil || name != checksumPrefix+announced.name || announced.want != nil:
			return errTrailer
		}
		return announced.expect(value)
	})
	return nil
}

// announceTrailer reads x-amz-trailer, which says what checksum will follow
// the body.
func (u *upload) announceTrailer(h http.Header) (*checksum, error) {
	value, err := single(h, "X-Amz-Trailer")
	if err != nil || value == "" {
		return nil, err
	}
	name, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(value)), checksumPrefix)
	a, known := findAlgorithm(name)
	if !found || !known {
		return nil, invalidRequest("The value specified in the x-amz-trailer header is not supported")
	}
	if u.sum != nil || !u.sha256.IsZero() {
		return nil, invalidRequest("Expecting a single x-amz-checksum- header.")
	}
	u.sum = newChecksum(a)
	return u.sum, nil
}

// Size implements [object.Source].
func (u *upload) Size() int64 { return u.size }

// Open implements [object.Source]. The body of a request can be read once.
func (u *upload) Open() (io.ReadCloser, error) {
	if u.opened.Swap(true) {
		return nil, object.ErrReplay
	}
	return io.NopCloser(u), nil
}

// Read implements [io.Reader] for the one reader that Open returns.
func (u *upload) Read(p []byte) (int, error) {
	if u.end != nil || len(p) == 0 {
		return 0, u.end
	}
	n, err := u.body.Read(p)
	u.n += int64(n)
	if u.sum != nil {
		u.sum.hash.Write(p[:n])
	}
	switch complete := u.n == u.size; {
	case u.size < 0 && u.n > u.limit:
		return 0, u.fail(tooLarge(u.limit))
	case u.n > u.size && u.size >= 0:
		return 0, u.fail(bodyError(errTooLong))
	case err != nil && err != io.EOF:
		return 0, u.fail(bodyFault(err))
	case err == io.EOF && u.size >= 0 && !complete:
		return 0, u.fail(bodyError(io.ErrUnexpectedEOF))
	case err == io.EOF || complete:
		if err := u.conclude(err); err != nil {
			return 0, u.fail(err)
		}
		u.end = io.EOF
		if n == 0 {
			return 0, io.EOF
		}
	}
	return n, nil
}

// conclude checks everything that can be checked only at the end of the body.
// The last Read of it returned err.
func (u *upload) conclude(err error) error {
	if err := expectEnd(u.body, err); err != nil {
		return bodyFault(err)
	}
	switch {
	case u.sum == nil:
		return nil
	case u.sum.want == nil:
		return errTrailer // announced, and not sent
	}
	return u.sum.check()
}

// bodyFault keeps errors that are answers already.
func bodyFault(err error) error {
	if errors.As(err, new(*apiError)) {
		return err
	}
	return bodyError(err)
}

func (u *upload) fail(err error) error {
	u.end = err
	u.fault.Store(&err)
	return err
}

// explain returns what to answer when a Put of the upload failed with err. A
// fault of the body is the cause of whatever the Store then said, unless that
// is that it does not know what it did.
func (u *upload) explain(key object.Key, err error) error {
	if fault := u.fault.Load(); fault != nil && !errors.Is(err, object.ErrUnknownOutcome) {
		return *fault
	}
	if errors.Is(err, object.ErrDigest) && u.contentSHA256 && !namesOtherDigest(key, u.sha256) {
		return errContentSHA256
	}
	return err
}

// namesOtherDigest reports whether key contains 64 hexadecimal digits that are
// not d: then it may be the key, not the header, that the bytes do not hash to.
func namesOtherDigest(key object.Key, d object.Digest) bool {
	run := 0
	for i := range len(key) {
		c := key[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			run = 0
			continue
		}
		if run++; run >= 2*len(d) && string(key[i+1-2*len(d):i+1]) != d.String() {
			return true
		}
	}
	return false
}
