package s3test_test

import (
	"log/slog"
	"testing"

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
		"https":            {options: []s3test.FakeOption{s3test.FakeTLS()}},
		"https, checksums": {options: []s3test.FakeOption{s3test.FakeTLS()}, checksums: origin.ChecksumsWhenSupported},
		"like R2":          {options: []s3test.FakeOption{s3test.FakeTLS(), s3test.FakeQuirks(s3test.QuirkR2)}},
		"like B2":          {options: []s3test.FakeOption{s3test.FakeTLS(), s3test.FakeQuirks(s3test.QuirkB2)}},
		"no URL encoding":  {options: []s3test.FakeOption{s3test.FakeQuirks(s3test.QuirkNoURLEncoding)}},
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
