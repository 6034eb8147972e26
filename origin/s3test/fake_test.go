package s3test_test

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// storeConfig is what a Store over a server needs.
func storeConfig(t testing.TB, server *s3test.Server) origin.S3Config {
	return origin.S3Config{
		Bucket: server.Bucket, Region: server.Region, Endpoint: server.Endpoint, PathStyle: true,
		AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
		PartSize: 5 << 20, SpoolDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func openStore(t testing.TB, cfg origin.S3Config) *origin.S3 {
	t.Helper()
	s, err := origin.OpenS3(t.Context(), cfg)
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

func TestAFakeIsAnAuthority(t *testing.T) {
	for name, c := range map[string]struct {
		options   []s3test.FakeOption
		checksums string
	}{
		"http":             {},
		"http, checksums":  {checksums: origin.ChecksumsWhenSupported},
		"https, checksums": {options: []s3test.FakeOption{s3test.FakeTLS()}, checksums: origin.ChecksumsWhenSupported},
		"https, all quirks": {options: []s3test.FakeOption{
			s3test.FakeTLS(), s3test.FakeQuirks(s3test.QuirkR2, s3test.QuirkB2, s3test.QuirkNoURLEncoding),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := s3test.NewFake(t, c.options...)
			t.Setenv("AWS_CA_BUNDLE", fake.CAFile)
			objecttest.Test(t, func(t *testing.T) object.Store {
				cfg := storeConfig(t, fake.Server)
				cfg.Bucket, cfg.Checksums = fake.NewBucket(t), c.checksums
				return openStore(t, cfg)
			})
		})
	}
}

// What was tested above must have come the ways that were meant.
func TestBodiesComeAsTheClientWasTold(t *testing.T) {
	for name, c := range map[string]struct {
		options   []s3test.FakeOption
		checksums string
		want      string
	}{
		"http":             {nil, "", ""}, // the hash of the body
		"https":            {[]s3test.FakeOption{s3test.FakeTLS()}, "", "UNSIGNED-PAYLOAD"},
		"https, checksums": {[]s3test.FakeOption{s3test.FakeTLS()}, origin.ChecksumsWhenSupported, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := s3test.NewFake(t, c.options...)
			t.Setenv("AWS_CA_BUNDLE", fake.CAFile)
			cfg := storeConfig(t, fake.Server)
			cfg.Checksums = c.checksums
			s := openStore(t, cfg)
			body := []byte("some bytes")
			if _, err := s.Put(t.Context(), "a", object.BytesSource(body), object.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == "" {
				want = hexSum(body)
			}
			for _, r := range fake.Requests() {
				if got := r.Header.Get("X-Amz-Content-Sha256"); r.Method == http.MethodPut && got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
			if got, _, _ := fake.Object("a"); string(got) != string(body) {
				t.Errorf("stored %q", got)
			}
		})
	}
}

func TestQuirksRefuseWhatTheProvidersRefuse(t *testing.T) {
	t.Run("R2", func(t *testing.T) {
		fake := s3test.NewFake(t, s3test.FakeTLS(), s3test.FakeQuirks(s3test.QuirkR2))
		t.Setenv("AWS_CA_BUNDLE", fake.CAFile)
		cfg := storeConfig(t, fake.Server)
		cfg.Checksums = origin.ChecksumsWhenSupported
		_, err := openStore(t, cfg).Put(t.Context(), "a", object.BytesSource([]byte("x")), object.PutOptions{})
		if got := outcome(err); got != "501 NotImplemented" {
			t.Error(got)
		}
		if names := fake.Names(); len(names) != 0 {
			t.Errorf("stored %q", names)
		}
	})
	t.Run("B2", func(t *testing.T) {
		fake := s3test.NewFake(t, s3test.FakeQuirks(s3test.QuirkB2))
		fake.PutObject("a", []byte("abc"), nil)
		k := &talk{t, fake.Client(), &fake.Bucket}
		if got := k.put("b", "x", func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 }); got != "400 InvalidArgument" {
			t.Errorf("put: %s", got)
		}
		if got := k.get("a", func(in *s3.GetObjectInput) { in.ChecksumMode = types.ChecksumModeEnabled }); got != "400 InvalidArgument" {
			t.Errorf("get: %s", got)
		}
		if got := k.get("a"); got != wholeA {
			t.Errorf("get without checksum: %s", got)
		}
	})
}
