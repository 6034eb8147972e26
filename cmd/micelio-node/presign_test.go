package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bucketEnv is the environment of a complete S3 origin, which no test contacts.
func bucketEnv() []string {
	return []string{"S3_BUCKET=objects", "S3_REGION=eu-west-1", "S3_ACCESS_KEY_ID=AKID", "S3_SECRET_ACCESS_KEY=" + canary}
}

func TestPresignPrintsAURLOfTheBucket(t *testing.T) {
	for _, tt := range []struct {
		args                       []string
		env                        []string
		prefix, expires, operation string
	}{
		{[]string{"a/b c"}, nil, "https://objects.s3.eu-west-1.amazonaws.com/a/b%20c?", "900", "GetObject"},
		{[]string{"--method=GET", "--expires", "168h", "a"}, nil, "https://objects.s3.eu-west-1.amazonaws.com/a?", "604800", "GetObject"},
		{[]string{"a", "--method", "PUT", "--expires=1s"}, nil, "https://objects.s3.eu-west-1.amazonaws.com/a?", "1", "PutObject"},
		{[]string{"--", "-a"}, nil, "https://objects.s3.eu-west-1.amazonaws.com/-a?", "900", "GetObject"},
		{[]string{"a", "--s3-prefix=team/", "--s3-endpoint", "http://localhost:9000"}, nil, "http://localhost:9000/objects/team/a?", "900", "GetObject"},
		{[]string{"a"}, []string{"STORAGE_BACKEND=local", "MICELIO_LISTEN=0.0.0.0:80"}, "https://objects.", "900", "GetObject"},
	} {
		code, stdout, stderr := runWith(t, append(bucketEnv(), tt.env...), append([]string{"presign"}, tt.args...)...)
		line, rest, _ := strings.Cut(stdout, "\n")
		u, err := url.Parse(line)
		if code != exitOK || stderr != "" || rest != "" || err != nil || !strings.HasPrefix(line, tt.prefix) {
			t.Errorf("%q: exit code %d, %v\n%s%s", tt.args, code, err, stdout, stderr)
			continue
		}
		query := u.Query()
		if query.Get("X-Amz-Expires") != tt.expires || query.Get("x-id") != tt.operation || query.Get("X-Amz-Signature") == "" ||
			!strings.HasPrefix(query.Get("X-Amz-Credential"), "AKID/") || strings.Contains(line, canary) {
			t.Errorf("%q: got %s", tt.args, line)
		}
	}
}

func TestPresignTouchesNothingOfANode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	code, _, stderr := runWith(t, bucketEnv(), "presign", "a", "--data-dir", dir)
	if _, err := os.Stat(dir); code != exitOK || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("exit code %d, %v: %s", code, err, stderr)
	}
}

func TestPresignNamesAllThatIsWrongWithIt(t *testing.T) {
	for _, tt := range []struct {
		args, env []string
		want      []string
	}{
		{nil, nil, []string{"Missing S3 bucket: ", "no key: "}},
		{[]string{"a", "b"}, bucketEnv(), []string{`unexpected argument "b"`}},
		{[]string{"a//b", "--method=get", "--expires=169h"}, bucketEnv(),
			[]string{`--method: "get" is unknown: use GET or PUT`, "--expires: 169h0m0s is not from 1s to 168h0m0s", `"a//b": invalid key: the key has an empty segment`}},
		{[]string{"a", "--expires=999ms"}, bucketEnv(), []string{"--expires: 999ms is not from 1s"}},
		{[]string{"a", "--expires=15"}, bucketEnv(), []string{`invalid value "15" for flag -expires: is not a duration`}},
		{[]string{"a"}, append(bucketEnv(), "S3_ENDPOINT=http://minio:9000", "S3_SECRET_ACCESS_KEY_FILE=/nowhere"),
			[]string{"S3_SECRET_ACCESS_KEY_FILE: S3_SECRET_ACCESS_KEY sets the same secret", "S3_ENDPOINT: the URL is plain http"}},
	} {
		code, stdout, stderr := runWith(t, tt.env, append([]string{"presign"}, tt.args...)...)
		if code != exitUsage || stdout != "" {
			t.Errorf("%q: exit code %d\n%s", tt.args, code, stdout)
		}
		for _, want := range tt.want {
			if strings.Count(stderr, "\n  "+want) != 1 {
				t.Errorf("%q: %q is not said once in\n%s", tt.args, want, stderr)
			}
		}
		const frame = 2 // the head and the hint at the help
		if lines := strings.Count(stderr, "\n"); lines != len(tt.want)+frame {
			t.Errorf("%q: got %d problems, want %d:\n%s", tt.args, lines-frame, len(tt.want), stderr)
		}
	}
}

func TestPresignNeedsCredentialsFromSomewhere(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN",
		"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	nothing := writeFile(t, "")
	t.Setenv("AWS_CONFIG_FILE", nothing)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
	code, stdout, stderr := runWith(t, []string{"S3_BUCKET=objects"}, "presign", "a", "--s3-disable-imds")
	if code != exitFailure || stdout != "" || !strings.Contains(stderr, "Missing S3 credentials: set ") {
		t.Errorf("without credentials: exit code %d\n%s%s", code, stdout, stderr)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AWSID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "key")
	t.Setenv("AWS_SESSION_TOKEN", "token")
	code, stdout, stderr = runWith(t, []string{"S3_BUCKET=objects"}, "presign", "a", "--s3-disable-imds")
	if code != exitOK || !strings.Contains(stdout, "X-Amz-Credential=AWSID%2F") || !strings.Contains(stdout, "X-Amz-Security-Token=token") {
		t.Errorf("with those of AWS: exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = runWith(t, append(bucketEnv(), "AWS_SESSION_TOKEN=token"), "presign", "a")
	if code != exitOK || !strings.Contains(stdout, "X-Amz-Credential=AKID%2F") || strings.Contains(stdout, "X-Amz-Security-Token") {
		t.Errorf("with our own beside those of AWS: exit code %d\n%s%s", code, stdout, stderr)
	}
}
