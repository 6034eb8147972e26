package e2e

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/origin/s3test"
)

// largeTree is a tree with an object that a node stores in parts.
func largeTree(t *testing.T) (dir string, files map[string][]byte) {
	t.Helper()
	dir, files = tree(t)
	files["large.bin"] = randomBytes(20, 20<<20)
	if err := os.WriteFile(filepath.Join(dir, "large.bin"), files["large.bin"], 0o644); err != nil {
		t.Fatal(err)
	}
	// S3 tells times in whole seconds. A file that is stored within the second in
	// which it was made looks newer than its copy, and a sync sends it again.
	before := time.Now().Add(-time.Hour)
	for name := range files {
		if err := os.Chtimes(filepath.Join(dir, filepath.FromSlash(name)), before, before); err != nil {
			t.Fatal(err)
		}
	}
	return dir, files
}

// Whole trees go in through one node and come out of another, with a bucket
// behind both.
func TestClientsOfAClusterOverS3(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t)
	nodes := startCluster(t, 2, over(server, server.Endpoint)...)
	dir, files := largeTree(t)
	t.Run("aws", func(t *testing.T) {
		path, config := tool(t, "aws"), awsConfig(t)
		aws := func(i int, args ...string) string {
			s := &shell{t: t, path: path, args: []string{"--no-sign-request", "--endpoint-url", nodes[i].url(""), "--region", "us-east-1"},
				env: []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "LC_ALL=C.UTF-8", "AWS_CONFIG_FILE=" + config}}
			return s.run(args...)
		}
		aws(0, "s3", "cp", "--recursive", dir, "s3://micelio/aws/")
		if got := aws(1, "s3", "sync", dir, "s3://micelio/aws/"); strings.Contains(got, "upload:") {
			t.Errorf("a sync after the copy uploads again:\n%s", got)
		}
		back := t.TempDir()
		aws(1, "s3", "sync", "s3://micelio/aws/", back)
		wantTree(t, back, files)
		aws(1, "s3", "rm", "--recursive", "s3://micelio/aws/")
		if got := aws(0, "s3", "ls", "--recursive", "s3://micelio/"); strings.Contains(got, " aws/") {
			t.Errorf("after rm --recursive:\n%s", got)
		}
	})
	t.Run("rclone", func(t *testing.T) {
		path := tool(t, "rclone")
		rclone := func(i int, args ...string) string {
			s := &shell{t: t, path: path, args: []string{"--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"},
				env: []string{"RCLONE_CONFIG_M_TYPE=s3", "RCLONE_CONFIG_M_PROVIDER=Other", "RCLONE_CONFIG_M_ENDPOINT=" + nodes[i].url(""),
					"RCLONE_CONFIG_M_FORCE_PATH_STYLE=true", "RCLONE_CONFIG_M_UPLOAD_CUTOFF=4G"}}
			return s.run(args...)
		}
		rclone(0, "copy", dir, "m:micelio/rclone")
		rclone(1, "check", "--download", dir, "m:micelio/rclone")
		back := t.TempDir()
		rclone(1, "copy", "m:micelio/rclone", back)
		wantTree(t, back, files)
		rclone(0, "delete", "m:micelio/rclone")
		if got := rclone(1, "lsf", "-R", "--files-only", "m:micelio/rclone"); got != "" {
			t.Errorf("after delete:\n%s", got)
		}
	})
	t.Run("s3cmd", func(t *testing.T) {
		path := tool(t, "s3cmd")
		s3cmd := func(i int, args ...string) string {
			s := &shell{t: t, path: path, env: []string{"LC_ALL=C.UTF-8"}, args: []string{
				"--config", "/dev/null", "--no-ssl", "--host", nodes[i].addr["client"], "--host-bucket", nodes[i].addr["client"],
				"--access_key", "any", "--secret_key", "any", "--disable-multipart", "--encoding", "UTF-8", "--no-progress"}}
			return s.run(args...)
		}
		s3cmd(0, "put", "--recursive", dir+"/", "s3://micelio/s3cmd/")
		back := t.TempDir()
		s3cmd(1, "get", "--recursive", "s3://micelio/s3cmd/", back)
		wantTree(t, back, files)
		s3cmd(1, "del", "--recursive", "--force", "s3://micelio/s3cmd/")
		if got := s3cmd(0, "ls", "--recursive", "s3://micelio/s3cmd/"); got != "" {
			t.Errorf("after del:\n%s", got)
		}
	})
}

// The bucket is a plain one: what a client stores there past the cluster is
// served, what the cluster stores there is any client's, and both keep what is
// said about an object.
func TestABucketIsSharedWithItsOtherClients(t *testing.T) {
	t.Parallel()
	path := tool(t, "aws")
	server := s3test.VersityGW(t)
	nodes := startCluster(t, 2, over(server, server.Endpoint)...)
	straight := &shell{t: t, path: path, args: []string{"--endpoint-url", server.Endpoint, "--region", server.Region},
		env: []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "LC_ALL=C.UTF-8", "AWS_CONFIG_FILE=/dev/null",
			"AWS_ACCESS_KEY_ID=" + server.AccessKey, "AWS_SECRET_ACCESS_KEY=" + server.SecretKey}}
	bucket := "s3://" + server.Bucket + "/"
	file := filepath.Join(t.TempDir(), "page.html")
	write := func(body []byte) {
		t.Helper()
		if err := os.WriteFile(file, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, size := range []int{0, 5_000, 20 << 20, 6_000} { // the third in parts
		body := randomBytes(uint64(100+i), size)
		write(body)
		straight.run("s3", "cp", file, bucket+"sessions/1/page.html")
		for _, p := range nodes {
			got, err := p.ask(http.DefaultClient, http.MethodGet, "sessions/1/page.html")
			if err != nil || got.status != http.StatusOK || !bytes.Equal(got.body, body) || got.header.Get("Content-Type") != "text/html" {
				t.Errorf("what was written past the node: %d, %d bytes of %q, %v; want %d", got.status, len(got.body), got.header.Get("Content-Type"), err, size)
			}
		}
	}
	for i, size := range []int{0, 5_000, 20 << 20} {
		body := randomBytes(uint64(200+i), size)
		req, err := http.NewRequest(http.MethodPut, nodes[i%2].url("/micelio/sessions/1/main.ex"), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/x-elixir")
		req.Header.Set("X-Amz-Meta-Owner", "us")
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", resp, err)
		}
		resp.Body.Close()
		straight.run("s3", "cp", bucket+"sessions/1/main.ex", file)
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, body) {
			t.Errorf("past the node: %d bytes, %v; want %d", len(got), err, size)
		}
		said := straight.run("s3api", "head-object", "--bucket", server.Bucket, "--key", "sessions/1/main.ex")
		for _, part := range []string{`"ContentType": "text/x-elixir"`, `"owner": "us"`} {
			if !strings.Contains(said, part) {
				t.Errorf("%d bytes: %s is not in:\n%s", size, part, said)
			}
		}
	}
}
