package origin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// A chain is the sources of credentials that a machine can have, all made of
// real files and servers on loopback. None is switched on until a test asks for
// it.
type chain struct {
	t    *testing.T
	fake *s3test.Fake
	dir  string
	used map[string]string // access key by source
}

// newChain leaves the SDK nothing to find.
func newChain(t *testing.T) *chain {
	c := &chain{t: t, fake: s3test.NewFake(t), dir: t.TempDir(), used: map[string]string{}}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	none := filepath.Join(c.dir, "none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("HOME", c.dir)
	return c
}

// fresh returns credentials that the service knows, as those of a source.
func (c *chain) fresh(source string) s3test.Credentials {
	creds := c.fake.TemporaryCredentials(time.Now().Add(time.Hour))
	c.used[source] = creds.AccessKey
	return creds
}

func (c *chain) file(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func iniOf(k s3test.Credentials) string {
	return fmt.Sprintf("aws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n", k.AccessKey, k.SecretKey, k.Token)
}

// The sources, in the order in which they count. Each switches itself on.
func sources() []struct {
	name string
	on   func(c *chain, cfg *origin.S3Config)
} {
	return []struct {
		name string
		on   func(c *chain, cfg *origin.S3Config)
	}{
		{"explicit", func(c *chain, cfg *origin.S3Config) {
			k := c.fresh("explicit")
			cfg.AccessKeyID, cfg.SecretAccessKey, cfg.SessionToken = k.AccessKey, k.SecretKey, k.Token
		}},
		{"environment", func(c *chain, _ *origin.S3Config) {
			k := c.fresh("environment")
			c.t.Setenv("AWS_ACCESS_KEY_ID", k.AccessKey)
			c.t.Setenv("AWS_SECRET_ACCESS_KEY", k.SecretKey)
			c.t.Setenv("AWS_SESSION_TOKEN", k.Token)
		}},
		{"web identity", func(c *chain, _ *origin.S3Config) { c.webIdentity() }},
		{"profile", func(c *chain, _ *origin.S3Config) {
			c.t.Setenv("AWS_SHARED_CREDENTIALS_FILE", c.file("credentials", "[default]\n"+iniOf(c.fresh("profile"))))
		}},
		{"container", func(c *chain, _ *origin.S3Config) {
			uri, token := s3test.ECS(c.t, func() s3test.Credentials { return c.fresh("container") })
			c.t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
			c.t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", token)
		}},
		{"instance", func(c *chain, _ *origin.S3Config) {
			c.t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			c.t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s3test.IMDS(c.t, func() s3test.Credentials { return c.fresh("instance") }))
		}},
	}
}

// webIdentity starts the service that gives a service account its role.
func (c *chain) webIdentity() {
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != "a token of the cluster" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		k := c.fresh("web identity")
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
			<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>
			</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, k.AccessKey, k.SecretKey, k.Token, k.Expires.UTC().Format(time.RFC3339))
	}))
	c.t.Cleanup(sts.Close)
	c.t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	c.t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/forge")
	c.t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", c.file("token", "a token of the cluster"))
}

func (c *chain) config() origin.S3Config {
	cfg := s3Config(c.t, c.fake.Server)
	cfg.AccessKeyID, cfg.SecretAccessKey = "", ""
	return cfg
}

// wantSource opens the bucket, uses it, and says whose credentials signed.
func (c *chain) wantSource(cfg origin.S3Config, source string) {
	c.t.Helper()
	s := openS3(c.t, cfg)
	put(c.t, s, "key", "x", object.PutOptions{})
	requests := c.fake.Requests()
	authorization := requests[len(requests)-1].Header.Get("Authorization")
	if !strings.Contains(authorization, "Credential="+c.used[source]+"/") || c.used[source] == "" {
		c.t.Errorf("signed by %.60q, want the credentials of the %s source (%v)", authorization, source, c.used)
	}
}

func TestCredentialsComeFromEachSourceOfTheChain(t *testing.T) {
	for _, source := range sources() {
		t.Run(source.name, func(t *testing.T) {
			c := newChain(t)
			cfg := c.config()
			source.on(c, &cfg)
			c.wantSource(cfg, source.name)
		})
	}
}

func TestTheFirstSourceOfTheChainWins(t *testing.T) {
	all := sources()
	for i, first := range all {
		t.Run(first.name, func(t *testing.T) {
			c := newChain(t)
			cfg := c.config()
			for _, source := range all[i:] {
				source.on(c, &cfg)
			}
			c.wantSource(cfg, first.name)
		})
	}
}

