package object_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
)

func TestARangeSelectsTheBytesItNames(t *testing.T) {
	const whole, maxSize = 10, math.MaxInt64
	type part struct{ offset, length int64 }
	unsatisfiable := part{-1, -1}
	cases := []struct {
		r      object.Range
		header string
		size   int64
		want   part
	}{
		{object.Range{}, "", whole, part{0, 10}},
		{object.Range{}, "", 0, part{0, 0}},
		{object.Bytes(0, 1), "bytes=0-0", whole, part{0, 1}},
		{object.Bytes(0, 10), "bytes=0-9", whole, part{0, 10}},
		{object.Bytes(3, 4), "bytes=3-6", whole, part{3, 4}},
		{object.Bytes(9, 1), "bytes=9-9", whole, part{9, 1}},
		{object.Bytes(5, 100), "bytes=5-104", whole, part{5, 5}},
		{object.Bytes(10, 1), "bytes=10-10", whole, unsatisfiable},
		{object.Bytes(0, 1), "bytes=0-0", 0, unsatisfiable},
		{object.Bytes(0, maxSize), "bytes=0-", maxSize - 1, part{0, maxSize - 1}},
		{object.From(0), "bytes=0-", whole, part{0, 10}},
		{object.From(9), "bytes=9-", whole, part{9, 1}},
		{object.From(10), "bytes=10-", whole, unsatisfiable},
		{object.From(0), "bytes=0-", 0, unsatisfiable},
		{object.From(maxSize - 1), "bytes=9223372036854775806-", maxSize, part{maxSize - 1, 1}},
		{object.Suffix(1), "bytes=-1", whole, part{9, 1}},
		{object.Suffix(10), "bytes=-10", whole, part{0, 10}},
		{object.Suffix(11), "bytes=-11", whole, part{0, 10}},
		{object.Suffix(maxSize), "bytes=-9223372036854775807", whole, part{0, 10}},
		{object.Suffix(maxSize), "bytes=-9223372036854775807", maxSize, part{0, maxSize}},
		{object.Suffix(5), "bytes=-5", 0, unsatisfiable},
		{object.Suffix(0), "bytes=-0", whole, unsatisfiable},
		{object.Suffix(0), "bytes=-0", 0, unsatisfiable},
	}
	for _, c := range cases {
		got := part{}
		var err error
		if got.offset, got.length, err = c.r.Resolve(c.size); errors.Is(err, object.ErrRange) {
			got = unsatisfiable
		} else if err != nil {
			t.Errorf("%s of %d: %v", c.header, c.size, err)
		}
		if got != c.want {
			t.Errorf("%s of %d bytes selects %v, want %v", c.header, c.size, got, c.want)
		}
		if got := c.r.String(); got != c.header && c.r != object.Bytes(0, maxSize) {
			t.Errorf("%s prints as %s", c.header, got)
		}
		if c.r.IsSet() != (c.header != "") {
			t.Errorf("%q: is set is %t", c.header, c.r.IsSet())
		}
	}
}

// A caller that computes a length must not get the rest of the object when the
// length comes out as zero, nor an unreadable header when the sum overflows.
func TestBytesOfAnyLengthSurviveTheWire(t *testing.T) {
	for _, offset := range []int64{0, 1, 9, math.MaxInt64 - 1, math.MaxInt64} {
		for _, length := range []int64{math.MinInt64, -1, 0, 1, 10, math.MaxInt64} {
			r := object.Bytes(offset, length)
			sent, ok := object.ParseRange(r.String())
			if !ok || sent != r {
				t.Errorf("Bytes(%d, %d) is sent as %q, which is read as %v, %t", offset, length, r, sent, ok)
			}
			if _, n, err := r.Resolve(10); length <= 0 && !errors.Is(err, object.ErrRange) {
				t.Errorf("Bytes(%d, %d) selects %d bytes, %v", offset, length, n, err)
			}
		}
	}
}

func TestAHeaderThatIsNotOneRangeIsIgnored(t *testing.T) {
	for _, header := range []string{
		"", "bytes", "bytes=", "bytes=-", "bytes=5", "bytes=6-5", "bytes=a-b", "bytes=0-1,3-4", "bytes=0-1,", "bytes=--5", "bytes=-5-", "bytes=+1-2",
		"bytes=1-+2", "bytes=0x1-2", "bytes=1_0-20", "bytes=1 - 2", "lines=1-2", "Bytes=1-2", "bytes 1-2", "bytes=99999999999999999999-", "bytes=١-٢",
	} {
		if r, ok := object.ParseRange(header); ok || r.IsSet() {
			t.Errorf("ParseRange(%q) = %v, %t; want it ignored", header, r, ok)
		}
	}
}

