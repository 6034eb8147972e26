package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"
	"unicode/utf16"
)

// askTimeout bounds a question to one node. A node answers what is asked here
// from memory: one that takes longer is not well.
const askTimeout = 3 * time.Second

// maxAnswerBytes bounds what is read of an answer. A ring of a thousand members
// is a third of a megabyte.
const maxAnswerBytes = 4 << 20

// adminAddress returns where the node of this configuration answers questions,
// and what is wrong with the configuration, as far as it matters to that: the
// node itself may have had flags that who asks does not repeat.
func (l *loaded) adminAddress() (address string, problems []string) {
	problems = l.problems
	address, err := dialable(l.options.AdminListen)
	if err != nil {
		problems = append(problems, fmt.Sprintf("%s: %v", l.from["admin-listen"].blame("admin-listen"), err))
	}
	return address, problems
}

// A questioner asks admin listeners. A transport of its own: no proxy from the
// environment stands between a node and who asks it, and no connection outlives
// the questions.
type questioner struct{ transport *http.Transport }

// get answers a GET request. A node refuses names that it is not told of with
// --admin-hosts, so that no page in a browser can make a name of its own lead to it.
// We are no browser and lend nobody our place in the network, so we may ask by a name
// that every node knows; but second, since a proxy on the way may need the true one.
func (q *questioner) get(req *http.Request) (*http.Response, error) {
	resp, err := q.transport.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
		return resp, err
	}
	resp.Body.Close()
	req = req.Clone(req.Context())
	req.Host = "localhost"
	return q.transport.RoundTrip(req)
}

func newQuestioner() *questioner {
	return &questioner{&http.Transport{DisableKeepAlives: true}}
}

// ask reads the JSON that a node answers for a path, which is not escaped, into
// answer.
func (q *questioner) ask(ctx context.Context, address, path, query string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	target := url.URL{Scheme: "http", Host: address, Path: path, RawQuery: query}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	resp, err := q.get(req)
	if err != nil {
		return noAnswer(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	switch {
	case err != nil:
		return fmt.Errorf("the answer broke off: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("it answers %s: %.200s", resp.Status, strings.TrimSpace(string(body)))
	case json.Unmarshal(body, answer) != nil:
		return fmt.Errorf("%w: %.60q", errNoNode, body)
	}
	return nil
}

var errNoNode = errors.New("what answers is no node")

// noAnswer says in few words why there is none.
func noAnswer(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", askTimeout)
	}
	return fmt.Errorf("no answer: %w", err)
}

// A report is what a command has found out by asking.
type report interface {
	print(w io.Writer) // for people
	good() bool        // whether all is as it should be
}

// show prints a report and returns the exit code. What nodes say, and the keys of
// strangers, must not work upon the terminal.
func (a *app) show(r report, asJSON bool) int {
	if asJSON {
		a.printJSON(r)
	} else {
		look{unicode: true}.clean(reflect.ValueOf(r))
		r.print(a.stdout)
	}
	if !r.good() {
		return exitFailure
	}
	return exitOK
}

// complain says on standard error what went wrong with a question to a node, which
// may quote what answered.
func (a *app) complain(address string, err error) int {
	fmt.Fprintf(a.stderr, "micelio-node: the node at %s: %s\n", address, printable(err.Error()))
	return exitFailure
}

// printJSON writes v as others' programs read it: a string means what it was, and
// what a terminal would not print is escaped.
func (a *app) printJSON(v any) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // a key is read as it is written
	if err := enc.Encode(v); err != nil {
		panic(err) // of numbers, strings and lists there is none
	}
	var b strings.Builder
	for _, r := range text.String() {
		if r == '\n' || isHarmless(r) { // the encoder has escaped those within strings
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	// An error here is that of a reader that left, to whom nothing can be said.
	_, _ = io.WriteString(a.stdout, b.String())
}
