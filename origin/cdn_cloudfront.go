package origin

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// signWindow is how long one signature of a URL is used. Within it the same
	// URL is asked with the same query, and the costly RSA operation is saved.
	signWindow = 5 * time.Minute

	// signMargin is how long a signature is good beyond its window, for clocks
	// that differ. CloudFront tests it when a download begins.
	signMargin = 10 * time.Minute

	// maxSigned bounds the signatures that are kept: some 2 MiB of long URLs.
	maxSigned = 512
)

// CloudFrontSigner returns a [CDNConfig].Signer for a distribution of Amazon
// CloudFront that wants signed URLs with a canned policy. keyPairID is the ID of
// the public key there, privateKey the RSA key as PEM, in PKCS #1 or PKCS #8.
// The signature is RSA with SHA-1, because CloudFront takes no other without a
// policy that says so ("Create a signed URL using a canned policy", Amazon
// CloudFront Developer Guide). A URL is signed once for five minutes, and the
// signature is good for ten to fifteen.
func CloudFrontSigner(keyPairID string, privateKey []byte) (func(url string, now time.Time) (string, error), error) {
	key, err := parseRSAKey(privateKey)
	if err != nil {
		return nil, fmt.Errorf("origin: CloudFront's private key: %w", err)
	}
	if keyPairID == "" || strings.Trim(keyPairID, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return nil, fmt.Errorf("origin: CloudFront's key pair ID %q is not one: it consists of letters and digits", keyPairID)
	}
	s := &cloudFront{keyPairID: keyPairID, key: key, signed: make(map[string]string)}
	return s.sign, nil
}

func parseRSAKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is neither PKCS #1 nor PKCS #8")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is no RSA key but a %T", parsed)
	}
	return key, nil
}

type cloudFront struct {
	keyPairID string
	key       *rsa.PrivateKey

	mu     sync.Mutex // guards the following
	window time.Time  // in which signed were made
	signed map[string]string
}

func (s *cloudFront) sign(url string, now time.Time) (string, error) {
	window := now.Truncate(signWindow)
	s.mu.Lock()
	signed, found := "", false
	if window.Equal(s.window) {
		signed, found = s.signed[url]
	}
	s.mu.Unlock()
	if found {
		return signed, nil
	}
	signed, err := s.query(url, window.Add(signWindow+signMargin))
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !window.Equal(s.window) || len(s.signed) >= maxSigned {
		clear(s.signed)
		s.window = window
	}
	s.signed[url] = signed
	return signed, nil
}

// query appends the signature of a canned policy to url.
func (s *cloudFront) query(url string, expires time.Time) (string, error) {
	if strings.ContainsAny(url, `"\`) {
		return "", errors.New("origin: a URL that is to be signed must be encoded")
	}
	epoch := strconv.FormatInt(expires.Unix(), 10)
	digest := sha1.Sum([]byte(`{"Statement":[{"Resource":"` + url + `","Condition":{"DateLessThan":{"AWS:EpochTime":` + epoch + `}}}]}`))
	signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA1, digest[:])
	if err != nil {
		return "", fmt.Errorf("origin: sign for CloudFront: %w", err)
	}
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	return url + separator + "Expires=" + epoch + "&Signature=" + cloudFrontBase64(signature) + "&Key-Pair-Id=" + s.keyPairID, nil
}

// cloudFrontBase64 is base64 with CloudFront's own three characters that a
// query can carry.
func cloudFrontBase64(b []byte) string {
	return strings.NewReplacer("+", "-", "=", "_", "/", "~").Replace(base64.StdEncoding.EncodeToString(b))
}
