package object_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/micelio/micelio/object"
)

func TestADigestIsSixtyFourLowerCaseDigits(t *testing.T) {
	digest, ok := object.ParseDigest(hexDigits)
	if !ok || digest.String() != hexDigits || digest.IsZero() {
		t.Errorf("ParseDigest(%s) = %v, %t", hexDigits, digest, ok)
	}
	for _, s := range []string{
		"", hexDigits[:63], hexDigits + "0", strings.ToUpper(hexDigits), hexDigits[:63] + "g", hexDigits[:63] + " ", "0x" + hexDigits[:62], hexDigits[:62] + "é",
	} {
		if digest, ok := object.ParseDigest(s); ok || !digest.IsZero() {
			t.Errorf("ParseDigest(%q) = %v, want it refused", s, digest)
		}
	}
}

// A name of 64 zeros would otherwise parse to the value that asks for no proof.
func TestTheZeroDigestIsNotKnown(t *testing.T) {
	var zero object.Digest
	if !zero.IsZero() || zero.String() != "" {
		t.Errorf("the zero digest prints as %q", zero)
	}
	if digest, ok := object.ParseDigest(strings.Repeat("0", 64)); ok {
		t.Errorf("64 zeros are the digest %v", digest)
	}
}

// deliveries are the ways in which a reader may hand over the same bytes.
var deliveries = map[string]func(io.Reader) io.Reader{
	"as asked":           func(r io.Reader) io.Reader { return r },
	"byte by byte":       iotest.OneByteReader,
	"by halves":          iotest.HalfReader,
	"end with the data":  iotest.DataErrReader,
	"one byte, then end": func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
	"empty reads":        func(r io.Reader) io.Reader { return &stutterReader{r: iotest.HalfReader(r)} },
}

// A stutterReader returns nothing, and no error, on every second read.
type stutterReader struct {
	r     io.Reader
	quiet bool
}

func (s *stutterReader) Read(p []byte) (int, error) {
	if s.quiet = !s.quiet; s.quiet {
		return 0, nil
	}
	return s.r.Read(p)
}

// readIn reads r to its error, with a buffer of so many bytes, and returns
// everything that was handed out.
func readIn(r io.Reader, buffer int) (got []byte, err error) {
	p := make([]byte, buffer)
	for err == nil {
		var n int
		n, err = r.Read(p)
		got = append(got, p[:n]...)
	}
	return got, err
}

// eachChunking runs test for bodies of several sizes, however they are
// delivered and asked for.
func eachChunking(t *testing.T, test func(t *testing.T, body []byte, deliver func([]byte) io.ReadCloser, buffer int)) {
	t.Helper()
	for _, size := range []int{0, 1, 2, 63, 1000} {
		body := bytes.Repeat([]byte("micelio"), size/7+1)[:size]
		for name, wrap := range deliveries {
			for _, buffer := range []int{1, 7, size, size + 1, 4096} {
				if buffer > 0 {
					deliver := func(b []byte) io.ReadCloser { return io.NopCloser(wrap(bytes.NewReader(b))) }
					t.Run(name, func(t *testing.T) { test(t, body, deliver, buffer) })
				}
			}
		}
	}
}

func TestAProvenBodyComesWhole(t *testing.T) {
	eachChunking(t, func(t *testing.T, body []byte, deliver func([]byte) io.ReadCloser, buffer int) {
		r := object.VerifyBody(deliver(body), int64(len(body)), sha256.Sum256(body))
		if got, err := readIn(r, buffer); err != io.EOF || !bytes.Equal(got, body) {
			t.Errorf("%d of %d bytes in reads of %d, then %v", len(got), len(body), buffer, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("a read after the end: %d bytes, %v", n, err)
		}
	})
}

func TestAWrongBodyIsNeverHandedOutWhole(t *testing.T) {
	eachChunking(t, func(t *testing.T, body []byte, deliver func([]byte) io.ReadCloser, buffer int) {
		r := object.VerifyBody(deliver(body), int64(len(body)), sha256.Sum256([]byte("other")))
		got, err := readIn(r, buffer)
		if !errors.Is(err, object.ErrDigest) {
			t.Errorf("%d bytes in reads of %d end with %v", len(body), buffer, err)
		}
		if len(body) > 0 && len(got) >= len(body) {
			t.Errorf("all %d bytes were handed out in reads of %d", len(got), buffer)
		}
		if !bytes.HasPrefix(body, got) {
			t.Errorf("what was handed out is not how the body begins")
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, object.ErrDigest) {
			t.Errorf("a read after the mismatch: %d bytes, %v", n, err)
		}
	})
}

func TestAShortBodyEndsUnexpectedly(t *testing.T) {
	eachChunking(t, func(t *testing.T, body []byte, deliver func([]byte) io.ReadCloser, buffer int) {
		r := object.VerifyBody(deliver(body), int64(len(body))+1, sha256.Sum256(body))
		got, err := readIn(r, buffer)
		if err != io.ErrUnexpectedEOF || !bytes.Equal(got, body) {
			t.Errorf("%d of %d bytes in reads of %d, then %v", len(got), len(body), buffer, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.ErrUnexpectedEOF {
			t.Errorf("a read after the end: %d bytes, %v", n, err)
		}
	})
}

func TestWhatFollowsTheBodyIsNotRead(t *testing.T) {
	body := []byte("body")
	after := iotest.ErrReader(errors.New("read past the body"))
	r := object.VerifyBody(io.NopCloser(io.MultiReader(bytes.NewReader(body), after)), int64(len(body)), sha256.Sum256(body))
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestAFailureOfTheBodyIsPassedOn(t *testing.T) {
	failure := errors.New("connection reset")
	body := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(failure))
	r := object.VerifyBody(io.NopCloser(body), 8, sha256.Sum256([]byte("halfhalf")))
	if got, err := io.ReadAll(r); !errors.Is(err, failure) || string(got) != "half" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, failure) {
		t.Errorf("a read after the failure: %v", err)
	}
}

func TestAVerifiedBodyIsAReader(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 1000)
	if err := iotest.TestReader(object.VerifyBody(io.NopCloser(bytes.NewReader(body)), int64(len(body)), sha256.Sum256(body)), body); err != nil {
		t.Error(err)
	}
}

func TestClosingAVerifiedBodyClosesTheBody(t *testing.T) {
	failure := errors.New("close failed")
	body := &closeRecorder{Reader: strings.NewReader("x"), err: failure}
	r := object.VerifyBody(body, 1, object.Digest{})
	if err := r.Close(); err != failure || body.closed != 1 {
		t.Errorf("Close: %v, the body was closed %d times", err, body.closed)
	}
}

// A closeRecorder counts how often it is closed.
type closeRecorder struct {
	io.Reader
	closed int
	err    error
}

func (c *closeRecorder) Close() error { c.closed++; return c.err }
