package peer

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A proof shows that whoever sent a request, or an answer, has the cluster's
// secret: an HMAC-SHA-256 over what is said, under a key that is derived from
// the secret and the cluster's name.
//
// A request's covers its method, its target, all headers whose names begin with
// "Micelio-", the challenge of the handler that it is meant for, and its number
// in the sender's session. The challenge is drawn when the handler is made and
// the number is good once, so a recorded request is worth nothing, to this
// handler or to any other, and no clock is in it. An answer's covers the proof
// of its request, the status, the Micelio headers and Content-Range: it fits no
// other request.
//
// Bodies are not covered: to hash them twice would cost more than to send them.
// Whoever can change what is under way between two nodes can change a body, and
// whoever can read it reads everything. A PUT is held to the digests in its
// options, which are covered, and the body of a verified key to its name.
const (
	macSize       = 16 // of 32: forging takes 2^128 tries
	challengeSize = 16
	sessionSize   = 16
	keyIDSize     = 4
	hintSize      = 4 // of the challenge, so that an old one is told from a forgery
	proofSize     = keyIDSize + hintSize + sessionSize + 8 + macSize
)

// keyLabel makes the keys good for nothing else than this protocol.
const keyLabel = "micelio peer plane 1"

type (
	macSum    [macSize]byte
	challenge [challengeSize]byte
	session   [sessionSize]byte
)

// A proofKey is what one secret of a cluster became.
type proofKey struct {
	id    [keyIDSize]byte // says which of several; it tells nothing about them
	lane  []byte          // from it the keys of quick lanes are derived
	state sync.Pool       // of *macState
}

// macState is what making one proof takes.
type macState struct {
	mac   hash.Hash
	text  []byte
	names []string
	sum   []byte
}

// newKeys derives the keys of a cluster's secrets.
func newKeys(secrets [][]byte, cluster string) []*proofKey {
	var keys []*proofKey
	for _, secret := range secrets {
		derive := func(purpose string) []byte {
			mac := hmac.New(sha256.New, secret)
			_, _ = mac.Write([]byte(keyLabel + "\x00" + purpose + "\x00" + cluster)) // never fails
			return mac.Sum(nil)
		}
		key := derive("key")
		k := &proofKey{lane: derive("quick lane")}
		copy(k.id[:], derive("name"))
		k.state.New = func() any { return &macState{mac: hmac.New(sha256.New, key)} }
		keys = append(keys, k)
	}
	return keys
}

// A stamp is the part of a request's proof that does not follow from it.
type stamp struct {
	challenge challenge
	session   session
	number    uint64
}

// ofRequest returns the proof of a request.
func (k *proofKey) ofRequest(method, target string, header http.Header, s *stamp) macSum {
	m := k.state.Get().(*macState)
	defer k.state.Put(m)
	m.text = append(m.text[:0], 'q')
	m.text = append(m.text, s.challenge[:]...)
	m.text = append(m.text, s.session[:]...)
	m.text = binary.BigEndian.AppendUint64(m.text, s.number)
	m.add(method)
	m.add(target)
	return m.finish(header)
}

// ofAnswer returns the proof of an answer to the request that has proof q.
func (k *proofKey) ofAnswer(q macSum, status int, header http.Header) macSum {
	m := k.state.Get().(*macState)
	defer k.state.Put(m)
	m.text = append(m.text[:0], 'a')
	m.text = append(m.text, q[:]...)
	m.text = binary.BigEndian.AppendUint32(m.text, uint32(status))
	contentRange := ""
	if values := header["Content-Range"]; len(values) > 0 {
		contentRange = values[0]
	}
	m.add(contentRange)
	return m.finish(header)
}

// add adds a string so that no two sequences of strings make one text.
func (m *macState) add(s string) {
	m.text = binary.BigEndian.AppendUint32(m.text, uint32(len(s)))
	m.text = append(m.text, s...)
}

// covered is how the names of headers begin that a proof covers.
const covered = "Micelio-"

// finish adds the headers and returns the proof.
func (m *macState) finish(header http.Header) (sum macSum) {
	m.names = m.names[:0]
	for name := range header {
		if strings.HasPrefix(name, covered) && name != headerProof {
			m.names = append(m.names, name)
		}
	}
	slices.Sort(m.names)
	for _, name := range m.names {
		m.add(name)
		values := header[name]
		m.text = binary.BigEndian.AppendUint32(m.text, uint32(len(values)))
		for _, v := range values {
			m.add(v)
		}
	}
	m.mac.Reset()
	_, _ = m.mac.Write(m.text) // never fails
	m.sum = m.mac.Sum(m.sum[:0])
	copy(sum[:], m.sum)
	return sum
}

// equal compares in constant time.
func (s macSum) equal(other macSum) bool { return subtle.ConstantTimeCompare(s[:], other[:]) == 1 }

// String is the proof of an answer as it travels.
func (s macSum) String() string { return base64.RawURLEncoding.EncodeToString(s[:]) }

// parseSum reads what String wrote.
func parseSum(text string) (sum macSum, ok bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(macSize) {
		return sum, false
	}
	n, err := base64.RawURLEncoding.Decode(sum[:], []byte(text))
	return sum, err == nil && n == macSize
}

// encodeProof returns a request's proof as it travels.
func encodeProof(k *proofKey, s *stamp, sum macSum) string {
	var raw [proofSize]byte
	b := append(raw[:0], k.id[:]...)
	b = append(b, s.challenge[:hintSize]...)
	b = append(b, s.session[:]...)
	b = binary.BigEndian.AppendUint64(b, s.number)
	b = append(b, sum[:]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// A claim is what encodeProof wrote, not checked yet.
type claim struct {
	key  [keyIDSize]byte
	hint [hintSize]byte
	stamp
	sum macSum
}

func parseProof(text string) (c claim, ok bool) {
	var raw [proofSize]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(proofSize) {
		return c, false
	}
	if _, err := base64.RawURLEncoding.Decode(raw[:], []byte(text)); err != nil {
		return c, false
	}
	b := raw[:]
	b = b[copy(c.key[:], b):]
	b = b[copy(c.hint[:], b):]
	b = b[copy(c.session[:], b):]
	c.number, b = binary.BigEndian.Uint64(b), b[8:]
	copy(c.sum[:], b)
	return c, true
}
