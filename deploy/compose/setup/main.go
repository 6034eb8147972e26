// Command setup readies a compose project for its first start, and ends: it
// draws the secret of the cluster, makes the bucket of the origin, and lets anybody
// read there what a CDN may keep. What is there already stays as it is, but for
// that policy. "setup probe URL" asks a service whether it is well, for images
// that have no other program that could.
//
// It is for the demonstration in deploy/compose. A real bucket has owners who make
// it, and a real secret a place where it is kept.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	setupTimeout = time.Minute
	probeTimeout = 3 * time.Second // less than what engines give a health check
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], os.Getenv)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string) error {
	if len(args) == 2 && args[0] == "probe" {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		return probe(ctx, args[1])
	}
	if len(args) != 1 {
		return errors.New("usage: setup SECRET_FILE, with S3_ENDPOINT, S3_REGION, S3_BUCKET, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY in the environment; or setup probe URL")
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	drawn, err := drawSecret(args[0])
	if err != nil {
		return err
	}
	fmt.Printf("cluster secret in %s: %s\n", args[0], newOrOld(drawn))
	made, err := makeBucket(ctx, client(env), env("S3_BUCKET"))
	if err != nil {
		return err
	}
	fmt.Printf("bucket %s at %s: %s\n", env("S3_BUCKET"), env("S3_ENDPOINT"), newOrOld(made))
	return nil
}

func newOrOld(isNew bool) string {
	if isNew {
		return "new"
	}
	return "was there"
}

// probe succeeds if a GET of url is answered with 200.
func probe(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// drawSecret writes a new secret to a file, for its owner's eyes only, unless the
// file is there. It appears whole or not at all, so that a start that is
// interrupted leaves nothing that the next one would take for a secret.
func drawSecret(file string) (drawn bool, err error) {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".secret-*") // mode 0600
	if err != nil {
		return false, err
	}
	defer os.Remove(temp.Name())
	_, err = fmt.Fprintln(temp, rand.Text()+rand.Text()) // 52 characters, 256 bits and more
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return false, err
	}
	if err := os.Link(temp.Name(), file); errors.Is(err, fs.ErrExist) {
		return false, nil // another one was first
	} else if err != nil {
		return false, err
	}
	return true, nil
}

func client(env func(string) string) *s3.Client {
	return s3.New(s3.Options{
		Region: env("S3_REGION"), BaseEndpoint: aws.String(env("S3_ENDPOINT")), UsePathStyle: true,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: env("S3_ACCESS_KEY_ID"), SecretAccessKey: env("S3_SECRET_ACCESS_KEY")}, nil
		}),
	})
}

// makeBucket makes the bucket unless it is there, and sets its policy.
func makeBucket(ctx context.Context, c *s3.Client, bucket string) (made bool, err error) {
	_, err = c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	if owned := (*types.BucketAlreadyOwnedByYou)(nil); err != nil && !errors.As(err, &owned) {
		return false, err
	}
	made = err == nil
	policy, err := publicRead(bucket)
	if err != nil {
		return made, err
	}
	_, err = c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy})
	return made, err
}

// publicRead returns a policy that lets anybody read the keys that are verified or
// immutable by default, and list nothing. In a policy * stands for slashes too, so
// that it lets more in than the patterns of a node do; the CDN looks more closely.
func publicRead(bucket string) (string, error) {
	var resources []string
	for _, pattern := range []string{
		"artifacts/sha256:*", "cache/*sha256:*", "derivations/sha256:*", "*cas/*", "*trees/*", "*blobs/*",
	} {
		resources = append(resources, "arn:aws:s3:::"+bucket+"/"+pattern)
	}
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []map[string]any{{
			"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resources,
		}},
	})
	return string(policy), err
}
