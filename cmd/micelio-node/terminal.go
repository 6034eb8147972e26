package main

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A size is how many characters a terminal shows.
type size struct{ columns, rows int }

// terminalSize returns the size of the terminal that w is. It is false for
// everything else, /dev/null among it, which is a character device too.
func terminalSize(w any) (size, bool) {
	f, ok := w.(syscall.Conn)
	if !ok {
		return size{}, false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return size{}, false
	}
	var ws *unix.Winsize
	controlled := raw.Control(func(fd uintptr) { ws, err = unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ) })
	if controlled != nil || err != nil {
		return size{}, false
	}
	const columns, rows = 80, 24 // what one that says nothing is taken for, such as a serial line
	s := size{int(ws.Col), int(ws.Row)}
	if s.columns == 0 || s.rows == 0 {
		s = size{columns, rows}
	}
	return s, true
}

// decorates reports whether what is written to w may have colours and bold
// letters in it: on a terminal that knows them, unless the user wants none
// (no-color.org).
func (a *app) decorates(w any) bool {
	_, isTerminal := terminalSize(w)
	_, unwanted := a.env.lookup("NO_COLOR")
	return isTerminal && !unwanted && a.env["TERM"] != "dumb"
}

// A cbreak is a terminal that gives each key at once and shows none of them, but
// still makes signals of Ctrl-C and Ctrl-Z.
type cbreak struct {
	file    *os.File
	saved   unix.Termios
	ticking bool // a read ends after a moment; else a deadline ends it
}

// openCbreak opens the terminal that controls this process, which is the one in
// front of whoever started it wherever standard input comes from. The caller
// closes it.
func openCbreak() (*cbreak, error) {
	// Opened by name it is a file of its own that the poller watches, where that
	// can: then a deadline ends a read of it.
	f, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	c := &cbreak{file: f, ticking: f.SetReadDeadline(time.Time{}) != nil}
	if err := c.control(func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, getTermios)
		if err == nil {
			c.saved = *t
		}
		return err
	}); err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

// enter switches the terminal over.
func (c *cbreak) enter() error {
	t := c.saved
	t.Lflag &^= unix.ICANON | unix.ECHO
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if c.ticking {
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 0, 2 // tenths of a second
	}
	return c.set(&t)
}

// leave puts back what was there when it was opened.
func (c *cbreak) leave() error { return c.set(&c.saved) }

func (c *cbreak) set(t *unix.Termios) error {
	return c.control(func(fd int) error { return unix.IoctlSetTermios(fd, setTermios, t) })
}

func (c *cbreak) control(f func(fd int) error) error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
