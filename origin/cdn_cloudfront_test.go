package origin_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// rsaKey returns a key and its PEM in both of its forms.
func rsaKey(t *testing.T) (key *rsa.PrivateKey, pkcs1, pkcs8 []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// admits is CloudFront's side of a canned policy: it takes the three parameters
// off the URL, rebuilds the policy and verifies it.
func admits(key *rsa.PublicKey, url string, now time.Time) error {
	resource, query, found := strings.Cut(url, "?")
	parts := strings.Split(query, "&")
	if !found || len(parts) != 3 {
		return fmt.Errorf("%q has not the three parameters", url)
	}
	expires, ok1 := strings.CutPrefix(parts[0], "Expires=")
	signature, ok2 := strings.CutPrefix(parts[1], "Signature=")
	if id, ok3 := strings.CutPrefix(parts[2], "Key-Pair-Id="); !ok1 || !ok2 || !ok3 || id != "K2JCJMDEHXQW5F" {
		return fmt.Errorf("%q has other parameters", url)
	}
	epoch, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || now.Unix() >= epoch {
		return fmt.Errorf("expired at %s, %v", expires, err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "=", "~", "/").Replace(signature))
	if err != nil {
		return err
	}
	policy := fmt.Sprintf(`{"Statement":[{"Resource":"%s","Condition":{"DateLessThan":{"AWS:EpochTime":%d}}}]}`, resource, epoch)
	digest := sha1.Sum([]byte(policy))
	return rsa.VerifyPKCS1v15(key, crypto.SHA1, digest[:], raw)
}

const keyPairID = "K2JCJMDEHXQW5F"

func TestCloudFrontAdmitsSignedReads(t *testing.T) {
	t.Parallel()
	key, pkcs1, pkcs8 := rsaKey(t)
	for _, text := range [][]byte{pkcs1, pkcs8} {
		sign, err := origin.CloudFrontSigner(keyPairID, text)
		must(t, err)
		r := newCDNRig(t, func(cfg *origin.CDNConfig) { cfg.Signer, cfg.BaseURL = sign, cfg.BaseURL+"/a%20path" })
		r.edge.act(func(w http.ResponseWriter, q *http.Request, honest http.Handler) {
			if err := admits(&key.PublicKey, r.edge.url+q.RequestURI, time.Now()); err != nil {
				t.Error(err)
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			q.URL.Path, q.URL.RawPath = strings.TrimPrefix(q.URL.Path, "/a path"), ""
			honest.ServeHTTP(w, q)
		})
		k, body := r.verified(1, cdnSmall)
		r.wantRead(k, body, object.TierCDN)
		k, body = r.immutable(2, cdnLarge)
		r.wantRead(k, body, object.TierCDN)
	}
}

// OpenSSL is what Amazon's own documentation signs with.
func TestASignatureIsOpenSSLs(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	_, text, _ := rsaKey(t)
	file := filepath.Join(t.TempDir(), "key.pem")
	must(t, os.WriteFile(file, text, 0o600))
	sign, err := origin.CloudFrontSigner(keyPairID, text)
	must(t, err)
	const url = "https://d111111abcdef8.cloudfront.net/artifacts/sha256%3Aabc"
	now := time.Date(2026, 11, 24, 2, 3, 4, 5, time.UTC)
	got, err := sign(url, now)
	must(t, err)
	cmd := exec.Command(openssl, "dgst", "-sha1", "-sign", file)
	cmd.Stdin = strings.NewReader(`{"Statement":[{"Resource":"` + url + `","Condition":{"DateLessThan":{"AWS:EpochTime":1795486500}}}]}`)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	signature, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &complaints)
	}
	encoded := strings.NewReplacer("+", "-", "=", "_", "/", "~").Replace(base64.StdEncoding.EncodeToString(signature))
	if want := url + "?Expires=1795486500&Signature=" + encoded + "&Key-Pair-Id=" + keyPairID; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err = sign(url+"?a=b", now); err != nil || !strings.HasPrefix(got, url+"?a=b&Expires=") {
		t.Errorf("a URL with a query: %s, %v", got, err)
	}
	if got, err = sign(`https://x/"`, now); err == nil {
		t.Errorf("a URL that breaks the policy: %s", got)
	}
}

func TestASignatureIsUsedForMinutes(t *testing.T) {
	key, text, _ := rsaKey(t)
	sign, err := origin.CloudFrontSigner(keyPairID, text)
	must(t, err)
	start := time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
	var last string
	changes := 0
	for elapsed := time.Duration(0); elapsed < time.Hour; elapsed += 10 * time.Second {
		now := start.Add(elapsed)
		signed, err := sign("https://cdn.example/x", now)
		must(t, err)
		if signed == last {
			must(t, admits(&key.PublicKey, signed, now.Add(10*time.Minute-time.Second)))
		} else {
			changes, last = changes+1, signed
		}
	}
	if changes != 12 {
		t.Errorf("%d signatures in an hour, want 12", changes)
	}
	for _, now := range []time.Time{start, start.Add(time.Hour)} {
		if n := testing.AllocsPerRun(10, func() { sign("https://cdn.example/x", now) }); n > 1 {
			t.Errorf("%.0f allocations: the URL was signed again", n)
		}
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 70 {
				url := "https://cdn.example/" + strconv.Itoa(i*70+j)
				signed, err := sign(url, start)
				if err == nil && !strings.HasPrefix(signed, url+"?") {
					err = errors.New(signed)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestAKeyThatCannotSignIsRefused(t *testing.T) {
	t.Parallel()
	_, good, _ := rsaKey(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(curve)
	must(t, err)
	for want, c := range map[string]struct {
		id  string
		pem []byte
	}{
		"not PEM":             {keyPairID, []byte("hello")},
		"neither PKCS":        {keyPairID, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})},
		"no RSA key":          {keyPairID, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})},
		`ID "" is not one`:    {"", good},
		`ID "a&b" is not one`: {"a&b", good},
	} {
		if _, err := origin.CloudFrontSigner(c.id, c.pem); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestAFailingSignerSendsReadsUpstream(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t, func(cfg *origin.CDNConfig) {
		cfg.Signer = func(string, time.Time) (string, error) { return "", errors.New("no key today") }
	})
	key, body := r.verified(1, cdnSmall)
	r.wantRead(key, body, object.TierOrigin)
	r.wantMisses(origin.CDNUnsigned, 1)
	if r.edge.asked.Load() != 0 {
		t.Error("the CDN was asked without a signature")
	}
}
