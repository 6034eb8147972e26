package peer

import (
	"bufio"
	"fmt"
	"net/http"
	"time"
)

// flushInterval is how long an entry may wait for others to go out with it. It
// is far below InactivityTimeout, so that a slow listing is not a stuck one.
const flushInterval = time.Second

// list answers with one page. The status goes out before the Store is asked,
// errors are lines of the page: a Store that looks long for its first entry is
// then not taken for a peer that does not answer.
func (x *exchange) list() {
	opt, err := decodeList(x.options)
	if err != nil {
		x.malformed(err)
		return
	}
	if x.r.Method != http.MethodGet {
		x.refuse(badRequest, fmt.Errorf("no such method %.16q", x.r.Method))
		return
	}
	x.respond(http.StatusOK)
	if err := x.conn.Flush(); err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	out := bufio.NewWriterSize(&writer{exchange: x}, maxLine)
	entries, flushed := 0, time.Now()
	for e, err := range x.store.List(x.ctx, opt) {
		if err != nil {
			x.seen.Err, x.seen.Aborted = err, x.ctx.Err() == nil
			x.endPage(out, encodeListError(outcomeOf(err), err.Error()))
			return
		}
		_, err = out.Write(encodeEntry(e))
		if now := time.Now(); err == nil && now.Sub(flushed) >= flushInterval {
			flushed = now
			if err = out.Flush(); err == nil {
				err = x.conn.Flush()
			}
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if entries++; entries == opt.Limit {
			break
		}
	}
	x.endPage(out, encodeEnd(entries))
}

// endPage writes the last line. Without it a page is no answer, so a failure
// needs no other sign than the broken connection.
func (x *exchange) endPage(out *bufio.Writer, line []byte) {
	_, err := out.Write(line)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}
