package gateway

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strings"

	"github.com/micelio/micelio/object"
)

// checksumPrefix starts the header and trailer fields of S3's checksums.
const checksumPrefix = "x-amz-checksum-"

// An algorithm is one of S3's checksum algorithms.
type algorithm struct {
	name string // behind checksumPrefix
	size int    // of the sum, in bytes
	new  func() hash.Hash
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	// nvme is the CRC-64 of the NVM Express specification: polynomial
	// AD93D23594C93659, written in reverse as hash/crc64 takes it.
	nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)

	algorithms = []algorithm{
		{"crc32", crc32.Size, func() hash.Hash { return crc32.NewIEEE() }},
		{"crc32c", crc32.Size, func() hash.Hash { return crc32.New(castagnoli) }},
		{"crc64nvme", crc64.Size, func() hash.Hash { return crc64.New(nvme) }},
		{"sha1", sha1.Size, sha1.New},
		{"sha256", sha256.Size, sha256.New},
	}
)

// A checksum is one sum that the bytes of an upload must have.
type checksum struct {
	algorithm
	hash hash.Hash
	want []byte // nil until the trailer has come
}

func newChecksum(a algorithm) *checksum { return &checksum{algorithm: a, hash: a.new()} }

// expect sets what the sum must be, in base64.
func (c *checksum) expect(value string) error {
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(sum) != c.size {
		return invalidRequest("Value for " + checksumPrefix + c.name + " header is invalid.")
	}
	c.want = sum
	return nil
}

// check compares the bytes seen with the sum expected.
func (c *checksum) check() error {
	if string(c.hash.Sum(nil)) != string(c.want) {
		return badDigest("The " + strings.ToUpper(c.name) + " you specified did not match the calculated checksum.")
	}
	return nil
}

// digests are the sums that a request states for its body before it comes.
type digests struct {
	// sha256 and md5 are left to the Store, which hashes the bytes anyway.
	sha256 object.Digest
	md5    []byte

	// sum is verified here, nil for none.
	sum *checksum

	contentSHA256 bool // sha256 was given as x-amz-content-sha256 alone
}

// parseDigests reads all headers that state a sum. Framed is whether the body
// is aws-chunked, in which case x-amz-content-sha256 names the framing.
func parseDigests(h http.Header, framed bool) (d digests, err error) {
	if d.md5, err = parseContentMD5(h); err != nil {
		return d, err
	}
	if !framed {
		if d.sha256, err = parseContentSHA256(h); err != nil {
			return d, err
		}
	}
	d.contentSHA256 = !d.sha256.IsZero() && d.md5 == nil
	if d.sum, err = parseChecksum(h); err != nil || d.sum == nil || d.sum.name != "sha256" {
		return d, err
	}
	// The Store can hold the bytes to a SHA-256 itself.
	sum := object.Digest(d.sum.want)
	if sum.IsZero() || (!d.sha256.IsZero() && d.sha256 != sum) {
		return d, badDigest("No bytes hash to the SHA-256 sums that the request states.")
	}
	d.sha256, d.sum, d.contentSHA256 = sum, nil, false
	return d, nil
}

func parseContentMD5(h http.Header) ([]byte, error) {
	value, err := single(h, "Content-Md5")
	if err != nil || (value == "" && len(h.Values("Content-Md5")) == 0) {
		return nil, err
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(sum) != md5.Size {
		return nil, &apiError{status: http.StatusBadRequest, code: "InvalidDigest",
			message: "The Content-MD5 you specified is not valid."}
	}
	return sum, nil
}

var errContentSHA256 = &apiError{status: http.StatusBadRequest, code: "XAmzContentSHA256Mismatch", cause: object.ErrDigest,
	message: "The provided 'x-amz-content-sha256' header does not match what was computed."}

// unsignedPayload is the x-amz-content-sha256 of a client that states no sum.
const unsignedPayload = "UNSIGNED-PAYLOAD"

func parseContentSHA256(h http.Header) (object.Digest, error) {
	value, err := single(h, "X-Amz-Content-Sha256")
	if err != nil || value == "" || value == unsignedPayload {
		return object.Digest{}, err
	}
	var d object.Digest
	if n, err := hex.Decode(d[:], []byte(value[:min(len(value), 2*len(d))])); err != nil || n != len(d) || len(value) != 2*len(d) {
		return object.Digest{}, invalidArgument("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value, or a valid sha256 value.")
	}
	if d.IsZero() {
		return d, errContentSHA256 // "not known" to everybody else, and no bytes hash to it
	}
	return d, nil
}

// parseChecksum reads the x-amz-checksum-* header, of which there may be one.
// An algorithm that is not known is refused: silently not checked would be
// worse for its sender.
func parseChecksum(h http.Header) (*checksum, error) {
	var sum *checksum
	for header := range h {
		name, found := strings.CutPrefix(strings.ToLower(header), checksumPrefix)
		if !found || name == "algorithm" || name == "type" || name == "mode" {
			continue
		}
		if sum != nil {
			return nil, invalidRequest("Expecting a single x-amz-checksum- header.")
		}
		a, ok := findAlgorithm(name)
		if !ok {
			return nil, notImplemented(fmt.Sprintf("The checksum algorithm %.32q is not implemented.", name))
		}
		value, err := single(h, header)
		if err != nil {
			return nil, err
		}
		sum = newChecksum(a)
		if err := sum.expect(value); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

func findAlgorithm(name string) (algorithm, bool) {
	for _, a := range algorithms {
		if a.name == name {
			return a, true
		}
	}
	return algorithm{}, false
}

// verifyDocument holds a body that is no object, and so goes to no Store, to
// the sums that a Store would check.
func (d digests) verifyDocument(doc []byte) error {
	switch {
	case !d.sha256.IsZero() && object.Digest(sha256.Sum256(doc)) != d.sha256:
		return badDigest("The SHA256 you specified did not match what we received.")
	case d.md5 != nil && [md5.Size]byte(d.md5) != md5.Sum(doc):
		return badDigest("The Content-MD5 you specified did not match what we received.")
	}
	return nil
}
