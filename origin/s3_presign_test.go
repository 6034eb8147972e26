package origin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
)

// openOffline opens a bucket that no test contacts.
func openOffline(t *testing.T, edit func(*S3Config)) *S3 {
	t.Helper()
	cfg := S3Config{Bucket: "objects", Region: "eu-west-1", AccessKeyID: "AKID", SecretAccessKey: "secret"}
	if edit != nil {
		edit(&cfg)
	}
	s, err := OpenS3(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// presignature computes the signature of a presigned URL that signs the host
// alone, from "Authenticating Requests: Using Query Parameters" of S3's API
// reference and without the SDK.
func presignature(method string, u *url.URL, secret string) string {
	query := u.Query()
	query.Del("X-Amz-Signature")
	canonical := strings.Join([]string{
		method, u.EscapedPath(), strings.ReplaceAll(query.Encode(), "+", "%20"),
		"host:" + u.Host, "", "host", "UNSIGNED-PAYLOAD",
	}, "\n")
	_, scope, _ := strings.Cut(query.Get("X-Amz-Credential"), "/")
	digest := sha256.Sum256([]byte(canonical))
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", query.Get("X-Amz-Date"), scope, hex.EncodeToString(digest[:])}, "\n")
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, toSign))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func TestAPresignedURLSaysWhatItIsForAndIsSignedAsS3Wants(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, key string
		edit              func(*S3Config)
		wantHost, want    string
	}{
		{"AWS", http.MethodGet, "a/b c+d:é", nil, "objects.s3.eu-west-1.amazonaws.com", "/a/b c+d:é"},
		{"a service and a prefix", http.MethodPut, "x", func(c *S3Config) {
			c.Endpoint, c.PathStyle, c.Prefix = "https://s3.example.com/base", true, "team/"
		}, "s3.example.com", "/base/objects/team/x"},
		{"with checksums", http.MethodPut, "x", func(c *S3Config) { c.Checksums = ChecksumsWhenSupported },
			"objects.s3.eu-west-1.amazonaws.com", "/x"},
		{"encrypted", http.MethodPut, "x", func(c *S3Config) { c.SSE = "aws:kms" }, "objects.s3.eu-west-1.amazonaws.com", "/x"},
		{"with temporary credentials", http.MethodGet, "x", func(c *S3Config) { c.SessionToken = "to/k=n" },
			"objects.s3.eu-west-1.amazonaws.com", "/x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := openOffline(t, tt.edit)
			raw, err := s.Presign(t.Context(), tt.method, object.Key(tt.key), 20*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if u.Scheme != "https" || u.Host != tt.wantHost || u.Path != tt.want {
				t.Errorf("got %s, want it at %s%s", raw, tt.wantHost, tt.want)
			}
			query := u.Query()
			if query.Get("X-Amz-Expires") != "1200" || query.Get("X-Amz-SignedHeaders") != "host" ||
				query.Get("X-Amz-Security-Token") != s.cfg.SessionToken {
				t.Errorf("got %s", raw)
			}
			if got, want := query.Get("X-Amz-Signature"), presignature(tt.method, u, "secret"); got != want {
				t.Errorf("signed %s, want %s: %s", got, want, raw)
			}
			if strings.Contains(strings.ToLower(raw), "checksum") || strings.Contains(raw, "secret") {
				t.Errorf("got %s", raw)
			}
		})
	}
}

func TestWhatCannotBePresignedIsRefused(t *testing.T) {
	t.Parallel()
	s := openOffline(t, func(c *S3Config) { c.Prefix = strings.Repeat("p", 1000) + "/" })
	for _, tt := range []struct {
		method  string
		key     object.Key
		expires time.Duration
		want    string
		is      error
	}{
		{http.MethodDelete, "x", time.Minute, "neither GET nor PUT", nil},
		{"get", "x", time.Minute, "neither GET nor PUT", nil},
		{http.MethodGet, "x", 0, "is not from 1s to 168h0m0s", nil},
		{http.MethodGet, "x", -time.Minute, "is not from 1s", nil},
		{http.MethodGet, "x", MaxPresignExpires + 1, "is not from 1s", nil},
		{http.MethodGet, "a//b", time.Minute, "empty segment", object.ErrInvalidKey},
		{http.MethodPut, object.Key(strings.Repeat("k", 24)), time.Minute, "1025 bytes", object.ErrInvalidKey},
		{http.MethodPut, internalPrefix + "x", time.Minute, "belong to the cluster", object.ErrInvalidKey},
	} {
		got, err := s.Presign(t.Context(), tt.method, tt.key, tt.expires)
		if got != "" || err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s %s for %v: got %q, %v, want an error: %s", tt.method, tt.key, tt.expires, got, err, tt.want)
		}
	}
	if _, err := s.Presign(t.Context(), http.MethodGet, "x", MaxPresignExpires); err != nil {
		t.Errorf("a week: %v", err)
	}
}

// A shell that talks to this very cluster has it in AWS_ENDPOINT_URL, which the
// SDK reads by itself: a node that took it for its origin would call itself.
func TestTheEndpointInTheEnvironmentIsNotTheOrigin(t *testing.T) {
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "http://127.0.0.1:8080")
			got, err := openOffline(t, nil).Presign(t.Context(), http.MethodGet, "x", time.Minute)
			if err != nil || !strings.HasPrefix(got, "https://objects.s3.eu-west-1.amazonaws.com/x?") {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}
