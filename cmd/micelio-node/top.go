package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/micelio/micelio/console"
)

// statusPath is the page on which a node shows all that the console does.
const statusPath = "/status"

// topFlags are what the command's own arguments say.
type topFlags struct {
	interval time.Duration
	once     bool
}

const (
	defaultInterval = time.Second

	// minInterval keeps a slip of the finger from being a load test.
	minInterval = 100 * time.Millisecond
)

func (f *topFlags) declare(fs *flag.FlagSet) {
	f.interval = defaultInterval
	declareValue(fs, "interval", durationValue{&f.interval}, "ask again after `DURATION`")
	fs.BoolVar(&f.once, "once", false, "print one picture, without colours; so without a terminal")
}

// runTop shows how the node of the same configuration is, on a terminal until
// somebody has seen enough, elsewhere once. It exits with 1 if there is nothing
// to show.
func (a *app) runTop(ctx context.Context, args []string) int {
	var own topFlags
	l := a.settle(args, own.declare)
	if l == nil {
		return exitOK
	}
	address, problems := l.adminAddress()
	if own.interval < minInterval {
		problems = append(problems, fmt.Sprintf("--interval: %v is too often: write %v or more", own.interval, minInterval))
	}
	if len(problems) > 0 {
		return a.reject(problems)
	}
	k := look{colours: a.decorates(a.stdout), unicode: a.env.isUTF8()}
	_, onTerminal := terminalSize(a.stdout)
	if own.once || !onTerminal || a.env["TERM"] == "dumb" {
		return a.printStatus(ctx, address, look{unicode: k.unicode})
	}
	if err := a.watch(ctx, address, own.interval, k); err != nil {
		fmt.Fprintf(a.stderr, "micelio-node: %v\n", err)
		return exitFailure
	}
	return exitOK
}

// isUTF8 reports whether the user's terminal shows UTF-8, as setlocale(3) finds
// out.
func (e environ) isUTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale, found := e.lookup(name); found {
			locale = strings.ToLower(strings.ReplaceAll(locale, "-", ""))
			return strings.Contains(locale, "utf8")
		}
	}
	return false
}

// plainWidth is that of a picture that goes into a pipe or a file, unless COLUMNS
// says otherwise: two columns of tables, and what people can read in an e-mail.
const plainWidth = 132

// printStatus prints the overview once.
func (a *app) printStatus(ctx context.Context, address string, k look) int {
	status, err := newQuestioner().status(ctx, address, k)
	if err != nil {
		return a.complain(address, err)
	}
	width := plainWidth
	if n, err := strconv.Atoi(a.env["COLUMNS"]); err == nil && n > 0 {
		width = n
	}
	p := &picture{address: address, status: status, asked: status.At, now: status.At, zone: time.Local}
	// An error here is that of a reader that left, to whom nothing can be said.
	_, _ = a.stdout.Write(render(p, size{columns: width}, k))
	return exitOK
}

// status asks a node how it is. What it returns is printable.
func (q *questioner) status(ctx context.Context, address string, k look) (*console.Status, error) {
	status := new(console.Status)
	if err := q.ask(ctx, address, statusPath, "", status); err != nil {
		return nil, err
	}
	if status.Node.ID == "" {
		return nil, errNoNode
	}
	k.clean(reflect.ValueOf(status).Elem())
	return status, nil
}

// An answer is the outcome of asking once.
type answer struct {
	status *console.Status
	err    error
	at     time.Time
}

// watch shows the node until a key or a signal ends it, and leaves the terminal
// as it was.
func (a *app) watch(ctx context.Context, address string, interval time.Duration, k look) (err error) {
	// Before the screen, and so until after it: a signal that nobody waits for would
	// leave the terminal as it is here.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGWINCH)
	defer signal.Stop(signals)
	s, err := openScreen(a.stdout)
	if err != nil {
		return err
	}
	defer s.close()

	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer s.interrupt() // the reader of keys
	defer cancel()
	answers, keys := make(chan answer), make(chan key)
	helpers.Go(func() {
		defer s.restoreOnPanic()
		poll(ctx, address, interval, k, answers)
	})
	helpers.Go(func() {
		defer s.restoreOnPanic()
		s.readKeys(ctx, keys)
	})
	w := &watcher{screen: s, look: k, signals: signals, picture: picture{address: address, zone: time.Local}}
	return w.run(ctx, answers, keys)
}

