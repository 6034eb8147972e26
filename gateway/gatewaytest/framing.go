package gatewaytest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// A Framing is a way to send the bytes of an upload.
type Framing int

const (
	// Plain sends the bytes as they are.
	Plain Framing = iota

	// Signed sends aws-chunked chunks that each carry a signature, as SDKs do
	// without TLS. The signatures are of the right form and sign nothing.
	Signed

	// Trailer sends aws-chunked chunks without signatures and the CRC-32 of the
	// bytes behind them, as newer SDKs do by default.
	Trailer
)

// chunkSize is the bytes of a chunk at most, SDKs' own choice.
const chunkSize = 64 << 10

// frame announces a framing in the header of an upload and returns the body to
// send and its size, -1 if that is not known. Unless sum is set, the upload has
// a checksum already and gets no other.
func (f Framing) frame(h http.Header, u *upload, sum bool) (io.Reader, int64, error) {
	switch {
	case f != Plain && u.size >= 0:
	case u.size == 0: // net/http would not look at the source
		_, err := io.Copy(io.Discard, u)
		return http.NoBody, 0, err
	default:
		return u, u.size, nil
	}
	h.Set("X-Amz-Decoded-Content-Length", strconv.FormatInt(u.size, 10))
	if encoding := h.Get("Content-Encoding"); encoding != "" {
		h.Set("Content-Encoding", "aws-chunked, "+encoding)
	}
	h.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	if f == Trailer {
		h.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	}
	sum = sum && f == Trailer
	if sum {
		h.Set("X-Amz-Trailer", crcField)
	}
	return f.reader(u, sum), -1, nil
}

// Reader returns the bytes of body as they go over the wire, without a
// checksum.
func (f Framing) Reader(body io.Reader) io.Reader {
	if f == Plain {
		return body
	}
	return f.reader(body, false)
}

// crcField is the trailer field of the CRC-32.
const crcField = "x-amz-checksum-crc32"

func (f Framing) reader(body io.Reader, sum bool) io.Reader {
	r := &chunkReader{body: body}
	if f == Signed {
		r.extension = ";chunk-signature=" + strings.Repeat("ab", 32)
	}
	if sum {
		r.sum = crc32.NewIEEE()
	}
	return r
}

// A chunkReader puts the aws-chunked framing around a body. The end of the
// framing is there only if the body ended cleanly.
type chunkReader struct {
	body      io.Reader
	extension string      // behind the size of every chunk
	sum       hash.Hash32 // of the bytes so far, nil for none

	wire  bytes.Buffer // framed and not yet read
	chunk [chunkSize]byte
	err   error // what comes behind wire
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for r.wire.Len() == 0 && r.err == nil {
		r.next()
	}
	if r.wire.Len() == 0 {
		return 0, r.err
	}
	return r.wire.Read(p)
}

// next frames what the body has next.
func (r *chunkReader) next() {
	n, err := r.body.Read(r.chunk[:])
	if n > 0 {
		if r.sum != nil {
			r.sum.Write(r.chunk[:n])
		}
		fmt.Fprintf(&r.wire, "%x%s\r\n%s\r\n", n, r.extension, r.chunk[:n])
	}
	r.err = err
	if err != io.EOF {
		return
	}
	fmt.Fprintf(&r.wire, "0%s\r\n", r.extension)
	if r.sum != nil {
		fmt.Fprintf(&r.wire, "%s:%s\r\n", crcField, base64.StdEncoding.EncodeToString(r.sum.Sum(nil)))
	}
	r.wire.WriteString("\r\n")
}
