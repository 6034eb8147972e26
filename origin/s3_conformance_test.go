package origin_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// s3Config is what a client of a test's server needs. The parts are as small as
// S3 allows, so that objects of a test's size have several.
func s3Config(t testing.TB, server *s3test.Server) origin.S3Config {
	return origin.S3Config{
		Bucket: server.Bucket, Region: server.Region, Endpoint: server.Endpoint, PathStyle: true,
		AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
		PartSize: 5 << 20, SpoolDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// openS3 opens a bucket until the test ends.
func openS3(t testing.TB, cfg origin.S3Config) *origin.S3 {
	t.Helper()
	s, err := origin.OpenS3(context.Background(), cfg)
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

func TestAnS3BucketIsAStore(t *testing.T) {
	for name, c := range map[string]struct {
		options []s3test.Option
		change  func(*origin.S3Config)
	}{
		"http":                {},
		"https":               {options: []s3test.Option{s3test.WithTLS()}},
		"http, checksums":     {change: func(c *origin.S3Config) { c.Checksums = origin.ChecksumsWhenSupported }},
		"https, checksums":    {options: []s3test.Option{s3test.WithTLS()}, change: func(c *origin.S3Config) { c.Checksums = origin.ChecksumsWhenSupported }},
		"a prefix":            {change: func(c *origin.S3Config) { c.Prefix = "clusters/one/" }},
		"no memory to spare":  {change: func(c *origin.S3Config) { c.Memory = 1 }},
		"one request at once": {change: func(c *origin.S3Config) { c.Concurrency, c.Parallel = 1, 1 }},
		"encrypted":           {change: func(c *origin.S3Config) { c.SSE = "AES256" }},
	} {
		t.Run(name, func(t *testing.T) {
			server := s3test.VersityGW(t, c.options...)
			if server.CAFile != "" {
				t.Setenv("AWS_CA_BUNDLE", server.CAFile)
			}
			objecttest.TestFileTree(t, func(t *testing.T) object.Store {
				cfg := s3Config(t, server)
				cfg.Bucket = server.NewBucket(t)
				if c.change != nil {
					c.change(&cfg)
				}
				return openS3(t, cfg)
			})
		})
	}
}

func TestAGuardedS3BucketIsAStore(t *testing.T) {
	server := s3test.VersityGW(t)
	objecttest.TestFileTree(t, func(t *testing.T) object.Store {
		cfg := s3Config(t, server)
		cfg.Bucket = server.NewBucket(t)
		return origin.Guard(openS3(t, cfg), defaultClasses(t), true)
	})
}

// gofakes3 holds names that a tree of files cannot.
func TestAnS3BucketHoldsAnyName(t *testing.T) {
	server := s3test.GoFakeS3(t)
	objecttest.TestNames(t, func(t *testing.T) object.Store {
		cfg := s3Config(t, server)
		cfg.Bucket = server.NewBucket(t)
		return openS3(t, cfg)
	})
}

func TestAProbeFindsOutWhatABucketCanDo(t *testing.T) {
	strong := origin.Capabilities{ConditionalCreate: true, ConditionalReplace: true, ConditionalDelete: true, ReadAfterWrite: true} // versitygw does not look at versions in batches
	withoutDelete := strong
	withoutDelete.ConditionalDelete = false
	for name, c := range map[string]struct {
		start func(t testing.TB) *s3test.Server
		want  origin.Capabilities
	}{
		"versitygw": {func(t testing.TB) *s3test.Server { return s3test.VersityGW(t) }, strong},
		"gofakes3":  {s3test.GoFakeS3, withoutDelete},
	} {
		t.Run(name, func(t *testing.T) {
			s := openS3(t, s3Config(t, c.start(t)))
			if caps, known := s.Capabilities(); known {
				t.Errorf("before the probe: %+v", caps)
			}
			if caps, err := s.Probe(t.Context()); err != nil || caps != c.want || !caps.Strong() {
				t.Errorf("found %+v, %v; want %+v", caps, err, c.want)
			}
			if caps, known := s.Capabilities(); !known || caps != c.want {
				t.Errorf("kept %+v", caps)
			}
			wantNames(t, s, object.ListOptions{})
			wantErr(t, s.Delete(t.Context(), ".micelio-probe/x", object.DeleteOptions{}), object.ErrInvalidKey)
		})
	}
}