// poll asks again and again until ctx ends.
func poll(ctx context.Context, address string, interval time.Duration, k look, answers chan<- answer) {
	q := newQuestioner()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		status, err := q.status(ctx, address, k)
		select {
		case answers <- answer{status, err, time.Now()}:
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// A watcher is the loop of a terminal that shows a node.
type watcher struct {
	screen  *screen
	look    look
	signals chan os.Signal
	picture picture
	latest  answer // also while the picture is paused
}

var errQuit = errors.New("the user has seen enough")

// run draws whenever something happens, until the end is asked for.
func (w *watcher) run(ctx context.Context, answers <-chan answer, keys <-chan key) error {
	for {
		w.picture.now = time.Now()
		if err := w.screen.draw(&w.picture, w.look); err != nil {
			return nil // the terminal is gone, and nobody is there to be told
		}
		select {
		case <-ctx.Done():
			return nil
		case w.latest = <-answers:
			if !w.picture.paused {
				w.take()
			}
		case k, open := <-keys:
			if !open || w.press(k) != nil {
				return nil
			}
		case s := <-w.signals:
			switch s {
			case syscall.SIGWINCH: // draw asks for the size each time
			case syscall.SIGCONT:
				if w.screen.enter() != nil { // who stopped us may have had the terminal meanwhile
					return nil
				}
			case syscall.SIGTSTP:
				if w.suspend() != nil {
					return nil
				}
			default:
				return nil
			}
		}
	}
}

// take makes the latest answer the picture. Without one the picture before stays.
func (w *watcher) take() {
	if w.latest.err != nil {
		w.picture.fault = printable(w.latest.err.Error())
		return
	}
	if w.latest.status != nil {
		w.picture.status, w.picture.asked, w.picture.fault = w.latest.status, w.latest.at, ""
	}
}

// suspend stops the process as Ctrl-Z stops one that knows no signals, with the
// terminal as it was, and goes on when it is continued. The error is that of a
// signal that came meanwhile and ends it.
func (w *watcher) suspend() error {
	w.screen.leave()
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return err
	}
	for s := range w.signals { // this thread may run on a moment
		switch s {
		case syscall.SIGCONT:
			return w.screen.enter()
		case syscall.SIGWINCH, syscall.SIGTSTP:
		default:
			return errQuit
		}
	}
	return nil // nobody closes the channel
}

// press does what a key asks for. The error is the wish to leave.
func (w *watcher) press(k key) error {
	p := &w.picture
	_, rows := w.screen.size()
	switch k {
	case 'q', 'Q', keyInterrupt:
		return errQuit
	case 'p', 'P', ' ':
		if p.paused = !p.paused; !p.paused {
			w.take()
		}
	case '?', 'h':
		p.help, p.offset = !p.help, 0
	case keyEscape:
		p.help = false
	case keyTab, keyRight:
		p.turn(p.view + 1)
	case keyBackTab, keyLeft:
		p.turn(p.view + views - 1)
	case keyUp, 'k':
		p.offset = max(p.offset-1, 0)
	case keyDown, 'j':
		p.scroll(1)
	case keyPageUp:
		p.offset = max(p.offset-rows/2, 0)
	case keyPageDown:
		p.scroll(rows / 2)
	case 'g':
		p.offset = 0
	default:
		if n := view(k - '1'); n >= 0 && n < views {
			p.turn(n)
		}
	}
	return nil
}

// turn shows another view, from its beginning.
func (p *picture) turn(v view) { p.view, p.offset, p.help = v%views, 0, false }

// scroll moves down, but not further past the end than a list can be long.
func (p *picture) scroll(rows int) {
	if p.status == nil {
		return
	}
	longest := max(len(p.status.Settings), len(p.status.Ring.Members), len(p.status.Slow), len(p.status.Fills))
	p.offset = min(p.offset+rows, longest)
}
