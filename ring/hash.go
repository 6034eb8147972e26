package ring

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// placementKeyInfo is what the keys of the placement are derived for: other uses
// of the same secret have other words here, so that no key is good for two.
const placementKeyInfo = "micelio placement key 1"

// A placementKey decides, where there is a cluster secret, in which partition a
// key lies and where a member has its points, so that nobody without the secret
// can pick keys that all lie in one. The zero value is the placement without a
// secret.
//
// The hash with a secret is SipHash. xxhash will not do for that, however it is
// seeded: pairs of keys are known that it maps to one value under every second
// seed, and such pairs can be strung together.
type placementKey struct {
	k0, k1 uint64

	// name tells the keys apart and says nothing about them: it is derived from
	// the secret just as they are. 0 only without a secret.
	name uint64
}

// newPlacementKey returns the key for a secret, the zero one for none. Clusters
// of other names that share the secret have another.
func newPlacementKey(secret []byte, cluster string) (placementKey, error) {
	if len(secret) == 0 {
		return placementKey{}, nil
	}
	b, err := hkdf.Key(sha256.New, secret, []byte(cluster), placementKeyInfo, 3*8)
	if err != nil {
		return placementKey{}, err
	}
	return placementKey{
		k0: binary.BigEndian.Uint64(b), k1: binary.BigEndian.Uint64(b[8:]),
		name: binary.BigEndian.Uint64(b[16:]) | 1,
	}, nil
}

// hash returns the hash of s. It does not allocate.
func (k *placementKey) hash(s string) uint64 {
	if k.name == 0 {
		return xxhash.Sum64String(s)
	}
	return sipHash(k.k0, k.k1, s)
}

// placementKeys are the keys that this node has: the one for its own secret
// first, then those of the secrets that others may use. nil: no secret.
type placementKeys []placementKey

var errSecret = errors.New("another cluster secret")

func (c *Config) placementKeys() (placementKeys, error) {
	if len(c.Secret) == 0 {
		return nil, nil
	}
	var keys placementKeys
	for _, secret := range append([][]byte{c.Secret}, c.AcceptSecrets...) {
		key, err := newPlacementKey(secret, c.Cluster)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// own returns the name of the key that this node shows to others, 0 without a
// secret.
func (keys placementKeys) own() uint64 {
	if len(keys) == 0 {
		return 0
	}
	return keys[0].name
}

// named returns the key of this name, if this node has it.
func (keys placementKeys) named(name uint64) (placementKey, bool) {
	if len(keys) == 0 {
		return placementKey{}, name == 0
	}
	i := slices.IndexFunc(keys, func(k placementKey) bool { return k.name == name })
	if i < 0 {
		return placementKey{}, false
	}
	return keys[i], true
}

// of returns the key that all nodes place by whose view has these owners, sorted
// by ID: that of the first. While a secret is being changed node by node, all
// change over together when that member does.
func (keys placementKeys) of(owners []Member) placementKey {
	for _, m := range owners {
		if key, ok := keys.named(m.PlacementKey); ok {
			return key
		}
	}
	key, _ := keys.named(keys.own())
	return key
}

// sipHash is SipHash-2-4 of Aumasson and Bernstein.
func sipHash(k0, k1 uint64, s string) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	last := uint64(len(s)) << 56
	for ; len(s) >= 8; s = s[8:] {
		m := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	for i := range len(s) {
		last |= uint64(s[i]) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xff
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
