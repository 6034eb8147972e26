package node

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/origin"
)

// s3Config is a complete configuration of an S3 origin.
func s3Config() Config {
	c := DefaultConfig()
	c.S3.Bucket, c.S3.AccessKeyID, c.S3.SecretAccessKey = "objects", "id", "key"
	return c
}

// privateKey returns a key as CloudFront takes it.
func privateKey(t *testing.T) Secret {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return Secret(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func TestAnEndpointDecidesRegionAndURLStyle(t *testing.T) {
	for _, tt := range []struct{ endpoint, region, style, wantEndpoint, wantRegion, wantStyle string }{
		{"", "", "", "", "us-east-1", URLStyleVirtual},
		{"", "eu-west-1", "", "", "eu-west-1", URLStyleVirtual},
		{"http://localhost:9000", "", "", "http://localhost:9000", "us-east-1", URLStylePath},
		{"localhost:9000", "", "", "https://localhost:9000", "us-east-1", URLStylePath},
		{"https://s3.example.com", "", URLStyleVirtual, "https://s3.example.com", "us-east-1", URLStyleVirtual},
		{"https://1f.r2.cloudflarestorage.com", "", "", "https://1f.r2.cloudflarestorage.com", "auto", URLStylePath},
		{"1f.eu.R2.CloudflareStorage.com:443", "", "", "https://1f.eu.R2.CloudflareStorage.com:443", "auto", URLStylePath},
		{"https://1f.r2.cloudflarestorage.com", "weur", "", "https://1f.r2.cloudflarestorage.com", "weur", URLStylePath},
		{"https://example.com/1f.r2.cloudflarestorage.com", "", "", "https://example.com/1f.r2.cloudflarestorage.com", "us-east-1", URLStylePath},
	} {
		c := DefaultConfig()
		c.S3.Endpoint, c.S3.Region, c.S3.URLStyle = tt.endpoint, tt.region, tt.style
		got := c.Resolved().S3
		if got.Endpoint != tt.wantEndpoint || got.Region != tt.wantRegion || got.URLStyle != tt.wantStyle {
			t.Errorf("endpoint %q, region %q, style %q: got %q, %q, %q, want %q, %q, %q", tt.endpoint, tt.region, tt.style,
				got.Endpoint, got.Region, got.URLStyle, tt.wantEndpoint, tt.wantRegion, tt.wantStyle)
		}
	}
}

func TestEachFaultOfS3AndCDNNamesItsSetting(t *testing.T) {
	const https, http = "https://s3.example.com", "http://s3.example.com"
	key := privateKey(t)
	for _, tt := range []struct {
		setting, problem string
		edit             func(*Config)
	}{
		{"s3-bucket", "is not a bucket name", func(c *Config) { c.S3.Bucket = "x" }},
		{"s3-prefix", "ends in a slash", func(c *Config) { c.S3.Prefix = "team" }},
		{"s3-prefix", "ends in a slash", func(c *Config) { c.S3.Prefix = "/" }},
		{"s3-prefix", "ends in a slash", func(c *Config) { c.S3.Prefix = "/team/" }},
		{"s3-prefix", "ends in a slash", func(c *Config) { c.S3.Prefix = "team//" }},
		{"s3-prefix", "ends in a slash", func(c *Config) { c.S3.Prefix = "../" }},
		{"s3-url-style", "use virtual or path", func(c *Config) { c.S3.URLStyle = "host" }},
		{"s3-endpoint", "not a URL of http or https", func(c *Config) { c.S3.Endpoint = "ftp://example.com" }},
		{"s3-endpoint", "not a URL of http or https", func(c *Config) { c.S3.Endpoint = "https://" }},
		{"s3-endpoint", "not a URL of http or https", func(c *Config) { c.S3.Endpoint = "https://:9000" }},
		{"s3-endpoint", "user name", func(c *Config) { c.S3.Endpoint = "https://me@s3.example.com" }},
		{"s3-endpoint", "query or fragment", func(c *Config) { c.S3.Endpoint = https + "?" }},
		{"s3-endpoint", "query or fragment", func(c *Config) { c.S3.Endpoint = https + "/#a" }},
		{"s3-endpoint", "--s3-allow-http", func(c *Config) { c.S3.Endpoint = http }},
		{"s3-endpoint", "--s3-allow-http", func(c *Config) { c.S3.Endpoint = "http://10.0.0.1:9000" }},
		{"s3-endpoint", "--s3-allow-http", func(c *Config) { c.S3.Endpoint = "HTTP://minio:9000" }},
		{"s3-region", `"auto" is no region of AWS`, func(c *Config) { c.S3.Region = "auto" }},
		{"s3-checksums", "use auto, when_required or when_supported", func(c *Config) { c.S3.Checksums = "" }},
		{"s3-sse", "use AES256, aws:kms or aws:kms:dsse", func(c *Config) { c.S3.SSE = "aes256" }},
		{"s3-sse-kms-key-id", "set --s3-sse to one of them", func(c *Config) { c.S3.SSEKMSKeyID = "arn:k" }},
		{"s3-sse-kms-key-id", "set --s3-sse to one of them", func(c *Config) { c.S3.SSE, c.S3.SSEKMSKeyID = "AES256", "arn:k" }},
		{"s3-timeout", "leaves no time", func(c *Config) { c.S3.Timeout = 0 }},
		{"s3-concurrency", "admits no request", func(c *Config) { c.S3.Concurrency = 0 }},
		{"s3-parallel", "moves no part", func(c *Config) { c.S3.Parallel = -1 }},
		{"s3-part-size", "5MiB to 5GiB", func(c *Config) { c.S3.PartSize = minS3PartSize - 1 }},
		{"s3-part-size", "5MiB to 5GiB", func(c *Config) { c.S3.PartSize = maxS3PartSize + 1 }},
		{"s3-memory-bytes", "holds no part", func(c *Config) { c.S3.MemoryBytes = c.S3.PartSize - 1 }},
		{"max-object-bytes", "raise --s3-part-size to 8388609", func(c *Config) { c.MaxObjectBytes = 10_000*c.S3.PartSize + 1 }},
		{"cdn-base-url", "not a URL of http or https", func(c *Config) { c.CDN.BaseURL = "cdn.example.com" }},
		{"cdn-base-url", "--cdn-allow-http", func(c *Config) { c.CDN.BaseURL = "http://cdn.example.com" }},
		{"cdn-base-url", "--cdn-allow-http", func(c *Config) { c.CDN.BaseURL = "http://10.0.0.1" }},
		{"cdn-timeout", "leaves no time", func(c *Config) { c.CDN.Timeout = 0 }},
		{"cdn-key-id", "--cdn-private-key-file", func(c *Config) { c.CDN.KeyID = "K1" }},
		{"cdn-private-key", "--cdn-key-id", func(c *Config) { c.CDN.PrivateKey = key }},
		{"cdn-private-key", "it is not PEM", func(c *Config) { c.CDN.KeyID, c.CDN.PrivateKey = "K1", "/etc/key.pem" }},
		{"cdn-private-key", `"K 1" is not one`, func(c *Config) { c.CDN.KeyID, c.CDN.PrivateKey = "K 1", key }},
	} {
		c := s3Config()
		tt.edit(&c)
		got := faults(t, c)
		if len(got) != 1 || got[0].Setting != tt.setting || !strings.Contains(got[0].Problem, tt.problem) {
			t.Errorf("got %v, want only %s: …%s…", got, tt.setting, tt.problem)
		}
	}
}

func TestWhatS3AndCDNCanDoIsAccepted(t *testing.T) {
	key := privateKey(t)
	for name, edit := range map[string]func(*Config){
		"nothing but a bucket": func(c *Config) { c.S3.AccessKeyID, c.S3.SecretAccessKey = "", "" },
		"temporary":            func(c *Config) { c.S3.SessionToken = "t" },
		"a prefix":             func(c *Config) { c.S3.Prefix = "team/a b/" },
		"a path":               func(c *Config) { c.S3.Endpoint = "https://gateway.example.com/s3" },
		"R2":                   func(c *Config) { c.S3.Endpoint = "1f.r2.cloudflarestorage.com" },
		"auto elsewhere":       func(c *Config) { c.S3.Region, c.S3.Endpoint = "auto", "https://s3.example.com" },
		"this machine":         func(c *Config) { c.S3.Endpoint = "http://localhost:9000" },
		"this machine's IPv6":  func(c *Config) { c.S3.Endpoint = "http://[::1]:9000" },
		"plain http":           func(c *Config) { c.S3.Endpoint, c.S3.AllowHTTP = "http://minio:9000", true },
		"unused plain http":    func(c *Config) { c.S3.Endpoint, c.OriginBackend = "http://minio:9000", BackendLocal },
		"KMS":                  func(c *Config) { c.S3.SSE, c.S3.SSEKMSKeyID = "aws:kms:dsse", "arn:k" },
		"the account's key":    func(c *Config) { c.S3.SSE = "aws:kms" },
		"the smallest part":    func(c *Config) { c.S3.PartSize, c.S3.MemoryBytes = minS3PartSize, minS3PartSize },
		"all parts":            func(c *Config) { c.MaxObjectBytes = 10_000 * c.S3.PartSize },
		"a CDN":                func(c *Config) { c.CDN.BaseURL = "https://cdn.example.com/m" },
		"a CDN over a folder":  func(c *Config) { c.OriginBackend, c.CDN.BaseURL = BackendLocal, "https://cdn.example.com/m" },
		"an unused CDN":        func(c *Config) { c.Backend, c.CDN.BaseURL = BackendS3, "http://cdn.example.com/m" },
		"a CDN of plain http":  func(c *Config) { c.CDN.BaseURL, c.CDN.AllowHTTP = "http://cdn.example.com/m", true },
		"a CDN of one's own":   func(c *Config) { c.CDN.BaseURL = "http://127.0.0.1:8000" },
		"a signed CDN": func(c *Config) {
			c.CDN.BaseURL, c.CDN.KeyID, c.CDN.PrivateKey = "https://cdn.example.com", "K1", key
		},
	} {
		c := s3Config()
		edit(&c)
		if got := faults(t, c); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWhatIsMissingForS3IsSaidInTheSeedsWords(t *testing.T) {
	const bucket, credentials = "Missing S3 bucket: set S3_BUCKET ", "Missing S3 credentials: there is "
	for _, tt := range []struct {
		name string
		want []string
		edit func(*Config)
	}{
		{"complete", nil, func(*Config) {}},
		{"no bucket", []string{bucket}, func(c *Config) { c.Backend, c.S3.Bucket = BackendS3, "" }},
		{"no key", []string{credentials + "S3_ACCESS_KEY_ID (--s3-access-key-id) without S3_SECRET_ACCESS_KEY"},
			func(c *Config) { c.S3.SecretAccessKey = "" }},
		{"no id", []string{credentials + "S3_SECRET_ACCESS_KEY (--s3-secret-access-key) without S3_ACCESS_KEY_ID"},
			func(c *Config) { c.S3.AccessKeyID = "" }},
		{"half of three", []string{credentials + "S3_ACCESS_KEY_ID"},
			func(c *Config) { c.S3.SecretAccessKey, c.S3.SessionToken = "", "t" }},
		{"a token alone", []string{credentials + "S3_SESSION_TOKEN"},
			func(c *Config) { c.S3.AccessKeyID, c.S3.SecretAccessKey, c.S3.SessionToken = "", "", "t" }},
		{"half, and no bucket", []string{bucket, credentials},
			func(c *Config) { c.Backend, c.S3.Bucket, c.S3.AccessKeyID = BackendS3, "", "" }},
		{"half, unused", nil, func(c *Config) { c.OriginBackend, c.S3.AccessKeyID = BackendLocal, "" }},
	} {
		c := s3Config()
		tt.edit(&c)
		got := faults(t, c)
		if len(got) != len(tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, got, tt.want)
			continue
		}
		for i, want := range tt.want {
			if !strings.HasPrefix(got[i].Problem, want) {
				t.Errorf("%s: got %q, want %q", tt.name, got[i], want)
			}
		}
	}
}

func TestTheBucketCanBeCheckedAlone(t *testing.T) {
	c := s3Config()
	c.Env, c.Listen, c.OriginBackend = "prod", "nowhere", BackendLocal
	if err := c.ValidateS3(); err != nil {
		t.Errorf("got %v about a good bucket", err)
	}
	c.S3.SecretAccessKey, c.S3.Region, c.S3.Prefix, c.S3.Bucket = "", "auto", "/", ""
	err := c.ValidateS3()
	for _, want := range []string{"Missing S3 bucket", "Missing S3 credentials", "s3-prefix: ", "s3-region: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if e, ok := errors.AsType[*SettingError](err); !ok {
		t.Errorf("%v is no %T", err, e)
	}
}

func TestAURLWithASecretIsRefusedAndNotRepeated(t *testing.T) {
	for _, raw := range []string{"https://user:" + planted + "@example.com", "https://u:" + planted + " @exa mple.com", "https://example.com/?k=" + planted} {
		c := DefaultConfig()
		c.Backend, c.S3.Endpoint, c.CDN.BaseURL = BackendLocal, raw, raw
		got := faults(t, c)
		if len(got) != 2 || strings.Contains(fmt.Sprint(got), planted) {
			t.Errorf("%s: got %v", raw, got)
		}
	}
}

func TestTheOriginGetsEverySettingOfS3(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	c := DefaultConfig()
	c.DataDir = "/d"
	c.S3 = S3Config{
		Bucket: "b", Prefix: "p/", Region: "r", Endpoint: "e", URLStyle: URLStylePath, AllowHTTP: true, Checksums: "c",
		AccessKeyID: "id", SecretAccessKey: "key", SessionToken: "token", DisableIMDS: true, SSE: "sse", SSEKMSKeyID: "kms",
		Timeout: time.Minute, Concurrency: 1, PartSize: 2, Parallel: 3, MemoryBytes: 4,
	}
	got := c.S3Origin(log)
	want := origin.S3Config{
		Bucket: "b", Prefix: "p/", Region: "r", Endpoint: "https://e", PathStyle: true, AllowHTTP: true, Checksums: "c",
		AccessKeyID: "id", SecretAccessKey: "key", SessionToken: "token", DisableIMDS: true, SSE: "sse", SSEKMSKeyID: "kms",
		Timeout: time.Minute, Concurrency: 1, PartSize: 2, Parallel: 3, Memory: 4,
		SpoolDir: filepath.FromSlash("/d/spool"), Log: log,
		Loop: "micelio-micelio",
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *slog.Logger) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for field, value := range reflect.ValueOf(got).Fields() {
		if value.IsZero() {
			t.Errorf("nothing sets %s", field.Name)
		}
	}
}

func TestTheCDNGetsEverySettingOfIt(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	c := DefaultConfig()
	c.CDN = CDNConfig{BaseURL: "https://cdn.example.com", Timeout: time.Minute, AllowPrivate: true, AllowHTTP: true, KeyID: "K1", PrivateKey: privateKey(t)}
	got, err := c.CDNTier(log)
	if err != nil || got.BaseURL != c.CDN.BaseURL || got.Timeout != time.Minute || !got.AllowPrivate || !got.AllowHTTP || got.Log != log {
		t.Fatalf("got %+v, %v", got, err)
	}
	signed, err := got.Signer("https://cdn.example.com/a", time.Now())
	if err != nil || !strings.Contains(signed, "Key-Pair-Id=K1") {
		t.Errorf("signed %s, %v", signed, err)
	}
	c.CDN.KeyID, c.CDN.PrivateKey = "", ""
	if got, err = c.CDNTier(log); err != nil || got.Signer != nil {
		t.Errorf("without a key: a signer %v, %v", got.Signer != nil, err)
	}
}
