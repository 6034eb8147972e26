package e2e

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/history"
)

const (
	// opTimeout is how long a user waits for an answer. It is longer than a node
	// takes to find out that another one is gone.
	opTimeout = 3 * time.Second

	// avoidFor is how long a user goes to other nodes after one that did not
	// answer, as a load balancer would.
	avoidFor = time.Second
)

// A user does one operation after the other, each through any node.
type user struct {
	*load
	id    int
	rand  *rand.Rand
	seq   int // of writes
	avoid []time.Time
}

// An attempt is an operation that is about to be sent.
type attempt struct {
	op     history.Op
	method string
	header map[string]string
	body   []byte // nil for none

	offset int                                        // of a ranged read
	known  map[string]string                          // tag by ETag, of what the key may hold
	read   func(a *attempt, r *reply) (string, error) // value of what was read
}

// A reply is an answer, as far as it came.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// node chooses whom to ask: anybody, but rather not who did not answer lately.
func (u *user) node() int {
	for range 3 {
		if i := u.rand.IntN(len(u.nodes)); time.Now().After(u.avoid[i]) {
			return i
		}
	}
	return u.rand.IntN(len(u.nodes))
}

// step does one operation on a key.
func (u *user) step(k *key) {
	a := u.choose(k)
	a.op.Client, a.op.Key = u.id, k.name
	i := u.node()
	at := k.begin(a.op, u.now())
	r, err := u.send(u.urls[i]+escape(k.name), &a)
	outcome, value, left, note := u.judge(&a, r, err)
	note = a.method + " " + u.nodes[i] + " " + note
	if outcome == history.Unknown || r == nil {
		u.avoid[i] = time.Now().Add(avoidFor)
	}
	if outcome == history.OK {
		k.learn(&a, value, r.header.Get("ETag"))
	}
	k.end(at, u.now(), outcome, value, left, note)
	u.count(a.op.Kind, outcome, r)
}

func (u *user) send(url string, a *attempt) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	var body io.Reader
	if a.body != nil {
		body = bytes.NewReader(a.body)
	}
	req, err := http.NewRequestWithContext(ctx, a.method, url, body)
	if err != nil {
		return nil, err
	}
	for name, value := range a.header {
		req.Header.Set(name, value)
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := &reply{status: resp.StatusCode, header: resp.Header}
	r.body, err = io.ReadAll(resp.Body)
	return r, err
}

// judge says what came of an operation. left: nobody told the user.
func (u *user) judge(a *attempt, r *reply, err error) (outcome history.Outcome, value string, left bool, note string) {
	value, read := a.op.Value, a.op.Kind == history.Read
	var dial *net.OpError
	switch {
	case r == nil && errors.As(err, &dial) && dial.Op == "dial":
		return history.Failed, value, false, "connecting: " + short(err)
	case r == nil && read, err != nil && read:
		return history.Failed, value, false, short(err)
	case r == nil:
		return history.Unknown, value, true, short(err)
	}
	note = fmt.Sprintf("%d at %s", r.status, r.header.Get("Micelio-Node"))
	switch {
	case read:
		if value, err = a.read(a, r); errors.Is(err, errNoNews) {
			return history.Failed, "", false, note
		} else if err != nil {
			return history.OK, "not a value: " + err.Error(), false, note // nobody wrote that
		}
		return history.OK, value, false, note + " from " + r.header.Get("X-Cache")
	case r.status/100 == 2:
		return history.OK, value, false, note
	case a.op.Kind == history.CAS && (r.status == http.StatusPreconditionFailed || r.status == http.StatusNotFound):
		return history.Refused, value, false, note
	case r.status/100 == 4:
		return history.Failed, value, false, note
	}
	return history.Unknown, value, false, note + " " + r.header.Get("Micelio-Outcome")
}

// short is an error without the address that it begins with.
func short(err error) string {
	text := err.Error()
	if i := strings.Index(text, `": `); i >= 0 {
		text = text[i+3:]
	}
	return text
}

// errNoNews says that an answer tells nothing about the value of the key.
var errNoNews = errors.New("no news")

// whole reads the answer to a GET of all or a part.
func (u *user) whole(a *attempt, r *reply) (string, error) {
	size, offset := len(r.body), 0
	switch r.status {
	case http.StatusOK:
	case http.StatusPartialContent:
		var from, to int
		if n, err := fmt.Sscanf(r.header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); n != 3 || err != nil || from != a.offset || to-from+1 != len(r.body) {
			return "", fmt.Errorf("%w: Content-Range %q of %d bytes from %d", errTorn, r.header.Get("Content-Range"), len(r.body), a.offset)
		}
		offset = from
	default:
		return missing(r)
	}
	tag, err := u.fill.tag(r.body, offset, size)
	if errors.Is(err, errNoStamp) {
		return "", errNoNews
	}
	if err != nil {
		return "", err
	}
	if other, ok := a.known[r.header.Get("ETag")]; ok && other != tag {
		return "", fmt.Errorf("%w: the bytes of %s with the ETag of %s", errTorn, tag, other)
	}
	return valueOf(tag, r.header.Get("Content-Type")), nil
}

