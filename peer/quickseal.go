package peer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
)

// laneLabel makes the keys of lanes good for nothing else than them.
const laneLabel = "micelio peer quick lane 1"

// laneNonceSize is what each side draws for a lane, in bytes.
const laneNonceSize = 16

type laneNonce [laneNonceSize]byte

func newLaneNonce() (n laneNonce) {
	_, _ = rand.Read(n[:]) // never fails
	return n
}

func (n laneNonce) String() string { return hex.EncodeToString(n[:]) }

// laneNonceOf returns the nonce that a request or an answer carries.
func laneNonceOf(header http.Header) (n laneNonce, err error) {
	values := header[headerQuick]
	if len(values) != 1 || len(values[0]) != hex.EncodedLen(laneNonceSize) {
		return n, fmt.Errorf("%s: %w", headerQuick, errNoHeader)
	}
	if _, err := hex.Decode(n[:], []byte(values[0])); err != nil {
		return n, fmt.Errorf("%s: %w", headerQuick, errField)
	}
	return n, nil
}

const (
	laneKeySize = 16 // AES-128

	// sealSize is by how much a record grows when it is sealed, in bytes.
	sealSize = 16
)

// A laneKey seals one direction of one lane with AES-128-GCM: who has not the
// cluster's secret can neither read nor change, repeat, reorder or leave out a
// record; to cut the connection is all that is left. The key follows from the
// secret and what both sides drew for this lane, which their proofs cover, so no
// two lanes share one; the nonce is the number of the record. To hide the bytes
// costs no more than to prove them: GHASH has to go over them anyway.
//
// It belongs to one goroutine. nil seals nothing.
type laneKey struct {
	aead   cipher.AEAD
	number uint64 // of the next record
	nonce  [12]byte
}

// The directions of a lane.
const (
	toServer = "client"
	toClient = "server"
)

// laneKey returns the key for what goes into one direction.
func (k *proofKey) laneKey(client, server laneNonce, direction string) (*laneKey, error) {
	salt := append(client[:], server[:]...)
	key, err := hkdf.Key(sha256.New, k.lane, salt, laneLabel+"\x00"+direction, laneKeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &laneKey{aead: aead}, nil
}

// overhead is by how much records are longer than their frames.
func (k *laneKey) overhead() int {
	if k == nil {
		return 0
	}
	return sealSize
}

func (k *laneKey) next() []byte {
	binary.BigEndian.PutUint64(k.nonce[4:], k.number)
	k.number++
	return k.nonce[:]
}

// seal seals a record in its place, whose last sealSize bytes are free.
func (k *laneKey) seal(record, head []byte) {
	k.aead.Seal(record[:0], k.next(), record[:len(record)-sealSize], head)
}

// unseal undoes seal, in the same place.
func (k *laneKey) unseal(record, head []byte) ([]byte, error) {
	frames, err := k.aead.Open(record[:0], k.next(), record, head)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return frames, nil
}
