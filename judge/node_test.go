package judge_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/s3blob"

	"github.com/micelio/micelio/gateway/gatewaytest"
	"github.com/micelio/micelio/node"
	"github.com/micelio/micelio/object"
)

const oneBucket = "a node has one bucket, and another name in the URL is the client's mistake"

// startNode starts a node over a directory and returns the URL that it serves.
func startNode(t *testing.T) string {
	t.Helper()
	cfg := node.DefaultConfig()
	cfg.DataDir, cfg.DrainDelay = t.TempDir(), 0
	cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := node.Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-n.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("the node ended: %v", err)
	}
	return "http://" + n.Addr()
}

func TestANodePassesAsADriver(t *testing.T) {
	url := startNode(t)
	newStore := func(*testing.T) object.Store { return &gatewaytest.Client{Base: url + "/micelio"} }
	skip := map[string]string{
		"TestNonexistentBucket":            oneBucket,
		"TestMetadata/weird_metadata_keys": notFieldNames,
	}
	t.Run("streamed", (&judge{newStore: newStore, skip: skip}).run)
	t.Run("whole", (&judge{newStore: newStore, skip: skip, whole: true}).run)
}

// Here both sides are others': the client is gocloud's own driver for S3, on the
// SDK of AWS, and finds in a node the S3 that it knows.
func TestANodeServesTheDriverForS3(t *testing.T) {
	url := startNode(t)
	client := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &url, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("any", "pair", ""),
	})
	newBucket := func(t *testing.T, bucket string, parse func(string) error) driver.Bucket {
		b, err := s3blob.OpenBucket(t.Context(), client, bucket, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &opened{b, parse}
	}
	j := &judge{
		newBucket: newBucket,
		noCopy:    "a node does not copy on the server: x-amz-copy-source is answered 501",
		skip: map[string]string{
			"TestSignedURL": "a node checks no signatures, so that a URL stripped of its own works too; that signed ones work is in TestKeys",
		},
	}
	j.run(t)
}
