package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tool returns the path of a client program. Where the tests are meant to have
// it (MICELIO_TEST_TOOLS=required, which make test sets), its absence fails
// them.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
			t.Fatalf("%s is not installed; scripts/install-test-tools.sh does it", name)
		}
		t.Skipf("%s is not installed; make test installs it", name)
	}
	return path
}

// A shell runs one client program with the same environment and arguments.
type shell struct {
	t    *testing.T
	path string
	args []string
	env  []string
}

func (s *shell) run(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", filepath.Base(s.path), strings.Join(args, " "), err, out)
	}
	return out
}

func (s *shell) try(args ...string) (string, error) {
	cmd := exec.CommandContext(s.t.Context(), s.path, slices.Concat(s.args, args)...)
	cmd.Env = environment(s.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tree makes a folder of odd but legal file names.
func tree(t *testing.T) (dir string, files map[string][]byte) {
	t.Helper()
	dir = t.TempDir()
	files = map[string][]byte{
		"plain.txt": []byte("plain\n"), "empty": {}, "with space (1).txt": []byte("space"), "deep/er/file": []byte("deep"),
		"pl+us & co=%41": []byte("signs"), "ünïcödé-日本.txt": []byte("letters"), ".hidden": []byte("dot"),
		"big.bin": bytes.Repeat([]byte("0123456789abcdef"), 300_000),
	}
	for name, body := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, files
}

// wantTree holds a folder to exactly these files.
func wantTree(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found++
		name, _ := filepath.Rel(dir, path)
		got, err := os.ReadFile(path)
		if want, ok := files[filepath.ToSlash(name)]; !ok || !bytes.Equal(got, want) {
			t.Errorf("%q came back with %d bytes, want %d (known: %v)", name, len(got), len(want), ok)
		}
		return err
	})
	if err != nil || found != len(files) {
		t.Errorf("%d of %d files came back, %v", found, len(files), err)
	}
}

func TestAWSCommandLine(t *testing.T) {
	t.Parallel()
	path := tool(t, "aws")
	nodes := startCluster(t, 2)
	dir, files := tree(t)
	aws := func(i int) *shell {
		return &shell{t: t, path: path, args: []string{"--no-sign-request", "--endpoint-url", nodes[i].url(""), "--region", "us-east-1"},
			env: []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "LC_ALL=C.UTF-8",
				// parts are a later change: single PUTs only
				"AWS_CONFIG_FILE=" + awsConfig(t)}}
	}
	one, two := aws(0), aws(1)
	one.run("s3", "cp", "--recursive", dir, "s3://micelio/tree/")
	if got := two.run("s3", "ls", "--recursive", "s3://micelio/tree/"); strings.Count(got, "tree/") != len(files) || !strings.Contains(got, "with space (1).txt") {
		t.Errorf("aws s3 ls:\n%s", got)
	}
	if got := two.run("s3", "ls", "s3://micelio/tree/"); !strings.Contains(got, "PRE deep/") {
		t.Errorf("aws s3 ls shows no folder:\n%s", got)
	}
	back := t.TempDir()
	two.run("s3", "cp", "--recursive", "s3://micelio/tree/", back)
	wantTree(t, back, files)
	if got := one.run("s3", "sync", dir, "s3://micelio/tree/"); strings.Contains(got, "upload:") {
		t.Errorf("a second sync uploads again:\n%s", got)
	}
	if got := two.run("s3api", "head-object", "--bucket", "micelio", "--key", "tree/plain.txt"); !strings.Contains(got, "text/plain") {
		t.Errorf("head-object:\n%s", got)
	}
	two.run("s3", "mv", filepath.Join(back, "plain.txt"), "s3://micelio/moved.txt")
	one.run("s3", "rm", "s3://micelio/moved.txt")
	if out, err := two.try("s3", "cp", "s3://micelio/moved.txt", "-"); err == nil || !strings.Contains(out, "404") {
		t.Errorf("reading a removed object: %v\n%s", err, out)
	}
	one.run("s3", "rm", "--recursive", "s3://micelio/tree/")
	if got, _ := two.try("s3", "ls", "--recursive", "s3://micelio/"); strings.TrimSpace(got) != "" {
		t.Errorf("after rm --recursive:\n%s", got)
	}
}

// awsConfig keeps the client from splitting files into parts.
func awsConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	err := os.WriteFile(path, []byte("[default]\ns3 =\n  multipart_threshold = 5GB\n"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRclone(t *testing.T) {
	t.Parallel()
	path := tool(t, "rclone")
	nodes := startCluster(t, 2)
	dir, files := tree(t)
	rclone := func(i int) *shell {
		return &shell{t: t, path: path, args: []string{"--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"},
			env: []string{"RCLONE_CONFIG_M_TYPE=s3", "RCLONE_CONFIG_M_PROVIDER=Other", "RCLONE_CONFIG_M_ENDPOINT=" + nodes[i].url(""),
				"RCLONE_CONFIG_M_FORCE_PATH_STYLE=true", "RCLONE_CONFIG_M_UPLOAD_CUTOFF=4G"}}
	}
	one, two := rclone(0), rclone(1)
	one.run("copy", dir, "m:micelio/tree")
	two.run("check", dir, "m:micelio/tree")
	two.run("check", "--download", dir, "m:micelio/tree")
	if got := two.run("lsf", "-R", "--files-only", "m:micelio/tree"); strings.Count(got, "\n") != len(files) {
		t.Errorf("rclone lsf:\n%s", got)
	}
	back := t.TempDir()
	two.run("copy", "m:micelio/tree", back)
	wantTree(t, back, files)
	one.run("deletefile", "m:micelio/tree/plain.txt")
	two.run("delete", "m:micelio/tree")
	if got := one.run("lsf", "-R", "--files-only", "m:micelio/"); got != "" {
		t.Errorf("after delete:\n%s", got)
	}
}

func TestS3cmd(t *testing.T) {
	t.Parallel()
	path := tool(t, "s3cmd")
	nodes := startCluster(t, 2)
	dir, files := tree(t)
	s3cmd := func(i int) *shell {
		return &shell{t: t, path: path, env: []string{"LC_ALL=C.UTF-8"}, args: []string{
			"--config", "/dev/null", "--no-ssl", "--host", nodes[i].addr["client"], "--host-bucket", nodes[i].addr["client"],
			"--access_key", "any", "--secret_key", "any", "--disable-multipart", "--encoding", "UTF-8", "--no-progress"}}
	}
	one, two := s3cmd(0), s3cmd(1)
	one.run("put", "--recursive", dir+"/", "s3://micelio/tree/")
	if got := two.run("ls", "--recursive", "s3://micelio/tree/"); strings.Count(got, "\n") != len(files) {
		t.Errorf("s3cmd ls:\n%s", got)
	}
	back := t.TempDir()
	two.run("get", "--recursive", "s3://micelio/tree/", back)
	wantTree(t, back, files)
	one.run("del", "--recursive", "--force", "s3://micelio/tree/")
	if got := two.run("ls", "--recursive", "s3://micelio/"); got != "" {
		t.Errorf("after del:\n%s", got)
	}
}
