package node

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin/s3test"
)

// signingKey returns a key by which URLs for a CDN are signed.
func signingKey(t *testing.T) Secret {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return Secret(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// askCDN reads through each node what only the CDN is asked for, with a signed URL.
func askCDN(t *testing.T, server *s3test.Server, nodes []*running, said []*scribe, name string) {
	t.Helper()
	past := openPast(t, server)
	for i, n := range nodes {
		body := []byte("content of " + n.ID())
		key := object.Key(fmt.Sprintf("builds/%s/cas/%x", name, sha256.Sum256(body)))
		if _, err := past.Put(t.Context(), key, object.BytesSource(body), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		want(t, n, key, body)
		owner, _ := n.ring.View().Owner(string(key))
		for j, other := range nodes {
			if other.ID() == owner.ID {
				said[j].await(t, "not from the CDN", "key", nodes[i].shown(key))
			}
		}
	}
}

// At the level debug, with an origin that refuses, that is gone, and that does not
// know the credentials, with a CDN that is dead, and with clients that sign their
// requests, no line of any node names a secret, a signature or a private key.
func TestNoLineTellsASecretOrAPrivateKey(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t)
	const (
		secret = "a secret that the nodes share, of 32 characters and more"
		name   = "hush-hush"
	)
	cdnKey := signingKey(t)
	g := newGate(t, server)
	var unsigned atomic.Bool
	g.change = func(r *http.Request) {
		if unsigned.Load() {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=", "Signature=0", 1))
		}
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	nodes, said := startSaying(t, 2, over(server, g.URL), func(c *Config) {
		c.ClusterSecret, c.AccessLogRate = secret, 100000
		c.PrivateKeys = []string{"sessions/**", "cache/private/**", "**/hush-hush/**"}
		c.CDN.BaseURL, c.CDN.AllowPrivate, c.CDN.KeyID, c.CDN.PrivateKey = "http://"+gone.Addr().String(), true, "K2JCJMDEHXQW5F", cdnKey
	})
	client := newClient(t)
	keys := []object.Key{
		ownedBy(t, nodes, 0, "sessions/%d "+name), ownedBy(t, nodes, 1, "sessions/%d\""+name+"\""),
		ownedBy(t, nodes, 0, "cache/private/sha256:%d/"+name), ownedBy(t, nodes, 1, "cache/private/sha256:%d/"+name+"?"),
	}
	all := func() {
		for _, n := range nodes {
			for _, key := range keys {
				for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodHead, http.MethodDelete} {
					// Whatever the answer is, it is what is said of it that counts.
					_, _, _ = dialect(t.Context(), client, n, method, string(key), strings.NewReader("content"),
						"Authorization", "AWS4-HMAC-SHA256 Credential=AKIACLIENT/20261128/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=feedc0de",
						"X-Amz-Security-Token", "client-token")
				}
			}
			for _, target := range []string{
				"/sessions/" + name + "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=feedc0de",
				"?list-type=2&prefix=sessions/" + name + "/", "?list-type=2&start-after=sessions/" + name,
			} {
				if resp, err := client.Get("http://" + n.Addr() + "/micelio" + target); err == nil {
					resp.Body.Close()
				}
			}
		}
	}
	all()
	askCDN(t, server, nodes, said, name)
	for _, fault := range []*atomic.Bool{&unsigned, &g.breaking, &g.refusing} {
		fault.Store(true)
		all()
		fault.Store(false)
	}
	for i, s := range said {
		text := s.said()
		for what, secret := range map[string]string{
			"a private key": name, "the secret of the cluster": secret[:20], "the secret of the bucket": server.SecretKey,
			"a signature": "feedc0de", "a client's key id": "AKIACLIENT", "a client's token": "client-token",
			"an Authorization": "AWS4-HMAC", "a signed URL": "Signature=", "a private key of the CDN": string(cdnKey[100:140]),
		} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("node %d tells %s: …%s…", i, what, text[max(0, at-200):min(len(text), at+100)])
			}
		}
		for _, key := range keys {
			if !strings.Contains(text, nodes[i].shown(key)) {
				t.Errorf("node %d says nothing of %s", i, nodes[i].shown(key))
			}
		}
	}
}
