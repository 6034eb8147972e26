package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/micelio/micelio/object"
)

// pageLimit is the number of entries of a page, at most. A listing travels in
// pages that the client reads at once, so that a caller may take any time over
// an entry without keeping a connection and the peer's Store waiting.
const pageLimit = 1000

// A page is lines of text, each a word and its value:
//
//	object <fields of the Info>
//	prefix <escaped common prefix>
//	end    <number of entries>
//	error  <code> <escaped message>
//
// The last line is "end" or "error". A page without one was cut.
const (
	lineObject = "object "
	linePrefix = "prefix "
	lineEnd    = "end "
	lineError  = "error "
)

// maxLine is the longest line, in bytes. An entry that would be longer travels
// without its attributes, which an entry may lack.
const maxLine = 32 << 10

// List implements object.Store. It asks for pages, each a request with budgets
// of its own; a page that is cut or out of order is object.ErrUnavailable.
func (c *Client) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		left := opt.Limit
		for {
			page := opt
			page.Limit = pageLimit
			if opt.Limit > 0 {
				page.Limit = min(left, pageLimit)
			}
			entries, err := c.page(ctx, page)
			if err != nil {
				yield(object.Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			left -= len(entries)
			if len(entries) < page.Limit || (opt.Limit > 0 && left == 0) {
				return
			}
			opt.After = entries[len(entries)-1].Name()
		}
	}
}

// page asks for one page of at most opt.Limit entries.
func (c *Client) page(ctx context.Context, opt object.ListOptions) ([]object.Entry, error) {
	l := c.begin(ctx, "list", object.Key(opt.Prefix))
	defer l.end()
	req, err := l.request(http.MethodGet, listTarget, encodeList(opt))
	if err != nil {
		return nil, err
	}
	resp, err := l.send(req, http.StatusOK)
	if err != nil {
		return nil, l.failed(err)
	}
	defer l.discard(resp)
	entries, err := decodePage(&patientReader{l, resp.Body}, opt)
	if err != nil {
		return nil, l.failed(err)
	}
	return entries, nil
}

// A patientReader reads an answer and bounds each pause in it.
type patientReader struct {
	call *call
	r    io.Reader
}

func (r *patientReader) Read(p []byte) (int, error) {
	r.call.allow(inactive)
	return r.r.Read(p)
}

func encodeEntry(e object.Entry) []byte {
	if e.CommonPrefix != "" {
		return append(appendEscaped([]byte(linePrefix), e.CommonPrefix), '\n')
	}
	line := encodeInfo(e.Info)
	if len(lineObject)+len(line)+1 > maxLine {
		e.Attrs = object.Attrs{}
		line = encodeInfo(e.Info)
	}
	return append(append([]byte(lineObject), line...), '\n')
}

func encodeEnd(entries int) []byte { return fmt.Appendf(nil, "%s%d\n", lineEnd, entries) }

func encodeListError(o outcome, message string) []byte {
	line := append([]byte(lineError+o.code), ' ')
	return append(appendEscaped(line, cutMessage(message)), '\n')
}

var errPage = fmt.Errorf("%w: malformed listing", errStranger)

// decodePage reads a page that answers opt to its end. Names must ascend and
// answer the selection: a client that follows pages ends for that reason.
func decodePage(r io.Reader, opt object.ListOptions) ([]object.Entry, error) {
	lines := bufio.NewReaderSize(r, maxLine)
	var entries []object.Entry
	last := opt.After
	for {
		line, err := readLine(lines)
		if err != nil {
			return nil, err
		}
		switch {
		case strings.HasPrefix(line, lineEnd):
			if line != lineEnd+strconv.Itoa(len(entries)) {
				return nil, fmt.Errorf("%w: %d entries end with %.40q", errPage, len(entries), line)
			}
			if err := atEnd(lines); err != nil {
				return nil, err
			}
			return entries, nil
		case strings.HasPrefix(line, lineError):
			return nil, decodeListError(line[len(lineError):])
		}
		e, err := decodeEntry(line)
		if err != nil {
			return nil, err
		}
		name := e.Name()
		folded := len(entries) == 0 && e.CommonPrefix != "" && e.CommonPrefix == foldOf(opt)
		if (name <= last && !folded) || !strings.HasPrefix(name, opt.Prefix) || len(entries) == opt.Limit {
			return nil, fmt.Errorf("%w: entry %d, %.40q after %.40q", errPage, len(entries), name, last)
		}
		last = name
		entries = append(entries, e)
	}
}

// foldOf returns the common prefix that opt.After lies in, "" if there is none
// or opt.After is that prefix itself. It is the one name not above opt.After
// that a listing may begin with: keys behind opt.After fold into it.
func foldOf(opt object.ListOptions) string {
	rest, ok := strings.CutPrefix(opt.After, opt.Prefix)
	if !ok || opt.Delimiter == "" {
		return ""
	}
	if before, after, found := strings.Cut(rest, opt.Delimiter); found && after != "" {
		return opt.Prefix + before + opt.Delimiter
	}
	return ""
}

// readLine returns the next line, without its end.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case err == nil:
		return string(line[:len(line)-1]), nil
	case err == io.EOF:
		return "", fmt.Errorf("%w: no end", errPage)
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("%w: a line of more than %d bytes", errPage, maxLine)
	}
	return "", err
}

// atEnd checks that nothing follows, which also frees the connection.
func atEnd(r *bufio.Reader) error {
	switch _, err := r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: goes on after its end", errPage)
	default:
		return err
	}
}

func decodeEntry(line string) (object.Entry, error) {
	if fields, ok := strings.CutPrefix(line, lineObject); ok {
		info, err := decodeInfo(fields)
		if err != nil {
			return object.Entry{}, fmt.Errorf("%w: %s", errPage, err)
		}
		return object.Entry{Info: info}, nil
	}
	if escaped, ok := strings.CutPrefix(line, linePrefix); ok && escaped != "" {
		if prefix, err := unescape(escaped); err == nil {
			return object.Entry{CommonPrefix: prefix}, nil
		}
	}
	return object.Entry{}, fmt.Errorf("%w: line %.40q", errPage, line)
}

func decodeListError(line string) error {
	code, escaped, _ := strings.Cut(line, " ")
	o, ok := outcomeNamed(code)
	if !ok || o.err == object.ErrNotModified {
		return fmt.Errorf("%w: code %.64q", errPage, code)
	}
	message, err := unescape(escaped)
	if err != nil {
		return fmt.Errorf("%w: message %.40q", errPage, escaped)
	}
	return &refusal{o, message}
}
