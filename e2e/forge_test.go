package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	endian "encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// A head says where a project is. It is all that a landing changes, by compare and
// swap: 64 bytes, as a forge keeps it.
type head struct {
	position uint64
	stamp    [16]byte // of the landing's clock and lander: no two landings have one
	tree     [32]byte // hash
}

const headSize = 64

var errHead = errors.New("not a head")

func (h head) bytes() []byte {
	b := append(make([]byte, 0, headSize), "MICH\x00\x00\x00\x01"...)
	b = endian.BigEndian.AppendUint64(b, h.position)
	b = append(b, h.stamp[:]...)
	return append(b, h.tree[:]...)
}

func parseHead(b []byte) (h head, err error) {
	if len(b) != headSize || string(b[:8]) != "MICH\x00\x00\x00\x01" {
		return h, fmt.Errorf("%w: %.80q", errHead, b)
	}
	h.position = endian.BigEndian.Uint64(b[8:])
	copy(h.stamp[:], b[16:])
	copy(h.tree[:], b[32:])
	return h, nil
}

// A fileTree is the list of all files of a project with the hashes of their bytes.
type fileTree map[string][32]byte

func (t fileTree) bytes() (b []byte) {
	for _, path := range slices.Sorted(maps.Keys(t)) {
		b = endian.BigEndian.AppendUint16(b, uint16(len(path)))
		b = append(b, path...)
		sum := t[path]
		b = append(b, sum[:]...)
	}
	return b
}

var errTree = errors.New("not a tree")

func parseTree(b []byte) (fileTree, error) {
	t := fileTree{}
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(endian.BigEndian.Uint16(b))+32 {
			return nil, errTree
		}
		n := int(endian.BigEndian.Uint16(b))
		t[string(b[2:2+n])] = [32]byte(b[2+n:])
		b = b[2+n+32:]
	}
	return t, nil
}

// A forge is a worker that lands sessions in a project and reads it. It keeps
// nothing: what it knows is in the store.
type forge struct {
	client  *http.Client
	urls    []string // of the nodes, up to the key
	at      int      // the node it talks to
	project string
	rand    *rand.Rand

	conflicts, unsettled int // compare-and-swaps that lost, and whose outcome nobody said
}

func (f *forge) headKey() string { return f.project + "/head" }
func (f *forge) named(kind string, sum [32]byte) string {
	return fmt.Sprintf("%s/%s/%02x/%x.bin", f.project, kind, sum[0], sum)
}
func (f *forge) recordKey(position uint64) string {
	return fmt.Sprintf("%s/landing/%012d.bin", f.project, position)
}

// forgePatience is how long a forge tries to get an answer. Its nodes are away for
// seconds.
const forgePatience = 40 * time.Second

var errNoAnswer = errors.New("no answer")

// once sends one request. An error, and a status of 500 or more, say nothing about
// what was done.
func (f *forge) once(method, key string, body []byte, header ...string) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, f.urls[f.at]+escape(key), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	return send(f.client, req)
}

// send sends a request and reads the whole answer. A status of 500 or more is
// errStatus.
func send(client *http.Client, req *http.Request) (*reply, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := &reply{status: resp.StatusCode, header: resp.Header}
	if r.body, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if r.status >= http.StatusInternalServerError {
		return nil, fmt.Errorf("%w: %d: %.100q", errStatus, r.status, r.body)
	}
	return r, nil
}