// described reads the answer to a HEAD.
func described(a *attempt, r *reply) (string, error) {
	if r.status != http.StatusOK {
		return missing(r)
	}
	tag, ok := a.known[r.header.Get("ETag")]
	if !ok {
		return "", errNoNews // of an upload in parts whose writer does not know it either
	}
	return valueOf(tag, r.header.Get("Content-Type")), nil
}

func missing(r *reply) (string, error) {
	if r.status == http.StatusNotFound {
		return history.Absent, nil
	}
	return "", errNoNews
}

// A value is the tag of the bytes and the content type, which each write has of
// its own.
func valueOf(tag, contentType string) string { return tag + ";" + contentType }

// etagOf returns the ETag that bytes will have, unless they are uploaded in parts.
func etagOf(body []byte) string {
	sum := md5.Sum(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// partSize is that of uploads to the origin. A body that is not larger goes as one.
const partSize = 5 << 20

// size of what is written next. Most objects of a forge are small; some do not
// fit a chunk of the SSD, and those of a large key are uploaded in parts.
func (u *user) size(k *key) int {
	switch r := u.rand.IntN(100); {
	case k.large && r < 70:
		return partSize + 1 + u.rand.IntN(maxBody-partSize-1)
	case r < 80:
		return stampSize + u.rand.IntN(2000)
	case r < 96:
		return stampSize + u.rand.IntN(60<<10)
	}
	return 200<<10 + u.rand.IntN(200<<10)
}

// choose makes up an operation.
func (u *user) choose(k *key) attempt {
	versions, known := k.state()
	var v version // what is believed to be there, most of the time
	if len(versions) > 0 {
		v = versions[len(versions)-1]
		if u.rand.IntN(5) == 0 {
			v = versions[u.rand.IntN(len(versions))]
		}
	}
	switch r := u.rand.IntN(100); {
	case r < 33:
		return u.get(known, nil)
	case r < 41:
		offset := u.rand.IntN(blockSize)
		if k.large && u.rand.IntN(2) == 0 {
			offset = u.rand.IntN(partSize)
		}
		a := u.get(known, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", offset, offset+blockSize+stampSize+u.rand.IntN(3*blockSize))})
		a.offset = offset
		return a
	case r < 47:
		return attempt{op: history.Op{Kind: history.Read}, method: http.MethodHead, known: known, read: described}
	case r < 55 && v.etag != "":
		return u.unlessSeen(k, known, v)
	case r < 70:
		return u.put(k, history.Write, "", nil)
	case r < 74 && v.etag != "" && !k.large:
		return u.again(k, v)
	case r < 84 && v.etag != "":
		return u.put(k, history.CAS, v.tag, map[string]string{"If-Match": v.etag})
	case r < 85:
		return u.put(k, history.CAS, history.Any, map[string]string{"If-Match": "*"})
	case r < 92:
		return u.put(k, history.CAS, history.Absent, map[string]string{"If-None-Match": "*"})
	case r < 95 && v.etag != "" && u.deletesIf:
		return attempt{op: history.Op{Kind: history.CAS, Expect: v.tag, Value: history.Absent}, method: http.MethodDelete, header: map[string]string{"If-Match": v.etag}}
	}
	return attempt{op: history.Op{Kind: history.Delete}, method: http.MethodDelete}
}

func (u *user) get(known, header map[string]string) attempt {
	return attempt{op: history.Op{Kind: history.Read}, method: http.MethodGet, header: header, known: known, read: u.whole}
}

// unlessSeen reads what differs from a version. That it does not is news only if
// one write alone had these bytes.
func (u *user) unlessSeen(k *key, known map[string]string, v version) attempt {
	a := u.get(known, map[string]string{"If-None-Match": v.etag})
	a.read = func(a *attempt, r *reply) (string, error) {
		switch {
		case r.status != http.StatusNotModified:
			return u.whole(a, r)
		case !k.single(v.tag):
			return "", errNoNews
		}
		return v.value, nil
	}
	return a
}

// put writes bytes that nobody has written.
func (u *user) put(k *key, kind history.Kind, expect string, header map[string]string) attempt {
	u.seq++
	size := u.size(k)
	tag := fmt.Sprintf("%d.%d.%d", u.id, u.seq, size)
	body := u.fill.body(tag, size)
	a := u.write(tag, body, header)
	a.op.Kind, a.op.Expect = kind, expect
	if len(body) <= partSize {
		k.expect(etagOf(body), tag)
	}
	return a
}

// again writes bytes that were there before, with another content type.
func (u *user) again(k *key, v version) attempt {
	u.seq++
	size, _ := strconv.Atoi(v.tag[strings.LastIndexByte(v.tag, '.')+1:]) // put made it
	k.repeat(v.tag)
	return u.write(v.tag, u.fill.body(v.tag, size), nil)
}

func (u *user) write(tag string, body []byte, header map[string]string) attempt {
	contentType := "x/" + strconv.Itoa(u.id) + "." + strconv.Itoa(u.seq)
	if header == nil {
		header = map[string]string{}
	}
	header["Content-Type"] = contentType
	return attempt{op: history.Op{Kind: history.Write, Value: valueOf(tag, contentType)}, method: http.MethodPut, header: header, body: body}
}
