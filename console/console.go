package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// A lookup asks every member of the cluster. A page asks one at a time; more
	// than these at once are a loop in somebody's script.
	maxLookups = 8
	lookupTime = 5 * time.Second
)

// Options are those of a Console. The zero value is a good one.
type Options struct {
	// Hosts are names besides this machine's by which browsers may ask for the
	// console: "node1.example.com", ".example.com" for all names below it, "*"
	// for any. See [Console.Guard].
	Hosts []string

	// HostsHint ends the answer to those who ask by another name, such as
	// "name it with --admin-hosts".
	HostsHint string

	// Streams is how many streams of events there are at most; 32 if 0.
	Streams int

	// Log is told of what keeps figures from being shown; nil for nobody.
	Log *slog.Logger
}

// A Console answers with the page, and with what it shows as JSON and as a
// stream. It knows the paths /, /assets/, /status, /history, /events and /lookup.
type Console struct {
	source  Source
	history *History
	hub     *hub
	guard   hostGuard
	lookups chan struct{}
	mux     *http.ServeMux
	log     *slog.Logger
}

// New returns the console of a source. It answers at once, but for streams and
// figures of the last minute and hour, which are there while Run runs.
func New(source Source, opt Options) *Console {
	if opt.Streams <= 0 {
		opt.Streams = 32
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	// Who does not know the own name is told so by Guard's answer.
	own, _ := os.Hostname()
	c := &Console{
		source: source, history: NewHistory(source), log: opt.Log,
		guard:   hostGuard{hosts: append([]string{own}, opt.Hosts...), hint: opt.HostsHint},
		lookups: make(chan struct{}, maxLookups),
		mux:     http.NewServeMux(),
	}
	c.hub = newHub(c.statusFrame, c.history, opt.Streams)
	page := newPage(pageFiles)
	c.mux.HandleFunc("GET /{$}", page.serveIndex)
	c.mux.HandleFunc("GET /assets/{version}/{name}", page.serveAsset)
	c.mux.HandleFunc("GET /status", c.serveStatus)
	c.mux.HandleFunc("GET /history", c.serveHistory)
	c.mux.HandleFunc("GET /events", c.hub.serve)
	c.mux.HandleFunc("GET /lookup", c.serveLookup)
	return c
}

// Run samples the source and feeds the streams until ctx ends; then every
// stream ends, and later ones get 503. It is to be called once, and ctx to end
// before the server that serves the console is shut down: a stream has no end of
// its own.
func (c *Console) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { c.history.Run(ctx) })
	all.Go(func() { c.hub.run(ctx) })
	all.Wait()
}

// ServeHTTP serves the console behind [Console.Guard].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.Guard(c.mux).ServeHTTP(w, r)
}

// status is what all that show the node show.
func (c *Console) status() Status {
	now := c.source.Counters()
	s := c.source.Status(now)
	c.history.Complete(&s, now)
	return s
}

// statusFrame returns a status as an event of a stream.
func (c *Console) statusFrame() []byte {
	text, err := marshal(c.status())
	if err != nil {
		c.log.Error("status cannot be shown", "error", err)
		text, _ = marshal(fault{err.Error()}) // a string can
		return frame("fault", "", text)
	}
	return frame("status", "", text)
}

func (c *Console) serveStatus(w http.ResponseWriter, _ *http.Request) {
	c.answer(w, http.StatusOK, c.status())
}

func (c *Console) serveHistory(w http.ResponseWriter, _ *http.Request) {
	c.answer(w, http.StatusOK, c.history.Series(time.Time{}))
}

// A fault is the answer to what cannot be answered.
type fault struct {
	Error string `json:"error"`
}

func (c *Console) serveLookup(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		c.answer(w, http.StatusBadRequest, fault{"the query cannot be read: " + err.Error()})
		return
	}
	if query.Get("key") == "" {
		c.answer(w, http.StatusBadRequest, fault{"which key? ask /lookup?key=KEY, the key percent-encoded"})
		return
	}
	select {
	case c.lookups <- struct{}{}:
		defer func() { <-c.lookups }()
	default:
		w.Header().Set("Retry-After", "1")
		c.answer(w, http.StatusServiceUnavailable, fault{fmt.Sprintf("%d lookups are under way, which is enough", maxLookups)})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookupTime)
	defer cancel()
	where, err := c.source.Where(ctx, query.Get("key"))
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		c.answer(w, http.StatusGatewayTimeout, fault{"the members did not answer in time"})
	case err != nil:
		c.answer(w, http.StatusBadRequest, fault{err.Error()})
	default:
		c.answer(w, http.StatusOK, where)
	}
}

// answer writes v as JSON.
func (c *Console) answer(w http.ResponseWriter, status int, v any) {
	text, err := marshal(v)
	if err != nil {
		c.log.Error("an answer cannot be written as JSON", "error", err)
		status = http.StatusInternalServerError
		text, _ = marshal(fault{err.Error()}) // a string can
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The status is sent: an error here is the client's departure.
	_, _ = w.Write(append(text, '\n'))
}

// marshal writes v as JSON in one line, with keys as they are.
func marshal(v any) ([]byte, error) {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return []byte(strings.TrimSuffix(text.String(), "\n")), nil
}
