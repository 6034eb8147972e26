package peer

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/micelio/micelio/object"
)

// What goes over a quick lane are records, each of which holds whole frames.
// Whoever writes puts all that is to be said at that moment into as few records
// as there are room for, and those into one write.
//
//	record   length of the rest, 32 bits; then frames, or what sealing made of
//	         them (see laneKey)
//	frame    kind, a byte; then
//	  ask    id, 32 bits; length of the key, 16 bits; the key
//	  have   id, 32 bits; length of the description, 16 bits, and of the bytes,
//	         32 bits; the description; the bytes
//	  absent id, 32 bits
//	  epoch  the view of the ring that the sender has from here on, 64 bits
//
// Numbers are little endian. The client asks; the server answers each ask once,
// in any order. An id is the client's and means nothing else.
const (
	frameAsk = 1 + iota
	frameHave
	frameAbsent
	frameEpoch
)

const (
	// QuickLimit is the size of the largest object that is read quickly, in
	// bytes. Beyond, what HTTP costs does not count, and small answers would
	// wait behind large ones.
	QuickLimit = 64 << 10

	// quickInfoLimit bounds the description that goes before it: what is there
	// of user metadata fits, and whoever has larger headers takes the other way.
	quickInfoLimit = 8 << 10

	recordHead = 4
	askHead    = 1 + 4 + 2
	haveHead   = 1 + 4 + 2 + 4
	absentSize = 1 + 4
	epochSize  = 1 + 8

	// recordRoom is how many bytes of frames are put into one record; a frame
	// that is longer has one to itself. A record is opened as a whole, so this is
	// also how much has to arrive before the first of it is looked at.
	recordRoom = 64 << 10

	// recordLimit is the longest record there can be.
	recordLimit = haveHead + quickInfoLimit + QuickLimit + sealSize

	// recordBuffer is what is read at once, in bytes, and more than a record.
	recordBuffer = 128 << 10
)

var errFrame = errors.New("malformed frame")

// A recordWriter gathers frames into records. It belongs to one goroutine.
type recordWriter struct {
	key  *laneKey // nil: nothing is sealed
	buf  []byte   // records, and from open on the one that is not complete
	open int      // -1: none is
}

// frame returns n bytes for the next frame, to be filled in before the next call.
func (w *recordWriter) frame(n int) []byte {
	if w.open >= 0 && len(w.buf)-w.open-recordHead+n > recordRoom {
		w.close()
	}
	if w.open < 0 {
		w.open = len(w.buf)
		w.buf = append(w.buf, make([]byte, recordHead)...)
	}
	return w.extend(n)
}

// extend returns the next n bytes of the buffer.
func (w *recordWriter) extend(n int) []byte {
	at := len(w.buf)
	if at+n > cap(w.buf) {
		grown := make([]byte, at, max(2*cap(w.buf), at+n))
		copy(grown, w.buf)
		w.buf = grown
	}
	w.buf = w.buf[:at+n]
	return w.buf[at : at+n : at+n]
}

// close completes the record.
func (w *recordWriter) close() {
	if w.open < 0 {
		return
	}
	n := len(w.buf) - w.open - recordHead
	if w.key != nil {
		n += sealSize
		w.extend(sealSize)
	}
	head := w.buf[w.open : w.open+recordHead]
	binary.LittleEndian.PutUint32(head, uint32(n))
	if w.key != nil {
		w.key.seal(w.buf[w.open+recordHead:], head)
	}
	w.open = -1
}

// bytes completes the last record and returns all there are.
func (w *recordWriter) bytes() []byte {
	w.close()
	return w.buf
}

// reset begins anew, in this buffer.
func (w *recordWriter) reset(buf []byte) { w.buf, w.open = buf[:0], -1 }

func (w *recordWriter) have(id uint32, description, body []byte) {
	f := w.frame(haveHead + len(description) + len(body))
	f[0] = frameHave
	binary.LittleEndian.PutUint32(f[1:], id)
	binary.LittleEndian.PutUint16(f[5:], uint16(len(description)))
	binary.LittleEndian.PutUint32(f[7:], uint32(len(body)))
	copy(f[haveHead+copy(f[haveHead:], description):], body)
}

func (w *recordWriter) absent(id uint32) {
	f := w.frame(absentSize)
	f[0] = frameAbsent
	binary.LittleEndian.PutUint32(f[1:], id)
}

func (w *recordWriter) epoch(epoch uint64) {
	f := w.frame(epochSize)
	f[0] = frameEpoch
	binary.LittleEndian.PutUint64(f[1:], epoch)
}

// appendAsk appends an ask.
func appendAsk(b []byte, id uint32, key object.Key) []byte {
	b = append(b, frameAsk)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	return append(b, key...)
}

// A recordReader reads records. It belongs to one goroutine.
type recordReader struct {
	from io.Reader
	key  *laneKey // nil: nothing is sealed
	buf  []byte
	r, w int // what is read and not taken yet
}

func newRecordReader(from io.Reader, key *laneKey) *recordReader {
	return &recordReader{from: from, key: key, buf: make([]byte, recordBuffer)}
}

// next returns the frames of the next record, nil if it has not arrived whole.
// They are good until fill is called.
func (r *recordReader) next() ([]byte, error) {
	if r.w-r.r < recordHead {
		return nil, nil
	}
	head := r.buf[r.r : r.r+recordHead]
	n := int64(binary.LittleEndian.Uint32(head))
	switch least := r.key.overhead() + 1; {
	case n < int64(least) || n > recordLimit:
		return nil, errFrame
	case int64(r.w-r.r-recordHead) < n:
		return nil, nil
	}
	at := r.r + recordHead
	r.r = at + int(n)
	if r.key != nil {
		return r.key.unseal(r.buf[at:r.r], head)
	}
	return r.buf[at:r.r], nil
}

