package s3test_test

import (
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin/s3test"
)

// withoutAWS hides what this machine knows of AWS.
func withoutAWS(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
}

func TestRolesOpenABucket(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, creds func() s3test.Credentials){
		"of an instance": func(t *testing.T, creds func() s3test.Credentials) {
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s3test.IMDS(t, creds))
		},
		"of a container": func(t *testing.T, creds func() s3test.Credentials) {
			uri, token := s3test.ECS(t, creds)
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withoutAWS(t)
			fake := s3test.NewFake(t)
			fake.RemoveKey(fake.AccessKey)
			role := fake.TemporaryCredentials(time.Now().Add(time.Hour))
			start(t, func() s3test.Credentials { return role })
			cfg := storeConfig(t, fake.Server)
			cfg.AccessKeyID, cfg.SecretAccessKey = "", ""
			s := openStore(t, cfg)
			if _, err := s.Put(t.Context(), "a", object.BytesSource([]byte("x")), object.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, r := range fake.Requests() {
				if r.Header.Get("X-Amz-Security-Token") != role.Token {
					t.Errorf("%s %s does not carry the token", r.Method, r.Path)
				}
			}
			fake.RemoveKey(role.AccessKey)
			if _, err := s.Head(t.Context(), "a", object.HeadOptions{}); err == nil {
				t.Error("credentials work that were withdrawn")
			}
		})
	}
}

func TestRolesAreNotGivenToJustAnybody(t *testing.T) {
	t.Parallel()
	none := func() s3test.Credentials { t.Error("credentials were given away"); return s3test.Credentials{} }
	uri, _ := s3test.ECS(t, none)
	for url, want := range map[string]int{
		s3test.IMDS(t, none) + "/latest/meta-data/iam/security-credentials/node": http.StatusUnauthorized,
		uri: http.StatusForbidden,
	} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // the status is what counts
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: %s, want %d", url, resp.Status, want)
		}
	}
}
