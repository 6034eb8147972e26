package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFileBytes bounds what is read of a file with settings or a secret: a
// thousand times what either needs, and a mistaken path to something huge or
// endless cannot fill the memory.
const maxFileBytes = 1 << 20

// readFile returns the contents of a file of limited size.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFileBytes)
	}
	return data, err
}

// A line is one setting in a file.
type line struct {
	number int
	name   string
	text   string
}

// parseLines reads "name value" lines. Blank lines and those that begin with #
// say nothing; a # further on belongs to the value. Problems begin with the
// number of the line and never repeat a value.
func parseLines(data []byte) (lines []line, problems []string) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some editors mark UTF-8 so
	number := 0
	for raw := range strings.Lines(string(data)) {
		number++
		text := strings.TrimSpace(raw)
		if text == "" || text[0] == '#' {
			continue
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, isStray) {
			problems = append(problems, fmt.Sprintf("%d: not text: write one \"name value\" a line, in UTF-8", number))
			continue
		}
		end := strings.IndexFunc(text, unicode.IsSpace)
		if end < 0 {
			end = len(text)
		}
		name, value := text[:end], strings.TrimSpace(text[end:])
		if before, _, found := strings.Cut(name, "="); found || strings.HasPrefix(value, "= ") {
			problems = append(problems, fmt.Sprintf("%d: %q is followed by \"=\": put a space between name and value", number, before))
			continue
		}
		lines = append(lines, line{number, name, value})
	}
	return lines, problems
}

// isStray reports a control character that has no place in a value.
func isStray(r rune) bool { return unicode.IsControl(r) && r != '\t' }
