package main

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// A terminal shows what is written to it: as much of one as our pictures use.
// Whatever else it gets it notes as strange. It is safe for concurrent use.
type terminal struct {
	mu      sync.Mutex
	size    size
	cells   [][]rune
	row     int
	column  int
	pending []byte // the beginning of a sequence

	alternate, hidden, unwrapped bool
	left                         int // how often the other screen was left
	strange                      []string
}

func newTerminal(s size) *terminal {
	t := &terminal{}
	t.resize(s)
	return t
}

func (t *terminal) resize(s size) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size, t.row, t.column = s, 0, 0
	t.cells = make([][]rune, s.rows)
	for i := range t.cells {
		t.cells[i] = []rune(strings.Repeat(" ", s.columns))
	}
}

var sequence = regexp.MustCompile(`^\x1b\[([?0-9;]*)([A-Za-z])`)

func (t *terminal) write(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(t.pending) + string(p)
	t.pending = nil
	for text != "" {
		if text[0] == 0x1b {
			m := sequence.FindStringSubmatch(text)
			if m == nil {
				t.pending = []byte(text)
				return
			}
			t.control(m[1], m[2])
			text = text[len(m[0]):]
			continue
		}
		if i := strings.IndexByte(text, 0x1b); i >= 0 {
			t.print(text[:i])
			text = text[i:]
			continue
		}
		t.print(text)
		return
	}
}

func (t *terminal) control(arguments, final string) {
	switch arguments + final {
	case "?1049h":
		t.alternate = true
	case "?1049l":
		t.alternate, t.left = false, t.left+1
	case "?25l", "?25h":
		t.hidden = final == "l"
	case "?7l", "?7h":
		t.unwrapped = final == "l"
	case "?2026h", "?2026l":
	case "2J":
		for _, row := range t.cells {
			clear(row)
		}
	case "H":
		t.row, t.column = 0, 0
	case "K":
		if t.row < len(t.cells) {
			for i := t.column; i < t.size.columns; i++ {
				t.cells[t.row][i] = ' '
			}
		}
	default:
		if final != "m" {
			t.strange = append(t.strange, strconv.Quote(arguments+final))
		}
	}
}

func (t *terminal) print(text string) {
	for _, r := range text {
		switch {
		case r == '\r':
			t.column = 0
		case r == '\n':
			t.row++
		case r == '\t' && !t.alternate: // of a stack trace
		case r < ' ':
			t.strange = append(t.strange, strconv.QuoteRune(r))
		case t.row < t.size.rows && t.column < t.size.columns:
			t.cells[t.row][t.column] = r
			t.column += cells(string(r))
		}
	}
}

// rows returns what is shown, without the space at the ends of lines.
func (t *terminal) rows() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := make([]string, len(t.cells))
	for i, row := range t.cells {
		rows[i] = strings.TrimRight(strings.ReplaceAll(string(row), "\x00", " "), " ")
	}
	return rows
}