var rangeSeeds = []string{
	"bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=3-6", "bytes=9-100", "bytes=10-", "bytes=5-4", "bytes=0-1,3-4", "bytes= 1-2 ",
	"bytes=00-009", "bytes=-9223372036854775807", "bytes=0-9223372036854775807", "bytes=9223372036854775808-", "bytes=", "", "bytes=1-+2", "bytes=\f-1", "bytes=\u00a01-",
}

// FuzzParseRange compares the parser with the grammar written as a regular
// expression over numbers of any length, and Resolve with asking of each byte
// whether the range names it.
func FuzzParseRange(f *testing.F) {
	for i, header := range rangeSeeds {
		f.Add(header, uint8(i))
	}
	f.Fuzz(func(t *testing.T, header string, size uint8) {
		r, ok := object.ParseRange(header)
		names, wantOK := naiveRange(header, int64(size))
		if ok != wantOK {
			t.Fatalf("ParseRange(%q) is %t, want %t", header, ok, wantOK)
		}
		if !ok {
			return
		}
		if again, ok := object.ParseRange(r.String()); !ok || again != r {
			t.Fatalf("ParseRange(%q) prints %q, which is read as %v, %t", header, r, again, ok)
		}
		offset, length, err := r.Resolve(int64(size))
		if (err != nil) != (length == 0) || (err != nil && !errors.Is(err, object.ErrRange)) {
			t.Fatalf("%q of %d bytes: %d from %d, %v", header, size, length, offset, err)
		}
		for i := range int64(size) {
			if got := i >= offset && i < offset+length; got != names(i) {
				t.Fatalf("%q of %d bytes selects %d from %d: byte %d is wrong", header, size, length, offset, i)
			}
		}
	})
}

var rangeGrammar = regexp.MustCompile(`^bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))$`)

// naiveRange reads header as one range of bytes and returns whether it names a
// given byte of an object of size bytes.
func naiveRange(header string, size int64) (names func(int64) bool, ok bool) {
	if spec, found := strings.CutPrefix(header, "bytes="); found {
		header = "bytes=" + strings.Trim(spec, " \t")
	}
	groups := rangeGrammar.FindStringSubmatch(header)
	if groups == nil {
		return nil, false
	}
	var number [4]*big.Int
	for i, digits := range groups {
		if i > 0 && digits != "" {
			number[i], _ = new(big.Int).SetString(digits, 10)
			if !number[i].IsInt64() {
				return nil, false
			}
		}
	}
	first, last, suffix := number[1], number[2], number[3]
	switch {
	case suffix != nil:
		return func(i int64) bool { return big.NewInt(size-i).Cmp(suffix) <= 0 }, true
	case last != nil && last.Cmp(first) < 0:
		return nil, false
	}
	return func(i int64) bool {
		at := big.NewInt(i)
		return at.Cmp(first) >= 0 && (last == nil || at.Cmp(last) <= 0)
	}, true
}

// FuzzRangeLikeNetHTTP holds whatever ParseRange accepts against what the
// standard library's file server answers to the same header. They differ on
// purpose in two cases, where S3 and RFC 9110 say 416: an empty object, and a
// suffix of no bytes.
func FuzzRangeLikeNetHTTP(f *testing.F) {
	for i, header := range rangeSeeds {
		f.Add(header, uint8(i+1))
	}
	f.Fuzz(func(t *testing.T, header string, size uint8) {
		r, ok := object.ParseRange(header)
		if !ok || size == 0 || r == object.Suffix(0) {
			return
		}
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i)
		}
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Range", header)
		recorder := httptest.NewRecorder()
		http.ServeContent(recorder, request, "", time.Time{}, bytes.NewReader(body))
		answer := recorder.Result()
		got, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}

		offset, length, err := r.Resolve(int64(size))
		if err != nil {
			if answer.StatusCode != http.StatusRequestedRangeNotSatisfiable {
				t.Fatalf("%q of %d bytes: %v, net/http answers %s", header, size, err, answer.Status)
			}
			return
		}
		want := fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, size)
		if answer.StatusCode != http.StatusPartialContent || answer.Header.Get("Content-Range") != want {
			t.Fatalf("%q: %s, net/http answers %s %s", header, want, answer.Status, answer.Header.Get("Content-Range"))
		}
		if !bytes.Equal(got, body[offset:offset+length]) {
			t.Fatalf("%q of %d bytes: net/http sends %d bytes, want %d", header, size, len(got), length)
		}
	})
}

func TestOnlyASuffixHasASuffixLength(t *testing.T) {
	for r, want := range map[object.Range]int64{
		{}: 0, object.From(0): 0, object.From(5): 0, object.Bytes(0, 10): 0, object.Bytes(3, 1): 0,
		object.Suffix(0): 0, object.Suffix(1): 1, object.Suffix(1 << 40): 1 << 40,
	} {
		if got := r.SuffixLength(); got != want {
			t.Errorf("%q: %d, want %d", r, got, want)
		}
	}
}