func TestProfilesAreReadAsEveryToolOfAWSReadsThem(t *testing.T) {
	for name, set := range map[string]func(c *chain){
		"a named profile": func(c *chain) {
			c.t.Setenv("AWS_CONFIG_FILE", c.file("config", "[default]\n"+iniOf(c.fresh("other"))+"[profile forge]\n"+iniOf(c.fresh("used"))))
			c.t.Setenv("AWS_PROFILE", "forge")
		},
		"a process": func(c *chain) {
			k := c.fresh("used")
			answer, err := json.Marshal(map[string]any{"Version": 1, "AccessKeyId": k.AccessKey, "SecretAccessKey": k.SecretKey, "SessionToken": k.Token})
			if err != nil {
				c.t.Fatal(err)
			}
			script := c.file("credentials.sh", "#!/bin/sh\ncat <<'END'\n"+string(answer)+"\nEND\n")
			c.t.Setenv("AWS_CONFIG_FILE", c.file("config", "[default]\ncredential_process = "+script+"\n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t)
			set(c)
			c.wantSource(c.config(), "used")
		})
	}
}

func TestCredentialsThatExpireAreRenewed(t *testing.T) {
	c := newChain(t)
	given := 0
	uri, token := s3test.ECS(t, func() s3test.Credentials {
		given++
		k := c.fake.TemporaryCredentials(time.Now().Add(time.Second)) // expired as far as the SDK is concerned
		c.used["container"] = k.AccessKey
		return k
	})
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", token)
	s := openS3(t, c.config())
	first := given
	put(t, s, "key", "x", object.PutOptions{})
	if given <= first {
		t.Errorf("credentials were asked for %d times at the start and %d times in all", first, given)
	}
}

func TestWithoutCredentialsThereIsNoOrigin(t *testing.T) {
	for name, change := range map[string]func(c *chain, cfg *origin.S3Config){
		"none at all": func(*chain, *origin.S3Config) {},
		"a metadata service that is switched off": func(c *chain, cfg *origin.S3Config) {
			c.t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			c.t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s3test.IMDS(c.t, func() s3test.Credentials { return c.fresh("instance") }))
			cfg.DisableIMDS = true
		},
		"a container service that refuses": func(c *chain, _ *origin.S3Config) {
			uri, _ := s3test.ECS(c.t, func() s3test.Credentials { return c.fresh("container") })
			c.t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
			c.t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "another")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t)
			cfg := c.config()
			change(c, &cfg)
			s, err := origin.OpenS3(t.Context(), cfg)
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			for _, want := range []string{"Missing S3 credentials", "S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

// AWS_ENDPOINT_URL is what a shell sets to talk to this very cluster.
func TestTheEnvironmentDoesNotChooseTheEndpoint(t *testing.T) {
	c := newChain(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) }))
	defer elsewhere.Close()
	t.Setenv("AWS_ENDPOINT_URL", elsewhere.URL)
	t.Setenv("AWS_ENDPOINT_URL_S3", elsewhere.URL)
	cfg := c.config()
	sources()[0].on(c, &cfg)
	c.wantSource(cfg, "explicit")
}

func TestNoSecretShowsUpInErrorsAndLogs(t *testing.T) {
	c := newChain(t)
	var log bytes.Buffer
	cfg := c.config()
	cfg.AccessKeyID, cfg.SecretAccessKey, cfg.SessionToken = "AKIANOBODY", "TOP-SECRET-KEY", "TOP-SECRET-TOKEN"
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := openS3(t, cfg)
	said := []string{fmt.Sprintf("%+v", s.Stats())}
	_, err := s.Head(t.Context(), "key", object.HeadOptions{})
	said = append(said, fmt.Sprint(err))
	_, err = s.Put(t.Context(), "key", object.BytesSource(nil), object.PutOptions{})
	if !errors.Is(err, object.ErrUnavailable) || !errors.Is(err, origin.ErrRefused) {
		t.Errorf("a write with credentials that nobody knows: %v", err)
	}
	said = append(said, fmt.Sprint(err))
	_, err = s.Probe(t.Context())
	said = append(said, fmt.Sprint(err), log.String())
	for _, text := range said {
		if strings.Contains(text, "TOP-SECRET") {
			t.Errorf("a secret is in %s", text)
		}
	}
	if !strings.Contains(said[2], "s3:ListBucket") {
		t.Errorf("a refusal does not say what is needed: %s", said[2])
	}
}
