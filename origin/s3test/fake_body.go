package s3test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// body takes in the body of a request and checks it against everything that the
// request says of it: hash, MD5, checksums, length, signatures of chunks.
func (c *call) body() ([]byte, error) {
	raw, err := io.ReadAll(c.r.Body)
	if err != nil {
		return nil, err
	}
	header := c.r.Header.Clone()
	body, payload := raw, c.auth.payload
	if strings.HasPrefix(payload, "STREAMING-") {
		if body, err = c.dechunk(raw, header); err != nil {
			return nil, err
		}
	} else if sum := sha256.Sum256(raw); payload != "UNSIGNED-PAYLOAD" && payload != hex.EncodeToString(sum[:]) {
		return nil, refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if text := header.Get("Content-Md5"); text != "" {
		want, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(want) != md5.Size {
			return nil, refuse(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
		if sum := md5.Sum(body); !bytes.Equal(sum[:], want) {
			return nil, refuse(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
		}
	}
	return body, checkSums(body, header)
}

// checkSums checks the x-amz-checksum headers, of the header or the trailer.
func checkSums(body []byte, header http.Header) error {
	for name, h := range map[string]hash.Hash{
		"Crc32": crc32.NewIEEE(), "Crc32c": crc32.New(crc32.MakeTable(crc32.Castagnoli)), "Sha1": sha1.New(), "Sha256": sha256.New(),
		"Crc64nvme": crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)), // reversed polynomial of NVM Express
	} {
		want := header.Get("X-Amz-Checksum-" + name)
		if want == "" {
			continue
		}
		h.Write(body)
		if base64.StdEncoding.EncodeToString(h.Sum(nil)) != want {
			return refuse(http.StatusBadRequest, "BadDigest", "The "+strings.ToUpper(name)+" you specified did not match the calculated checksum.")
		}
	}
	return nil
}

func errIncomplete(message string) error {
	return refuse(http.StatusBadRequest, "IncompleteBody", message)
}

// dechunk takes the body out of the encoding aws-chunked, and adds its trailer
// to header. See "Signature calculations for the authorization header:
// transferring payload in multiple chunks" in the S3 API reference.
func (c *call) dechunk(raw []byte, header http.Header) ([]byte, error) {
	mode := c.auth.payload
	signed := strings.HasPrefix(mode, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	if !signed && mode != "STREAMING-UNSIGNED-PAYLOAD-TRAILER" {
		return nil, errUnknown(mode)
	}
	previous := c.auth.signature
	in := bufio.NewReader(bytes.NewReader(raw))
	var body []byte
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, errIncomplete("The request body terminated unexpectedly")
		}
		text, extension, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ";")
		size, err := strconv.ParseUint(text, 16, 32)
		if err != nil || size > uint64(len(raw)) {
			return nil, errIncomplete("The chunk size is invalid")
		}
		chunk := make([]byte, size)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, errIncomplete("A chunk is too short")
		}
		if signed {
			previous = c.chunkSignature(previous, chunk)
			if extension != "chunk-signature="+previous {
				return nil, refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The chunk signature does not match.")
			}
		}
		if size == 0 {
			break
		}
		body = append(body, chunk...)
		if end, err := in.ReadString('\n'); err != nil || end != "\r\n" {
			return nil, errIncomplete("A chunk does not end where it should")
		}
	}
	if n := header.Get("X-Amz-Decoded-Content-Length"); n != strconv.Itoa(len(body)) {
		return nil, errIncomplete("You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header")
	}
	return body, c.trailer(in, header, mode, previous)
}

// chunkSignature chains the signature of a chunk to the one before it.
func (c *call) chunkSignature(previous string, chunk []byte) string {
	a := &c.auth
	none, sum := sha256.Sum256(nil), sha256.Sum256(chunk)
	return sign(a.signing, strings.Join([]string{
		sigAlgorithm + "-PAYLOAD", a.at.Format(sigTime), strings.Join(a.scope, "/"), previous, hex.EncodeToString(none[:]), hex.EncodeToString(sum[:]),
	}, "\n"))
}

// trailer reads the headers after the last chunk. They must be those that were
// announced.
func (c *call) trailer(in *bufio.Reader, header http.Header, mode, previous string) error {
	if !strings.HasSuffix(mode, "-TRAILER") {
		return nil
	}
	got, err := textproto.NewReader(in).ReadMIMEHeader()
	if err != nil && err != io.EOF {
		return errIncomplete("The trailer is malformed")
	}
	signature := got.Get("X-Amz-Trailer-Signature")
	got.Del("X-Amz-Trailer-Signature")
	var text strings.Builder
	for name := range strings.SplitSeq(header.Get("X-Amz-Trailer"), ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
			continue
		}
		if got.Get(name) == "" {
			return refuse(http.StatusBadRequest, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
		}
		text.WriteString(name + ":" + got.Get(name) + "\n")
		header.Set(name, got.Get(name))
	}
	if strings.HasPrefix(mode, "STREAMING-AWS4-HMAC-SHA256") {
		sum := sha256.Sum256([]byte(text.String()))
		parts := []string{sigAlgorithm + "-TRAILER", c.auth.at.Format(sigTime), strings.Join(c.auth.scope, "/"), previous, hex.EncodeToString(sum[:])}
		if sign(c.auth.signing, strings.Join(parts, "\n")) != signature {
			return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The trailer signature does not match.")
		}
	}
	for name := range got {
		if !slices.ContainsFunc(strings.Split(header.Get("X-Amz-Trailer"), ","), func(n string) bool { return strings.EqualFold(strings.TrimSpace(n), name) }) {
			return refuse(http.StatusBadRequest, "MalformedTrailerError", "The trailer "+name+" was not announced.")
		}
	}
	return nil
}
