package fastlane

import (
	"cmp"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

const (
	// outSize is the buffer in which heads, and bodies up to copySize with them, are
	// sent. To copy so much costs less than a second piece in a system call.
	outSize  = 32 << 10
	copySize = 16 << 10

	// flushSize is how much is gathered, while a client has sent more requests at
	// once, before it is sent.
	flushSize = outSize - copySize

	// maxPooled is the largest buffer that is kept: a head can have a few KiB.
	maxPooled = 2 * outSize

	// defaultContentType is S3's for an object without a type.
	defaultContentType = "binary/octet-stream"
)

// An exchange is what answering takes besides the connection.
type exchange struct {
	conn   *Conn
	now    time.Time
	req    request
	found  Answer
	out    []byte // to be sent
	pieces net.Buffers
	vector [2][]byte     // what pieces is made of
	seen   []Observation // to be told of when out has been sent
	text   []byte        // of the request that was answered last, as it came
	id     uint64        // of that request
}

func (x *exchange) putBack(pool *sync.Pool) {
	x.conn, x.text, x.out, x.seen = nil, nil, x.out[:0], x.seen[:0]
	if cap(x.out) <= maxPooled {
		pool.Put(x)
	}
}

// drop lets go of the object that was found last.
func (x *exchange) drop() {
	if x.found.Held != nil {
		x.found.Held.Release()
	}
	x.found = Answer{}
}

// answerAll answers the requests at the beginning of buf, and returns how many
// bytes are left.
func (x *exchange) answerAll(buf []byte) (left int, err error) {
	for len(buf) > 0 {
		n := x.req.parse(buf, x.conn.l.prefix)
		if n == 0 {
			break
		}
		ok, err := x.answer(buf[:n])
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		buf = buf[n:]
	}
	return len(buf), x.flush()
}

// answer answers the request that was parsed from text, or reports false.
func (x *exchange) answer(text []byte) (ok bool, err error) {
	defer x.drop()
	r, a := &x.req, &x.found
	if !x.conn.l.cfg.Lookup(object.Key(r.key), a) || !isPlain(&a.Info) {
		return false, nil
	}
	status, offset, length := http.StatusOK, int64(0), a.Info.Size
	switch {
	case r.tag != "" && r.tag == string(a.Info.ETag):
		status, length = http.StatusNotModified, 0
	case r.rng.IsSet():
		if offset, length, err = r.rng.Resolve(a.Info.Size); err != nil {
			return false, nil // the other lane explains it
		}
		if length > 0 {
			status = http.StatusPartialContent
		}
	}
	if r.head || status == http.StatusNotModified {
		x.appendHead(status, offset, length)
		x.saw(text, status, 0)
		return true, x.flushIfFull()
	}
	if offset+length > int64(len(a.Bytes)) {
		return false, nil // never: an object in memory is whole
	}
	x.appendHead(status, offset, length)
	x.saw(text, status, length)
	return true, x.send(a.Bytes[offset : offset+length])
}

// saw notes an answer of which so many bytes of a body are being sent.
func (x *exchange) saw(text []byte, status int, length int64) {
	cfg := &x.conn.l.cfg
	if cfg.Observe == nil {
		return
	}
	x.text = text
	o := Observation{Head: x.req.head, Status: status, Tier: x.found.Info.Tier, Bytes: length}
	if cfg.Detail != nil && cfg.Detail(x.now) {
		o.Detail = x.detail()
		o.Detail.Node = cmp.Or(x.found.Info.Node, cfg.Node)
	}
	x.seen = append(x.seen, o)
}

// detail says what is known of the request that was answered last, which has to be the
// one that was parsed last. It is good to call until the connection is read again.
func (x *exchange) detail() *Detail {
	return &Detail{
		Key: object.Key(strings.Clone(x.req.key)), Node: x.found.Info.Node, ID: string(appendID(nil, x.id)),
		Parent: onlyField(x.text, "traceparent"), ClientID: onlyField(x.text, "x-request-id"), Remote: x.remote(),
	}
}

func (x *exchange) remote() string {
	if addr := x.conn.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// send sends a body behind what is gathered. A small one is gathered too.
func (x *exchange) send(body []byte) error {
	if len(body) <= copySize {
		x.out = append(x.out, body...)
		return x.flushIfFull()
	}
	first := body[:min(len(body), pieceSize)]
	x.conn.awaitPiece(x.now)
	x.vector = [2][]byte{x.out, first}
	x.pieces = x.vector[:]
	_, err := x.pieces.WriteTo(x.conn.Conn)
	x.vector = [2][]byte{}
	for body = body[len(first):]; err == nil && len(body) > 0; {
		piece := body[:min(len(body), pieceSize)]
		body = body[len(piece):]
		x.conn.awaitPiece(time.Now())
		_, err = x.conn.Conn.Write(piece)
	}
	return x.sent(err)
}

func (x *exchange) flushIfFull() error {
	if len(x.out) < flushSize {
		return nil
	}
	return x.flush()
}

// flush sends what is gathered.
func (x *exchange) flush() error {
	if len(x.out) == 0 {
		return nil
	}
	x.conn.awaitPiece(x.now)
	_, err := x.conn.Conn.Write(x.out)
	return x.sent(err)
}

// sent tells of the answers that have been sent, or not.
func (x *exchange) sent(err error) error {
	x.out = x.out[:0]
	began := x.now
	x.now = time.Now() // a slow reader may have taken minutes
	if len(x.seen) > 0 {
		took := x.now.Sub(began)
		if err != nil {
			x.broke(err)
		}
		for i := range x.seen {
			o := &x.seen[i]
			o.Duration = took
			x.conn.l.cfg.Observe(*o)
			o.Detail = nil
		}
		x.seen = x.seen[:0]
	}
	return err
}

// broke notes that what was being sent could not all be sent. Of several answers only
// the last one's request is still known.
func (x *exchange) broke(err error) {
	for i := range x.seen {
		o := &x.seen[i]
		o.Bytes = 0
		switch {
		case o.Detail != nil:
		case i == len(x.seen)-1:
			x.req.parse(x.text, x.conn.l.prefix) // again: one behind it, which waits here, may have been since
			o.Detail = x.detail()
		default:
			o.Detail = &Detail{Remote: x.remote()}
		}
		o.Detail.Err = err
	}
}

// appendHead appends the head of an answer, whose fields and values are those of
// the dialect's handler.
func (x *exchange) appendHead(status int, offset, length int64) {
	info, b := &x.found.Info, x.out
	switch status {
	case http.StatusNotModified:
		b = append(b, "HTTP/1.1 304 Not Modified\r\nAge: "...)
	case http.StatusPartialContent:
		b = append(b, "HTTP/1.1 206 Partial Content\r\nAccept-Ranges: bytes\r\nAge: "...)
	default:
		b = append(b, "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nAge: "...)
	}
	b = strconv.AppendInt(b, max(0, int64(info.Age/time.Second)), 10)
	b = appendField(b, "\r\nCache-Control: ", info.CacheControl)
	if status != http.StatusNotModified {
		b = appendObject(b, status, info, offset, length)
	}
	if info.ETag != "" {
		b = append(append(append(b, "\r\nETag: \""...), info.ETag...), '"')
	}
	if !info.Modified.IsZero() {
		b = appendTime(append(b, "\r\nLast-Modified: "...), info.Modified)
	}
	b = appendField(b, "\r\nMicelio-Node: ", cmp.Or(info.Node, x.conn.l.cfg.Node))
	b = appendField(b, "\r\nX-Cache: ", string(cmp.Or(info.Tier, object.TierOrigin)))
	b = append(b, "\r\nX-Content-Type-Options: nosniff"...)
	if status != http.StatusNotModified {
		for name, value := range info.User {
			b = append(append(append(append(b, "\r\nx-amz-meta-"...), name...), ": "...), value...)
		}
	}
	x.id = rand.Uint64()
	b = appendID(append(b, "\r\nx-amz-request-id: "...), x.id)
	b = append(append(b, "\r\nDate: "...), x.conn.l.dateAt(x.now)...)
	x.out = append(b, "\r\n\r\n"...)
}

// appendObject appends the fields that describe the bytes.
func appendObject(b []byte, status int, info *object.Info, offset, length int64) []byte {
	b = appendField(b, "\r\nContent-Disposition: ", info.ContentDisposition)
	b = appendField(b, "\r\nContent-Encoding: ", info.ContentEncoding)
	b = appendField(b, "\r\nContent-Language: ", info.ContentLanguage)
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), length, 10)
	if status == http.StatusPartialContent {
		b = strconv.AppendInt(append(b, "\r\nContent-Range: bytes "...), offset, 10)
		b = strconv.AppendInt(append(b, '-'), offset+length-1, 10)
		b = strconv.AppendInt(append(b, '/'), info.Size, 10)
	}
	return appendField(b, "\r\nContent-Type: ", cmp.Or(info.ContentType, defaultContentType))
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return append(append(b, name...), value...)
}

// appendID appends an id as the handler writes it: 16 digits.
func appendID(b []byte, id uint64) []byte {
	const digits = "0123456789ABCDEF"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[id>>shift&15])
	}
	return b
}

// isPlain reports whether all that an object's writer chose can be in a header as
// it is. What cannot, net/http mends or leaves out in ways of its own.
func isPlain(info *object.Info) bool {
	for _, s := range [...]string{
		string(info.ETag), info.ContentType, info.ContentEncoding, info.ContentLanguage, info.ContentDisposition, info.CacheControl,
	} {
		if !isPlainValue(s) {
			return false
		}
	}
	for name, value := range info.User {
		if !isPlainName(name) || !isPlainValue(value) {
			return false
		}
	}
	return true
}

func isPlainValue(s string) bool {
	for i := range len(s) {
		if s[i] == '\r' || s[i] == '\n' {
			return false
		}
	}
	return s == "" || !isBlank(s[0]) && !isBlank(s[len(s)-1])
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

func isPlainName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return s != ""
}
