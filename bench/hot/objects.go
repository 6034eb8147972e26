package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/micelio/micelio/bench/drive"
)

const (
	hotBytes    = 4 << 10
	rangeBytes  = 1 << 10 // of a range of the hot object
	largeBytes  = 64 << 20
	zipfSmall   = 1 << 10 // the objects of zipf are from here
	zipfLarge   = 4 << 10 // to there
	peerObjects = 64
)

// prefix is what a path begins with before the key, at every contender.
const prefix = "/micelio/"

// An item is an object that is asked for. Its name is the SHA-256 of its bytes, so
// that whoever has the bytes can tell that they are right.
type item struct {
	digest string
	size   int64
}

func (o item) key() string  { return "artifacts/sha256:" + o.digest }
func (o item) path() string { return prefix + o.key() }

// etag is what the servers that do not make one themselves say.
func (o item) etag() string { return `"` + o.digest[:32] + `"` }

// A corpus is all objects, in a directory that is a web root for some and an
// origin for others.
type corpus struct {
	root  string
	hot   item
	large item
	zipf  []item // from the most asked for to the least
	peers []item
	draws []uint32 // of zipf, to be asked for one after the other
}

// writeCorpus makes up objects, the same ones each time, and writes their files.
func writeCorpus(root string, zipfObjects int) (*corpus, error) {
	if err := os.MkdirAll(filepath.Join(root, "artifacts"), 0o755); err != nil {
		return nil, err
	}
	c := &corpus{root: root}
	var err error
	if c.hot, err = c.write(1, hotBytes); err != nil {
		return nil, err
	}
	if c.large, err = c.write(2, largeBytes); err != nil {
		return nil, err
	}
	for i := range peerObjects {
		o, err := c.write(uint64(1000+i), hotBytes)
		if err != nil {
			return nil, err
		}
		c.peers = append(c.peers, o)
	}
	sizes := rand.New(rand.NewPCG(1, 2))
	for i := range zipfObjects {
		o, err := c.write(uint64(1_000_000+i), zipfSmall+sizes.IntN(zipfLarge-zipfSmall+1))
		if err != nil {
			return nil, err
		}
		c.zipf = append(c.zipf, o)
	}
	c.draws = zipf(0.99, zipfObjects, 1<<20)
	return c, nil
}

// write writes the object that has a number.
func (c *corpus) write(number uint64, size int) (item, error) {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], number)
	bytes := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(bytes) // it never fails
	digest := sha256.Sum256(bytes)
	o := item{hex.EncodeToString(digest[:]), int64(size)}
	return o, os.WriteFile(filepath.Join(c.root, filepath.FromSlash(o.key())), bytes, 0o644)
}

// zipf draws n of so many things, the i-th of which is drawn 1/i^s as often as the
// first. math/rand has none for s below 1.
func zipf(s float64, things, n int) []uint32 {
	sums := make([]float64, things)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	r := rand.New(rand.NewPCG(3, 4))
	draws := make([]uint32, n)
	for i := range draws {
		at, _ := slices.BinarySearch(sums, r.Float64()*sum)
		draws[i] = uint32(min(at, things-1))
	}
	return draws
}

// request is all that is sent for a request without a body. The Host is the same
// for all, so that requests can be.
func request(method, path string, fields ...string) []byte {
	raw := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	for _, field := range fields {
		raw = append(raw, field+"\r\n"...)
	}
	return append(raw, "\r\n"...)
}

// gets returns the plain reads of some objects.
func gets(items []item) []*drive.Shot {
	shots := make([]*drive.Shot, len(items))
	for i, o := range items {
		shots[i] = &drive.Shot{Raw: request("GET", o.path()), Status: 200, Body: o.size}
	}
	return shots
}

// inTurns returns one after the other, from the first again after the last.
func inTurns(shots []*drive.Shot) func() *drive.Shot {
	i := -1
	return func() *drive.Shot {
		if i++; i == len(shots) {
			i = 0
		}
		return shots[i]
	}
}

// drawn returns those that the draws say. Where it begins is the caller's.
func drawn(shots []*drive.Shot, draws []uint32, begin int) func() *drive.Shot {
	i := begin % len(draws)
	return func() *drive.Shot {
		if i++; i >= len(draws) {
			i = 0
		}
		return shots[draws[i]]
	}
}
