package trace

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// A Format is how the authors of a trace wrote it down.
type Format int

const (
	// LIRS is one block number a line (Jiang and Zhang, SIGMETRICS '02). Lines
	// that begin with a star separate the files that were read, and are no requests.
	LIRS Format = iota

	// ARC is "first count flags number" a line, a request for count blocks in
	// a row (Megiddo and Modha, FAST '03).
	ARC
)

// maxRun bounds the blocks of one line of ARC, so that a damaged file cannot
// ask for any amount of memory. The longest in the known traces is 512 blocks.
const maxRun = 1 << 16

// Parse reads requests in a format, at most limit of them. Its errors name the
// line.
func Parse(r io.Reader, format Format, limit int) ([]uint64, error) {
	var keys []uint64
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan() && len(keys) < limit; n++ {
		first, count, err := parseLine(lines.Bytes(), format)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for i := range min(count, uint64(limit-len(keys))) {
			keys = append(keys, first+i)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return keys, nil
}

// parseLine returns the first block that a line asks for and how many. Blank
// lines ask for none.
func parseLine(line []byte, format Format) (first, count uint64, err error) {
	fields := bytes.Fields(line)
	if len(fields) == 0 {
		return 0, 0, nil
	}
	want := 1
	if format == ARC {
		want = 4
	} else if fields[0][0] == '*' {
		return 0, 0, nil
	}
	if len(fields) != want {
		return 0, 0, fmt.Errorf("%d fields, want %d", len(fields), want)
	}
	if first, err = strconv.ParseUint(string(fields[0]), 10, 64); err != nil {
		return 0, 0, err
	}
	if format == LIRS {
		return first, 1, nil
	}
	if count, err = strconv.ParseUint(string(fields[1]), 10, 64); err != nil {
		return 0, 0, err
	}
	if count > maxRun {
		return 0, 0, fmt.Errorf("%d blocks in one request, at most %d", count, maxRun)
	}
	return first, count, nil
}
