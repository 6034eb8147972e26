package object

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// A Digest is the SHA-256 of an object's bytes. The zero Digest is "not known".
type Digest [sha256.Size]byte

// IsZero reports whether the digest is not known.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the digest as 64 lower-case hexadecimal digits, "" if it is
// not known.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// ParseDigest reads 64 lower-case hexadecimal digits. All zeros are refused: the
// zero Digest is "not known", and a name that parsed to it would ask for no
// proof. No known bytes hash to it.
func ParseDigest(s string) (d Digest, ok bool) {
	if len(s) != 2*len(d) {
		return Digest{}, false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Digest{}, false
		}
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err == nil && !d.IsZero()
}

// VerifyBody returns a reader of body's size bytes that ends cleanly only if
// they hash to want. The bytes of the read that completes the body are handed
// out after the check, so nobody who follows the stream ever holds a whole
// object that was not proven; on a mismatch they are withheld and the error
// wraps ErrDigest. A body that ends early is io.ErrUnexpectedEOF.
func VerifyBody(body io.ReadCloser, size int64, want Digest) io.ReadCloser {
	return &verifier{body: body, left: size, want: want, hash: sha256.New()}
}

type verifier struct {
	body io.ReadCloser
	left int64
	want Digest
	hash hash.Hash
	err  error // sticky outcome
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if v.left == 0 {
		v.err = io.EOF
		if err := v.check(); err != nil { // reached first only by an empty object
			v.err = err
		}
		return 0, v.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if int64(len(p)) > v.left {
		p = p[:v.left]
	}
	n, err := v.body.Read(p)
	v.hash.Write(p[:n])
	v.left -= int64(n)
	switch {
	case v.left == 0:
		if v.err = v.check(); v.err != nil {
			return 0, v.err
		}
		v.err = io.EOF
		return n, nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	v.err = err
	return n, err
}

func (v *verifier) check() error {
	var got Digest
	v.hash.Sum(got[:0])
	if got != v.want {
		return fmt.Errorf("%w: the bytes hash to %s, not to %s", ErrDigest, got, v.want)
	}
	return nil
}

func (v *verifier) Close() error { return v.body.Close() }
