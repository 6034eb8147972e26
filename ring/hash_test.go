package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/memberlist"
)

// The figures are of the authors' paper and of their reference implementation:
// the key 00 01 … 0f, and messages 00 01 … of these lengths.
func TestSipHashIsThatOfItsAuthors(t *testing.T) {
	key := make([]byte, 16)
	for i := range key {
		key[i] = byte(i)
	}
	k0, k1 := binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:])
	message := make([]byte, 16)
	for i := range message {
		message[i] = byte(i)
	}
	for n, want := range map[int]uint64{
		0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 7: 0xab0200f58b01d137, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5,
	} {
		if got := sipHash(k0, k1, string(message[:n])); got != want {
			t.Errorf("of %d bytes: %#x, want %#x", n, got, want)
		}
	}
}

// xxhashTwins returns keys, made without knowing any seed, of which half the
// seeds make xxhash map pairs to one value: a difference in the topmost bit of
// a lane moves to bit 30 with the rotation, and is taken back in the next
// stripe. stripes pairs strung together are 2^stripes keys.
func xxhashTwins(pairs int) []string {
	const prime1, prime2 = 11400714785074694791, 14029467366897019727
	inverse := uint64(1) // of prime2, mod 2^64: Newton's iteration
	for range 6 {
		inverse *= 2 - prime2*inverse
	}
	prime := uint64(prime1)
	random := rand.New(rand.NewPCG(1, 2))
	keys := []string{""}
	for range pairs {
		one, other := make([]byte, 64), make([]byte, 64)
		for i := range one {
			one[i] = byte(random.Uint32())
		}
		copy(other, one)
		put := func(at int, delta uint64) {
			binary.LittleEndian.PutUint64(other[at:], binary.LittleEndian.Uint64(one[at:])+delta)
		}
		first := inverse << 63
		put(0, first)
		put(32, -(prime<<30)*inverse)
		var next []string
		for _, k := range keys {
			next = append(next, k+string(one), k+string(other))
		}
		keys = next
	}
	return keys
}

// This is why a seed does not make a keyed hash of xxhash.
func TestKeysThatCollideUnderUnknownSeedsAreSpread(t *testing.T) {
	const seeds = 200
	one, other := xxhashTwins(1)[0], xxhashTwins(1)[1]
	collisions, ours := 0, 0
	for seed := range uint64(seeds) {
		var a, b xxhash.Digest
		a.ResetWithSeed(bits.Reverse64(seed + 1))
		b.ResetWithSeed(bits.Reverse64(seed + 1))
		a.WriteString(one)
		b.WriteString(other)
		if a.Sum64() == b.Sum64() {
			collisions++
		}
		if sipHash(seed, 1, one) == sipHash(seed, 1, other) {
			ours++
		}
	}
	t.Logf("one pair of keys collides under %d of %d seeds of xxhash, %d of ours", collisions, seeds, ours)
	if one == other || collisions < seeds/4 {
		t.Errorf("one pair of keys collides under %d of %d seeds of xxhash, want about half: the attack is wrong", collisions, seeds)
	}
	if ours != 0 {
		t.Errorf("it collides under %d of %d of our keys", ours, seeds)
	}
}

func mustKey(t testing.TB, secret, cluster string) placementKey {
	t.Helper()
	key, err := newPlacementKey([]byte(secret), cluster)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAPlacementKeyIsOfOneSecretAndCluster(t *testing.T) {
	if key := mustKey(t, "", "a"); key != (placementKey{}) {
		t.Errorf("without a secret: %+v", key)
	}
	seen := map[placementKey]string{}
	names := map[uint64]bool{0: true}
	for _, c := range [][2]string{{"s", "a"}, {"s", "b"}, {"t", "a"}} {
		key := mustKey(t, c[0], c[1])
		if with, ok := seen[key]; ok || names[key.name] {
			t.Errorf("%q has the key of %q, or its name", c, with)
		}
		seen[key], names[key.name] = fmt.Sprint(c), true
		if again := mustKey(t, c[0], c[1]); again != key {
			t.Errorf("%q has two keys", c)
		}
		if key.name == key.k0 || key.name == key.k1 {
			t.Errorf("%q shows its key", c)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	key := mustKey(b, "secret", "cluster")
	for _, n := range []int{24, 72} {
		s := strings.Repeat("9f", n/2)
		b.Run(fmt.Sprintf("xxhash/bytes=%d", n), func(b *testing.B) {
			none := placementKey{}
			for b.Loop() {
				none.hash(s)
			}
		})
		b.Run(fmt.Sprintf("siphash/bytes=%d", n), func(b *testing.B) {
			for b.Loop() {
				key.hash(s)
			}
		})
	}
}

func TestOnlyNodesThatShareASecretAdmitEachOther(t *testing.T) {
	keysOf := func(secrets ...string) placementKeys {
		c := Config{Cluster: "c"}
		for i, s := range secrets {
			if i == 0 {
				c.Secret = []byte(s)
			} else {
				c.AcceptSecrets = append(c.AcceptSecrets, []byte(s))
			}
		}
		keys, err := c.placementKeys()
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	for _, c := range []struct {
		here, there placementKeys
		ok          bool
	}{
		{keysOf(), keysOf(), true},
		{keysOf("a"), keysOf("a"), true},
		{keysOf("a"), keysOf(), false},
		{keysOf(), keysOf("a"), false},
		{keysOf("a"), keysOf("b"), false},
		{keysOf("a", "b"), keysOf("b", "a"), true},
		{keysOf("a", "b"), keysOf("b"), true},
		{keysOf("b"), keysOf("a", "b"), false},
	} {
		m := someMember
		m.PlacementKey = c.there.own()
		d := delegate{name: "self/1", keys: c.here, refused: newRefusals(slog.New(slog.DiscardHandler))}
		err := d.NotifyAlive(&memberlist.Node{Name: m.gossipName(), Meta: mustEncode(t, m)})
		if (err == nil) != c.ok || err != nil && !errors.Is(err, errSecret) {
			t.Errorf("%x lets %x in: %v, want %v", c.here.own(), c.there.own(), err, c.ok)
		}
	}
}