// fill reads on.
func (r *recordReader) fill() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	} else if len(r.buf)-r.r < recordHead+recordLimit {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	n, err := r.from.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// A frame is one frame, taken apart. Its slices are parts of the record.
type frame struct {
	kind  byte
	id    uint32
	key   []byte // of an ask
	info  []byte // of a have, with
	body  []byte
	epoch uint64
}

// cutFrame takes the first frame off a record.
func cutFrame(b []byte) (f frame, rest []byte, err error) {
	head := 0
	if len(b) > 0 {
		f.kind = b[0]
		head = [...]int{frameAsk: askHead, frameHave: haveHead, frameAbsent: absentSize, frameEpoch: epochSize}[min(f.kind, frameEpoch)]
	}
	if head == 0 || f.kind > frameEpoch || len(b) < head {
		return frame{}, nil, errFrame
	}
	if f.kind == frameEpoch {
		f.epoch = binary.LittleEndian.Uint64(b[1:])
		return f, b[head:], nil
	}
	f.id, rest = binary.LittleEndian.Uint32(b[1:]), b[head:]
	switch f.kind {
	case frameAsk:
		n := int(binary.LittleEndian.Uint16(b[5:]))
		if n == 0 || n > object.MaxKeyLen || n > len(rest) {
			return frame{}, nil, errFrame
		}
		f.key, rest = rest[:n], rest[n:]
	case frameHave:
		n, size := int(binary.LittleEndian.Uint16(b[5:])), int64(binary.LittleEndian.Uint32(b[7:]))
		if n > quickInfoLimit || size > QuickLimit || int64(n)+size > int64(len(rest)) {
			return frame{}, nil, errFrame
		}
		f.info, f.body, rest = rest[:n], rest[n:n+int(size)], rest[n+int(size):]
	}
	return f, rest, nil
}

// Bits of what a description knows.
const (
	quickModified = 1 << iota
	quickSHA256
)

// quickStrings are the strings of a description, in this order. They may be
// empty.
func quickStrings(info *object.Info) [7]*string {
	return [...]*string{
		&info.Version, &info.ContentType, &info.ContentEncoding, &info.ContentLanguage,
		&info.ContentDisposition, &info.CacheControl, (*string)(&info.Tier),
	}
}

// appendQuickInfo appends what is to be known of an object besides its key, its
// size and the node that answers, which the other side knows: bits, age in
// nanoseconds, time of modification and SHA-256 if known, then the ETag, the
// other strings, and names and values of the user metadata in turn, each with
// its length, 16 bits, before it. encodeInfo says the same in a text that takes
// ten times as long to make and to read. It reports false if that is too long.
func appendQuickInfo(b []byte, info *object.Info) ([]byte, bool) {
	at := len(b)
	var known byte
	if !info.Modified.IsZero() {
		known |= quickModified
	}
	if !info.SHA256.IsZero() {
		known |= quickSHA256
	}
	b = append(b, known)
	b = binary.LittleEndian.AppendUint64(b, uint64(max(info.Age, 0)))
	if known&quickModified != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(info.Modified.Unix()))
		b = binary.LittleEndian.AppendUint32(b, uint32(info.Modified.Nanosecond()))
	}
	if known&quickSHA256 != 0 {
		b = append(b, info.SHA256[:]...)
	}
	b, ok := appendQuickString(b, string(info.ETag), true)
	for _, s := range quickStrings(info) {
		b, ok = appendQuickString(b, *s, ok)
	}
	for name, value := range info.User {
		b, ok = appendQuickString(b, name, ok)
		b, ok = appendQuickString(b, value, ok)
	}
	return b, ok && len(b)-at <= quickInfoLimit
}

func appendQuickString(b []byte, s string, ok bool) ([]byte, bool) {
	if !ok || len(s) > quickInfoLimit {
		return b, false
	}
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...), true
}

// decodeQuickInfo reads what appendQuickInfo wrote. The strings share the memory
// of s.
func decodeQuickInfo(s string, info *object.Info) error {
	r := quickText{rest: s}
	known := r.cut(1)
	age := r.number(8)
	if r.short || age > 1<<63-1 {
		return errFrame
	}
	info.Age = time.Duration(age)
	if known[0]&quickModified != 0 {
		seconds, nanoseconds := r.number(8), r.number(4)
		if nanoseconds >= 1e9 {
			return errFrame
		}
		info.Modified = time.Unix(int64(seconds), int64(nanoseconds)).UTC()
	}
	if known[0]&quickSHA256 != 0 {
		copy(info.SHA256[:], r.cut(len(info.SHA256)))
	}
	info.ETag = object.ETag(r.counted())
	for _, at := range quickStrings(info) {
		*at = r.counted()
	}
	for r.rest != "" && !r.short {
		if info.User == nil {
			info.User = make(map[string]string)
		}
		name := r.counted()
		info.User[name] = r.counted()
	}
	if r.short || known[0]&^(quickModified|quickSHA256) != 0 {
		return errFrame
	}
	return nil
}

// A quickText takes a description apart without a copy.
type quickText struct {
	rest  string
	short bool // it ended too early
}

// cut returns the next n bytes, none if there are not so many.
func (r *quickText) cut(n int) string {
	if r.short = r.short || n > len(r.rest); r.short {
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// number returns the next number, of so many bytes.
func (r *quickText) number(size int) (n uint64) {
	s := r.cut(size)
	for i := len(s) - 1; i >= 0; i-- {
		n = n<<8 | uint64(s[i])
	}
	return n
}

// counted returns a string that has its length before it.
func (r *quickText) counted() string { return r.cut(int(r.number(2))) }
