package origin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// childS3 holds the configuration of the bucket for a child that uploads.
const childS3 = "ORIGIN_TEST_S3"

// childUpload begins an object of several parts, says when the service has the
// first of them, and waits to be killed.
func childUpload() error {
	var cfg origin.S3Config
	if err := json.Unmarshal([]byte(os.Getenv(childS3)), &cfg); err != nil {
		return err
	}
	s, err := origin.OpenS3(context.Background(), cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	told := &callingReader{func() {
		fmt.Println("uploading")
		_, _ = io.Copy(io.Discard, os.Stdin) // for ever: nobody closes it
	}}
	_, err = s.Put(context.Background(), "orphan", object.ReaderSource(io.MultiReader(bytes.NewReader(make([]byte, 30<<20)), told), -1), object.PutOptions{})
	return err
}

func TestUploadsThatDiedWithTheirProcessAreAborted(t *testing.T) {
	server := s3test.VersityGW(t)
	cfg := s3Config(t, server)
	killUploader(t, cfg)
	if n := uploads(t, server); n != 1 {
		t.Fatalf("%d uploads after the kill", n)
	}
	foreign := filepath.Join(cfg.SpoolDir, "micelio-s3-foreign.upload")
	torn := filepath.Join(cfg.SpoolDir, "micelio-s3-torn.upload")
	must(t, os.WriteFile(foreign, []byte(`{"endpoint":"https://elsewhere","bucket":"another","key":"k","upload":"u"}`), 0o600))
	must(t, os.WriteFile(torn, []byte(`{"endpoint":`), 0o600))

	// An upload of a living process, this one, is none of the janitor's business.
	s := openS3(t, cfg)
	reached, release := make(chan struct{}), make(chan struct{})
	alive := make(chan error, 1)
	body := anyBytes(12 << 20)
	go func() {
		waiting := &callingReader{func() {
			close(reached)
			<-release
		}}
		_, err := s.Put(t.Context(), "alive", object.ReaderSource(io.MultiReader(bytes.NewReader(body), io.LimitReader(waiting, 1)), -1), object.PutOptions{})
		alive <- err
	}()
	<-reached

	if _, err := s.Probe(t.Context()); err != nil { // the janitor comes with a bucket that answers
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	within(t, time.Minute, func(ctx context.Context) {
		for ctx.Err() == nil && (uploads(t, server) != 1 || exists(torn)) {
			continue // each turn asks the service
		}
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !exists(foreign) {
		t.Error("the note of another bucket's upload is gone")
	}
	close(release)
	if err := <-alive; err != nil {
		t.Errorf("the upload of a living process: %v", err)
	}
	wantBytes(t, s, "alive", string(body)+"x")
	if n := uploads(t, server); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
	notes, err := filepath.Glob(filepath.Join(cfg.SpoolDir, "*.upload"))
	if err != nil || len(notes) != 1 {
		t.Errorf("notes left: %q, %v", notes, err)
	}
}

// killUploader runs a process that uploads and kills it on the way.
func killUploader(t *testing.T, cfg origin.S3Config) {
	t.Helper()
	cfg.Log = nil
	raw, err := json.Marshal(cfg)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"=upload", childS3+"="+string(raw))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	said := make([]byte, len("uploading"))
	if _, err := io.ReadFull(out, said); err != nil || string(said) != "uploading" {
		t.Errorf("the uploader said %q, %v", said, err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
