package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// What a stream may leave unread: beyond it, it is dropped, for its reader has
	// stood still for seconds, and comes back by itself if it lives.
	streamBacklog = 8

	// How long the kernel may take nothing of what is written to a stream.
	streamPatience = 10 * time.Second

	// Proxies take a connection for dead that says nothing for a minute or so.
	streamKeepAlive = 15 * time.Second

	slowestStream = time.Minute
)

// A hub feeds all streams of events. Whatever they show is computed once a
// second by its run, however many there are, and not at all without any.
type hub struct {
	status  func() []byte // makes the frame of a status
	history *History
	limit   int
	joined  chan struct{} // tells run of new streams

	mu      sync.Mutex
	open    bool // run runs
	streams map[*stream]bool

	// Of run alone.
	last   []byte // the youngest status
	lastAt time.Time
}

// A stream is one reader of events.
type stream struct {
	frames chan []byte // closed when it is over

	// Of hub.run alone, once it is known to the hub.
	every int   // seconds between two statuses
	wait  int   // seconds until the next
	seen  int64 // the end of the last interval of the history that it got, as in Series.At
}

func newHub(status func() []byte, history *History, limit int) *hub {
	return &hub{status: status, history: history, limit: limit, joined: make(chan struct{}, 1), streams: map[*stream]bool{}}
}

// run feeds the streams until ctx ends, and ends them.
func (h *hub) run(ctx context.Context) {
	h.setOpen(true)
	defer h.setOpen(false)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.joined:
			h.feed(0)
		case <-tick.C:
			h.feed(1)
		}
	}
}

func (h *hub) setOpen(open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = open
	for s := range h.streams { // of which there are none when it opens
		h.end(s)
	}
}

// end lets a stream know that it is over; h.mu is held.
func (h *hub) end(s *stream) {
	if h.streams[s] {
		delete(h.streams, s)
		close(s.frames)
	}
}

// join adds a stream, unless there are enough.
func (h *hub) join(s *stream) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.open:
		return fmt.Errorf("there are no events: the node starts or stops")
	case len(h.streams) >= h.limit:
		return fmt.Errorf("%d streams are open, which is enough", h.limit)
	}
	h.streams[s] = true
	select {
	case h.joined <- struct{}{}:
	default: // it will look at all
	}
	return nil
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(s)
}

// feed gives what is due after so many seconds more to those who wait for it. It
// waits for nobody.
func (h *hub) feed(seconds int) {
	h.mu.Lock()
	var due []*stream
	for s := range h.streams {
		if s.wait -= seconds; s.wait <= 0 {
			s.wait = s.every
			due = append(due, s)
		}
	}
	h.mu.Unlock()
	if len(due) == 0 {
		return
	}
	// New streams get the status that others just got: a page that is loaded
	// again and again makes no more of them.
	if seconds > 0 || time.Since(h.lastAt) >= time.Second {
		h.last, h.lastAt = h.status(), time.Now()
	}
	status, fresh := h.last, map[int64]*news{}
	for _, s := range due {
		if fresh[s.seen] == nil {
			fresh[s.seen] = h.since(s.seen)
		}
		n := fresh[s.seen]
		s.seen = n.until
		h.give(s, status, n.frame)
	}
}

// A news is what is new in the history.
type news struct {
	frame []byte // nil if nothing is
	until int64
}

// since returns what is new after the end of an interval.
func (h *hub) since(seen int64) *news {
	series := h.history.Series(time.UnixMilli(seen))
	if len(series.At) == 0 {
		return &news{until: seen}
	}
	until := series.At[len(series.At)-1]
	text, err := marshal(series)
	if err != nil { // it has numbers only
		return &news{until: until}
	}
	return &news{frame("history", strconv.FormatInt(until, 10), text), until}
}

// give hands frames to a stream, which is dropped if it has not taken the ones before.
func (h *hub) give(s *stream, frames ...[]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range frames {
		if f == nil || !h.streams[s] {
			continue
		}
		select {
		case s.frames <- f:
		default:
			h.end(s)
		}
	}
}

// frame writes an event as https://html.spec.whatwg.org/multipage/server-sent-events.html
// has it. An id is what a browser that comes back says it saw last. The text is
// of one line.
func frame(event, id string, text []byte) []byte {
	var f []byte
	if id != "" {
		f = append(f, "id: "+id+"\n"...)
	}
	f = append(f, "event: "+event+"\ndata: "...)
	return append(append(f, text...), "\n\n"...)
}

// serve is /events: an event "status" with a Status every second, or every
// ?every=N seconds, and an event "history" with the Series since the last one
// whenever there is more; "fault" in the place of a status that could not be made.
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	every, err := seconds(r.URL.Query().Get("every"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
	if r.Method == http.MethodHead {
		return
	}
	// What it says is a number if it is ours; else all is sent again.
	seen, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	s := &stream{frames: make(chan []byte, streamBacklog), every: every, seen: seen}
	if err := h.join(s); err != nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer h.leave(s)
	s.write(r.Context(), w)
}

// write sends what the stream is given until it or ctx ends, or nobody reads.
func (s *stream) write(ctx context.Context, w http.ResponseWriter) {
	control := http.NewResponseController(w)
	send := func(text []byte) bool {
		// Where a deadline cannot be set, the server has its own.
		_ = control.SetWriteDeadline(time.Now().Add(streamPatience))
		_, err := w.Write(text)
		return err == nil && control.Flush() == nil
	}
	if !send([]byte("retry: 2000\n\n")) { // ms until a browser comes back
		return
	}
	silence := time.NewTicker(streamKeepAlive)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case text, ok := <-s.frames:
			if !ok || !send(text) {
				return
			}
			silence.Reset(streamKeepAlive)
		case <-silence.C:
			if !send([]byte(": still here\n\n")) {
				return
			}
		}
	}
}

// seconds reads ?every=: "5" or "5s".
func seconds(text string) (int, error) {
	if text == "" {
		return 1, nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(text, "s"))
	if most := int(slowestStream.Seconds()); err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("every=%q: must be 1 to %d seconds", text, most)
	}
	return n, nil
}
