package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// What a terminal is told with: the other screen, where nothing scrolls, so that
// what was there comes back; no cursor; no wrapping, should a character be wider
// than we think. xterm's control sequences, which all others took over.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// A screen is a whole terminal. It is safe for concurrent use.
type screen struct {
	out  io.Writer
	keys *cbreak // nil if there is no terminal to type on

	mu      sync.Mutex // guards the following, and keeps what is written apart
	entered bool
}

// openScreen takes the terminal that out is. The caller closes it.
func openScreen(out io.Writer) (*screen, error) {
	s := &screen{out: out}
	if keys, err := openCbreak(); err == nil { // else Ctrl-C is the only key
		s.keys = keys
	}
	if err := s.enter(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *screen) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entered = true
	if s.keys != nil {
		if err := s.keys.enter(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(s.out, enterScreen)
	return err
}

// leave gives the terminal back as it was.
func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.entered {
		return
	}
	s.entered = false
	_, _ = io.WriteString(s.out, leaveScreen) // a terminal that is gone needs nothing
	if s.keys != nil {
		_ = s.keys.leave()
	}
}

// close leaves the screen for good.
func (s *screen) close() {
	s.leave()
	if s.keys != nil {
		s.keys.file.Close()
	}
}

// restoreOnPanic is deferred by goroutines whose panic would end the process
// before the screen is left.
func (s *screen) restoreOnPanic() {
	if fault := recover(); fault != nil {
		s.leave()
		panic(fault)
	}
}

// size returns how much fits.
func (s *screen) size() (columns, rows int) {
	now, _ := terminalSize(s.out)
	return now.columns, now.rows
}

// draw shows a picture, with one write.
func (s *screen) draw(p *picture, k look) error {
	now, _ := terminalSize(s.out)
	if now.rows == 0 {
		return os.ErrClosed
	}
	frame := render(p, now, k)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.out.Write(frame)
	return err
}

// A key is one that was pressed: its character, or one of those below, which are
// none.
type key rune

const (
	keyUp key = -1 - iota
	keyDown
	keyLeft
	keyRight
	keyPageUp
	keyPageDown
	keyBackTab

	keyInterrupt key = 0x03
	keyTab       key = '\t'
	keyEscape    key = 0x1b
)

// sequences are what terminals send for keys without a character.
var sequences = []struct {
	sent string
	key  key
}{
	{"\x1b[A", keyUp}, {"\x1b[B", keyDown}, {"\x1b[C", keyRight}, {"\x1b[D", keyLeft},
	{"\x1bOA", keyUp}, {"\x1bOB", keyDown}, {"\x1bOC", keyRight}, {"\x1bOD", keyLeft},
	{"\x1b[5~", keyPageUp}, {"\x1b[6~", keyPageDown}, {"\x1b[Z", keyBackTab},
}

// readKeys sends the keys that are pressed until ctx ends, and closes keys if the
// terminal is gone. interrupt ends the wait for one.
func (s *screen) readKeys(ctx context.Context, keys chan<- key) {
	if s.keys == nil {
		return
	}
	buf := make([]byte, 64)
	for {
		n, err := s.keys.file.Read(buf)
		for _, k := range parseKeys(buf[:n]) {
			select {
			case keys <- k:
			case <-ctx.Done():
				return
			}
		}
		if s.keys.ticking && n == 0 && errors.Is(err, io.EOF) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			if ctx.Err() == nil {
				close(keys)
			}
			return
		}
	}
}

func (s *screen) interrupt() {
	if s.keys != nil {
		_ = s.keys.file.SetReadDeadline(time.Unix(0, 1))
	}
}

// parseKeys returns the keys in what one read of a terminal gave. An escape
// sequence comes whole, as terminals write it; one that is not known is no key.
func parseKeys(sent []byte) (keys []key) {
next:
	for len(sent) > 0 {
		for _, s := range sequences {
			if rest, found := bytes.CutPrefix(sent, []byte(s.sent)); found {
				keys, sent = append(keys, s.key), rest
				continue next
			}
		}
		if len(sent) > 2 && sent[0] == 0x1b && sent[1] == '[' {
			end := bytes.IndexFunc(sent[2:], func(r rune) bool { return r >= 0x40 && r <= 0x7e })
			if end < 0 {
				return keys
			}
			sent = sent[2+end+1:]
			continue
		}
		keys, sent = append(keys, key(sent[0])), sent[1:]
	}
	return keys
}
