package ring

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// gossipKeyInfo is what the gossip's keys are derived for: other uses of the
// same secret have other words here, so that no key is good for two.
const gossipKeyInfo = "micelio gossip key 1"

// gossipKeySize makes the gossip library use AES-256-GCM.
const gossipKeySize = 32

// keyring returns the keys that encrypt and authenticate all gossip, nil
// without a secret. The first is used to send and all are accepted.
func (c *Config) keyring() (*memberlist.Keyring, error) {
	if len(c.Secret) == 0 {
		if len(c.AcceptSecrets) > 0 {
			return nil, errors.New("there are secrets to accept, but none to use")
		}
		return nil, nil
	}
	ring, err := memberlist.NewKeyring(nil, nil)
	if err != nil {
		return nil, err
	}
	for i, secret := range append([][]byte{c.Secret}, c.AcceptSecrets...) {
		if len(secret) == 0 {
			return nil, fmt.Errorf("secret %d to accept is empty", i)
		}
		key, err := hkdf.Key(sha256.New, secret, []byte(c.Cluster), gossipKeyInfo, gossipKeySize)
		if err != nil {
			return nil, err
		}
		if err := ring.AddKey(key); err != nil { // the first becomes the primary
			return nil, err
		}
	}
	return ring, nil
}