// ask sends a request that may be repeated until it is answered, through another
// node each time.
func (f *forge) ask(method, key string, body []byte, header ...string) (*reply, error) {
	var r *reply
	err := eventually(forgePatience, func() (err error) {
		if r, err = f.once(method, key, body, header...); err != nil {
			f.at = (f.at + 1) % len(f.urls)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", method, key, errNoAnswer, err)
	}
	return r, nil
}

// create stores what has its name from its bytes, or from a position that is taken
// once: that it is there already is as good.
func (f *forge) create(key string, body []byte) error {
	r, err := f.ask(http.MethodPut, key, body, "If-None-Match", "*")
	if err == nil && r.status != http.StatusOK && r.status != http.StatusPreconditionFailed {
		err = fmt.Errorf("PUT %s: %w: %d", key, errStatus, r.status)
	}
	return err
}

// read returns what must be there.
func (f *forge) read(key string) ([]byte, error) {
	r, err := f.ask(http.MethodGet, key, nil)
	if err == nil && r.status != http.StatusOK {
		err = fmt.Errorf("GET %s: %w: %d", key, errStatus, r.status)
	}
	if err != nil {
		return nil, err
	}
	return r.body, nil
}

// readNamed returns what has its name from its hash.
func (f *forge) readNamed(kind string, sum [32]byte) ([]byte, error) {
	b, err := f.read(f.named(kind, sum))
	if err == nil && sha256.Sum256(b) != sum {
		err = fmt.Errorf("%s: %d bytes that do not hash to its name", f.named(kind, sum), len(b))
	}
	return b, err
}

// head returns the head and its ETag, which is "" if there is none yet.
func (f *forge) head() (h head, etag string, err error) {
	r, err := f.ask(http.MethodGet, f.headKey(), nil)
	switch {
	case err != nil:
		return h, "", err
	case r.status == http.StatusNotFound:
		return h, "", nil
	case r.status != http.StatusOK:
		return h, "", fmt.Errorf("GET %s: %w: %d", f.headKey(), errStatus, r.status)
	}
	h, err = parseHead(r.body)
	return h, r.header.Get("ETag"), err
}

func (f *forge) tree(h head) (fileTree, error) {
	if h.position == 0 {
		return fileTree{}, nil
	}
	b, err := f.readNamed("trees", h.tree)
	if err != nil {
		return nil, err
	}
	return parseTree(b)
}

// land adds a file to the project and returns the position that it got. Landers
// that come between make it begin again on top of theirs.
func (f *forge) land(path string, content []byte, stamp [16]byte) (position uint64, err error) {
	blob := sha256.Sum256(content)
	if err := f.create(f.named("blobs", blob), content); err != nil {
		return 0, err
	}
	for attempt := 0; ; attempt++ {
		base, etag, err := f.head()
		if err != nil {
			return 0, err
		}
		if err := f.record(base); err != nil {
			return 0, err
		}
		files, err := f.tree(base)
		if err != nil {
			return 0, err
		}
		files[path] = blob
		b := files.bytes()
		next := head{position: base.position + 1, stamp: stamp, tree: sha256.Sum256(b)}
		if err := f.create(f.named("trees", next.tree), b); err != nil {
			return 0, err
		}
		landed, err := f.swap(base, etag, next)
		if err != nil {
			return 0, err
		}
		if landed {
			return next.position, f.record(next)
		}
		f.conflicts++
		pause(time.Duration(min(attempt, 8)+1) * time.Duration(f.rand.Int64N(int64(20*time.Millisecond))))
	}
}

// record writes down who took a position: the head as it was then. It is made of
// nothing but the head, so that anybody can write it, and whoever replaces a head
// has written its record first. So a position that has been taken over has its
// record, also if its lander is gone: that is what lets others find out what became
// of theirs.
func (f *forge) record(h head) error {
	if h.position == 0 {
		return nil
	}
	return f.create(f.recordKey(h.position), h.bytes())
}

// swap replaces the head that was read, and reports whether it did.
func (f *forge) swap(base head, etag string, next head) (landed bool, err error) {
	condition := []string{"If-Match", etag}
	if etag == "" {
		condition = []string{"If-None-Match", "*"}
	}
	deadline := time.Now().Add(forgePatience)
	for said := true; time.Now().Before(deadline); {
		r, err := f.once(http.MethodPut, f.headKey(), next.bytes(), condition...)
		switch {
		case err == nil && r.status == http.StatusOK:
			return true, nil
		case err == nil && r.status == http.StatusPreconditionFailed && said:
			return false, nil
		case err == nil && r.status != http.StatusPreconditionFailed && r.status != http.StatusConflict:
			return false, fmt.Errorf("PUT %s: %w: %d %.200q", f.headKey(), errStatus, r.status, r.body)
		}
		if err != nil { // from here on a refusal may be because of what we did ourselves
			said = false
			f.unsettled++
			f.at = (f.at + 1) % len(f.urls)
		}
		landed, known, err := f.settle(base, next)
		if err != nil || known {
			return landed, err
		}
		pause(50 * time.Millisecond)
	}
	return false, fmt.Errorf("PUT %s: %w", f.headKey(), errNoAnswer)
}

// settle finds out whether next has replaced base. While the head is base it has
// not, and may yet do so: to try again with the same bytes under the same condition
// changes nothing about that, for at most one of the two can be done.
func (f *forge) settle(base, next head) (landed, known bool, err error) {
	now, _, err := f.head()
	if err != nil {
		return false, false, err
	}
	if now == base {
		return false, false, nil
	}
	if now.position > next.position {
		b, err := f.read(f.recordKey(next.position))
		if err != nil {
			return false, false, err
		}
		if now, err = parseHead(b); err != nil {
			return false, false, err
		}
	}
	if now.position != next.position {
		return false, false, fmt.Errorf("%w: position %d after %d", errHead, now.position, base.position)
	}
	return now == next, true, nil
}

// pause waits as a lander does between attempts.
func pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}
