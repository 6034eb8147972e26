package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A stamp says in every block of a body whose it is: a part of a body is enough
// to know the write that it comes from, and a mix of two is found out.
const (
	blockSize = 4 << 10
	stampSize = 48
)

// fillers are what bodies consist of between the stamps: the same bytes at the
// same place, so that nobody has to keep bodies to know them.
type fillers []byte

func newFillers() fillers { return randomBytes(7, maxBody) }

// maxBody is more than a part of an upload, and than what is read from the origin
// at once.
const maxBody = 7 << 20

// body returns the bytes that a write with this tag has. A tag has no spaces.
func (f fillers) body(tag string, size int) []byte {
	b := bytes.Clone(f[:size])
	for at := 0; at < size; at += blockSize {
		copy(b[at:], stamp(tag, size, at))
	}
	return b
}

func stamp(tag string, size, at int) string {
	return fmt.Sprintf("%-*s\n", stampSize-1, fmt.Sprintf("%s %d %d", tag, size, at))
}

var (
	errNoStamp = errors.New("there is no stamp")
	errTorn    = errors.New("torn")
)

// tag returns whose body this is, of which part begins at offset, and the size of
// all of it: -1 if nobody said. errNoStamp says that the part is too short to
// know, errTorn that it is not all of one body.
func (f fillers) tag(part []byte, offset, size int) (string, error) {
	first := (offset + blockSize - 1) / blockSize * blockSize
	if first+stampSize > offset+len(part) {
		return "", errNoStamp
	}
	fields := strings.Fields(string(part[first-offset : first-offset+stampSize]))
	if len(fields) != 3 {
		return "", fmt.Errorf("%w: no stamp at %d: %.60q", errTorn, first, part[first-offset:])
	}
	said, err := strconv.Atoi(fields[1])
	if err != nil || size >= 0 && said != size || offset+len(part) > said || said > len(f) {
		return "", fmt.Errorf("%w: %d bytes at %d of %d are stamped %q", errTorn, len(part), offset, size, fields)
	}
	want := f.body(fields[0], said)[offset : offset+len(part)]
	if !bytes.Equal(part, want) {
		at := 0
		for part[at] == want[at] {
			at++
		}
		return "", fmt.Errorf("%w: a body stamped %q at %d differs at %d: %.60q", errTorn, fields, first, offset+at, part[at:])
	}
	return fields[0], nil
}

func TestAPartOfABodyTellsWhoseItIs(t *testing.T) {
	f := newFillers()
	one, other := f.body("one", 20_000), f.body("other", 20_000)
	for _, c := range []struct {
		name   string
		part   []byte
		offset int
		size   int
		want   string
		err    error
	}{
		{"a whole body", one, 0, 20_000, "one", nil},
		{"a whole body of unknown size", one, 0, -1, "one", nil},
		{"a short body", f.body("short", stampSize), 0, stampSize, "short", nil},
		{"the middle", one[5000:15_000], 5000, 20_000, "one", nil},
		{"a part without a stamp", one[100:4000], 100, 20_000, "", errNoStamp},
		{"a part with a piece of a stamp", one[100 : blockSize+stampSize-1], 100, 20_000, "", errNoStamp},
		{"two bodies", append(bytes.Clone(one[:9000]), other[9000:]...), 0, 20_000, "", errTorn},
		{"two bodies between stamps", append(bytes.Clone(one[:blockSize*2+stampSize]), make([]byte, 20_000-blockSize*2-stampSize)...), 0, 20_000, "", errTorn},
		{"a cut body", one[:10_000], 0, 10_000, "", errTorn},
		{"a part at the wrong place", one[blockSize:], 0, 20_000, "", errTorn},
		{"the size of another", one, 0, 30_000, "", errTorn},
	} {
		got, err := f.tag(c.part, c.offset, c.size)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.name, got, err, c.want, c.err)
		}
	}
}
