package judge_test

import (
	"errors"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

func openS3(t *testing.T, server *s3test.Server, bucket string, edits ...func(*origin.S3Config)) object.Store {
	t.Helper()
	cfg := origin.S3Config{
		Bucket: bucket, Region: server.Region, Endpoint: server.Endpoint, PathStyle: true,
		AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey, DisableIMDS: true,
	}
	for _, edit := range edits {
		edit(&cfg)
	}
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

func TestTheS3OriginPassesAsADriver(t *testing.T) {
	server := s3test.VersityGW(t)
	skip := map[string]string{
		"TestNonexistentBucket":            "a missing bucket is a fault of the configuration: see TestAMissingBucketIsUnavailable",
		"TestMetadata/weird_metadata_keys": notFieldNames,
	}
	run := func(name string, whole bool, edit func(*origin.S3Config)) {
		newStore := func(t *testing.T) object.Store { return openS3(t, server, server.NewBucket(t), edit) }
		t.Run(name, (&judge{newStore: newStore, whole: whole, skip: skip}).run)
	}
	run("streamed", false, func(*origin.S3Config) {})
	run("whole", true, func(*origin.S3Config) {})
	run("prefixed", false, func(cfg *origin.S3Config) { cfg.Prefix = "one/cluster/" })
	run("checksums", true, func(cfg *origin.S3Config) { cfg.Checksums = origin.ChecksumsWhenSupported })
}

// The suite has a driver answer that there is no such bucket. Ours must not: an
// empty answer for a bucket that is gone would be taken for missing data.
func TestAMissingBucketIsUnavailable(t *testing.T) {
	server := s3test.VersityGW(t)
	s := openS3(t, server, "no-such-bucket")
	var err error
	for _, err = range s.List(t.Context(), object.ListOptions{}) {
		break
	}
	if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrNotFound) {
		t.Errorf("List: %v, want ErrUnavailable", err)
	}
	_, err = s.Head(t.Context(), "k", object.HeadOptions{})
	if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrNotFound) {
		t.Errorf("Head: %v, want ErrUnavailable", err)
	}
}
