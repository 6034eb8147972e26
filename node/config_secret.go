package node

import "strings"

// minClusterSecret is the least length of a cluster secret in bytes. Whoever
// records a packet can try guesses for as long as they like, so the secret must
// not be guessable: 32 hexadecimal digits are 128 bits.
const minClusterSecret = 32

// ClusterSecrets returns the secrets that ClusterSecret lists, one on each line
// without the white space around it: the first is the one to use, all are to be
// accepted. It is empty if there is none. The caller may keep and change the
// slices, and prints them nowhere.
func (c Config) ClusterSecrets() [][]byte {
	var secrets [][]byte
	for line := range strings.Lines(string(c.ClusterSecret)) {
		if line = strings.TrimSpace(line); line != "" {
			secrets = append(secrets, []byte(line))
		}
	}
	return secrets
}

// currentSecret returns the secret to use, nil if there is none.
func (c Config) currentSecret() []byte {
	if secrets := c.ClusterSecrets(); len(secrets) > 0 {
		return secrets[0]
	}
	return nil
}

// clusterSecret checks the cluster secret. It never repeats any of it.
func (v *validator) clusterSecret() {
	secrets := v.ClusterSecrets()
	if len(secrets) == 0 && v.ClusterSecret != "" {
		v.fault("cluster-secret", "there is nothing but white space: write the secret, or leave the setting out")
	}
	for i, s := range secrets {
		if len(s) < minClusterSecret {
			v.fault("cluster-secret", "secret %d of %d has %d characters, which can be guessed: write at least %d, for example what \"openssl rand -hex 32\" prints",
				i+1, len(secrets), len(s), minClusterSecret)
		}
	}
}
