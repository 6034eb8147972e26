package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/micelio/micelio/node"
)

// canary is a secret that no output may contain.
const canary = "canary-7f3a"

func TestNoCommandShowsASecret(t *testing.T) {
	secret := writeFile(t, canary)
	file := writeFile(t, "s3-secret-access-key="+canary+"\ns3-access-key-id = "+canary+"\ns3-session-token \x00"+canary+
		"\ns3-secret-acces-key "+canary+"\ncdn-private-key "+canary+"\ncluster-secret "+canary)
	for _, tt := range []struct{ args, env []string }{
		{nil, []string{"S3_BUCKET=objects", "S3_ACCESS_KEY_ID=" + canary, "S3_SECRET_ACCESS_KEY=" + canary, "S3_SESSION_TOKEN=" + canary}},
		{nil, []string{"S3_BUCKET=objects", "AWS_ACCESS_KEY_ID=" + canary, "AWS_SECRET_ACCESS_KEY=" + canary, "AWS_SESSION_TOKEN=" + canary}},
		{nil, []string{"S3_ACCESS_KEY_ID_FILE=" + secret, "S3_SECRET_ACCESS_KEY_FILE=" + secret}},
		{nil, []string{"S3_SECRET_ACCESS_KEI=" + canary, "S3_SECRET_ACCESS_KEY=" + canary, "MICELIO_S3_ACCESS_KEY_ID=" + canary}},
		{nil, []string{"MICELIO_CLUSTER_SECRET=" + canary}},
		{nil, []string{"MICELIO_CLUSTER_SECRET_FILE=" + secret}},
		{[]string{"--cluster-secret", canary}, nil},
		{nil, []string{"MICELIO_CDN_KEY_ID=K1", "MICELIO_CDN_PRIVATE_KEY=" + canary}},
		{[]string{"--cdn-key-id=K1", "--cdn-private-key-file", secret}, nil},
		{[]string{"--cdn-private-key", canary}, nil},
		{[]string{"--s3-secret-access-key=" + canary, "--s3-access-key-id", canary, "--backend=s3"}, nil},
		{[]string{"--s3-secret-access-key=" + canary, "--backend=s3"}, nil},
		{[]string{"--s3-session-token=" + canary, "--backend=s3"}, nil},
		{[]string{"--s3-secret-acces-key=" + canary}, nil},
		{[]string{"--s3-secret-acces-key", canary}, nil},
		{[]string{"--s3-endpoint=https://user:" + canary + "@example.com", "--cdn-base-url", "https://user:" + canary + "@example.com"}, nil},
		{[]string{"--s3-endpoint=user:" + canary + "@example.com", "--cdn-base-url", "://user:" + canary + "@"}, nil},
		{[]string{"--s3-endpoint=example.com?key=" + canary, "--cdn-base-url", "https://example.com/?key=" + canary}, nil},
		{[]string{"--s3-endpoint=https://example.com/#" + canary, "--cdn-base-url", "https://exa mple.com/?key=" + canary}, nil},
		{[]string{"--config", file}, nil},
	} {
		for _, command := range []string{"config", "serve", "health"} {
			args := append([]string{command, "--admin-listen=127.0.0.1:0"}, tt.args...)
			if _, stdout, stderr := runWith(t, tt.env, args...); strings.Contains(stdout+stderr, canary) {
				t.Errorf("%q with %q shows the secret:\n%s%s", args, tt.env, stdout, stderr)
			}
		}
	}
}

func TestConfigSaysWhereEachSecretCameFrom(t *testing.T) {
	secret := writeFile(t, canary)
	file := writeFile(t, "s3-session-token "+canary)
	env := []string{"S3_BUCKET=objects", "S3_ACCESS_KEY_ID=" + canary}
	_, stdout, stderr := runWith(t, env, "config", "--s3-secret-access-key-file", secret, "--config", file)
	for _, want := range [][]string{
		{"s3-access-key-id", node.Mask, "environment S3_ACCESS_KEY_ID"},
		{"s3-secret-access-key", node.Mask, "flag --s3-secret-access-key-file"},
		{"s3-session-token", node.Mask, "file " + file + ":1"},
		{"cdn-private-key", "-", "default"},
	} {
		hasLine := func(line string) bool {
			return strings.Join(strings.Fields(line), " ") == strings.Join(want, " ")
		}
		if !slices.ContainsFunc(strings.Split(stdout, "\n"), hasLine) {
			t.Errorf("no line %q in\n%s%s", want, stdout, stderr)
		}
	}
	_, stdout, _ = runWith(t, nil, "config")
	if want := "default: " + sdkCredentials; strings.Count(stdout, want) != 2 {
		t.Errorf("it is not said of both halves that they are %s:\n%s", want, stdout)
	}
}

func TestANodeGetsTheSecretsAndItsLogDoesNot(t *testing.T) {
	var got node.Config
	serve := func(_ context.Context, cfg node.Config, logger *slog.Logger) error {
		got = cfg
		logger.Info("starting", "config", cfg, "s3", cfg.S3, "key", cfg.S3.SecretAccessKey)
		return fmt.Errorf("cannot start with %+v: %v, %q", cfg, cfg.S3, cfg.S3.SecretAccessKey)
	}
	for _, format := range []string{node.LogText, node.LogJSON} {
		code, stdout, stderr := runServing(t, serve, []string{"S3_BUCKET=objects", "S3_ACCESS_KEY_ID=" + canary, "S3_SECRET_ACCESS_KEY=" + canary,
			"S3_SESSION_TOKEN=" + canary}, "serve", "--log-format", format)
		if code != exitFailure || strings.Contains(stdout+stderr, canary) || !strings.Contains(stderr, node.Mask) {
			t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
		}
		if s := got.S3; s.AccessKeyID != canary || s.SecretAccessKey != canary || s.SessionToken != canary {
			t.Error("the node did not get the secrets")
		}
	}
}

func TestCredentialsOfTwoKindsAreNotMixed(t *testing.T) {
	const pair = "s3-access-key-id i\ns3-secret-access-key k\n"
	for _, tt := range []struct {
		name      string
		file      string
		args, env []string
		problem   string
	}{
		{name: "one family", env: []string{"S3_ACCESS_KEY_ID=i", "S3_SECRET_ACCESS_KEY=k", "S3_SESSION_TOKEN=t"}},
		{name: "our own family", env: []string{"MICELIO_S3_ACCESS_KEY_ID=i", "MICELIO_S3_SECRET_ACCESS_KEY_FILE=" + writeFile(t, "k")}},
		{name: "two pairs, the stronger complete",
			env: []string{"MICELIO_S3_ACCESS_KEY_ID=i", "MICELIO_S3_SECRET_ACCESS_KEY=k", "S3_ACCESS_KEY_ID=i", "S3_SECRET_ACCESS_KEY=k"}},
		{name: "halves of two families", env: []string{"MICELIO_S3_ACCESS_KEY_ID=i", "S3_SECRET_ACCESS_KEY=k"},
			problem: "MICELIO_S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY belong to different credentials"},
		{name: "a token of another family", env: []string{"MICELIO_S3_ACCESS_KEY_ID=i", "MICELIO_S3_SECRET_ACCESS_KEY=k", "S3_SESSION_TOKEN=t"},
			problem: "MICELIO_S3_ACCESS_KEY_ID and S3_SESSION_TOKEN belong to different credentials"},
		{name: "that token emptied", args: []string{"--s3-session-token="},
			env: []string{"MICELIO_S3_ACCESS_KEY_ID=i", "MICELIO_S3_SECRET_ACCESS_KEY=k", "S3_SESSION_TOKEN=t"}},
		{name: "an id by flag, its secret by variable", args: []string{"--s3-access-key-id=i"}, env: []string{"S3_SECRET_ACCESS_KEY=k"}},
		{name: "an id in the file, its secret by variable", file: "s3-access-key-id i", env: []string{"S3_SECRET_ACCESS_KEY=k"}},
		{name: "half of a pair replaced", file: pair, env: []string{"S3_ACCESS_KEY_ID=j"},
			problem: "S3_ACCESS_KEY_ID and FILE:2: s3-secret-access-key belong to different credentials"},
		{name: "the other half replaced", args: []string{"--s3-secret-access-key=l"}, env: []string{"S3_ACCESS_KEY_ID=i", "S3_SECRET_ACCESS_KEY=k"},
			problem: "S3_ACCESS_KEY_ID and --s3-secret-access-key belong to different credentials"},
		{name: "a pair replaced, but not its token", file: pair + "s3-session-token t", env: []string{"S3_ACCESS_KEY_ID=j", "S3_SECRET_ACCESS_KEY=l"},
			problem: "S3_ACCESS_KEY_ID and FILE:3: s3-session-token belong to different credentials"},
		{name: "a pair replaced", file: pair, args: []string{"--s3-access-key-id=j", "--s3-secret-access-key=l"}},
	} {
		file := writeFile(t, tt.file)
		l := load(parseFlags(append(tt.args, "--config", file), nil), newEnviron(tt.env))
		problems := strings.ReplaceAll(strings.Join(l.problems, "\n"), file, "FILE")
		if (problems != "") != (tt.problem != "") || !strings.HasPrefix(problems, tt.problem) || strings.Contains(problems, "\n") {
			t.Errorf("%s: got %q, want %q", tt.name, problems, tt.problem)
		}
	}
}

// The AWS_* variables are the SDK's, which takes them as a whole and only where
// nothing was set for this program.
func TestTheVariablesOfAWSAreLeftToItsSDK(t *testing.T) {
	aws := []string{"AWS_ACCESS_KEY_ID=i", "AWS_SECRET_ACCESS_KEY=k", "AWS_SESSION_TOKEN=t"}
	for _, tt := range []struct {
		env           []string
		id, key       string
		wantToBeValid bool
	}{
		{aws, "", "", true},
		{append(aws, "S3_ACCESS_KEY_ID=I", "S3_SECRET_ACCESS_KEY=K"), "I", "K", true},
		{append(aws, "S3_ACCESS_KEY_ID=I"), "I", "", false},
		{append(aws, "S3_SESSION_TOKEN=T"), "", "", false},
	} {
		l := load(parseFlags(nil, nil), newEnviron(append(tt.env, "S3_BUCKET=objects")))
		s3 := l.options.S3
		if string(s3.AccessKeyID) != tt.id || string(s3.SecretAccessKey) != tt.key || s3.SessionToken == "t" {
			t.Errorf("%q: got %q and %q", tt.env, string(s3.AccessKeyID), string(s3.SecretAccessKey))
		}
		problems := l.check()
		if (len(problems) == 0) != tt.wantToBeValid || len(problems) > 0 && !strings.HasPrefix(problems[0], "Missing S3 credentials") {
			t.Errorf("%q: got %q", tt.env, problems)
		}
		if len(l.warnings) > 0 {
			t.Errorf("%q: got %q", tt.env, l.warnings)
		}
	}
	l := load(parseFlags(nil, nil), newEnviron([]string{"AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=us-west-2"}))
	if l.options.S3.Region != "eu-west-1" {
		t.Errorf("got the region %q", l.options.S3.Region)
	}
}

func TestWhatIsSetInVainIsWarnedAbout(t *testing.T) {
	for _, tt := range []struct{ env, want string }{
		{"STORAGE_BACKEND=local STORAGE_CDN_BASE_URL=https://cdn.example.com", `STORAGE_CDN_BASE_URL: with backend "local" nothing is read through the CDN`},
		{"STORAGE_CDN_BASE_URL=https://cdn.example.com", ""},
		{"S3_BUCKET=objects AWS_ACCESS_KEY_ID=i", "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
		{"S3_BUCKET=objects AWS_SECRET_KEY=k", "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
		{"S3_BUCKET=objects AWS_ACCESS_KEY_ID=i AWS_SECRET_KEY=k", ""},
		{"S3_BUCKET=objects S3_ACCESS_KEY_ID=i S3_SECRET_ACCESS_KEY=k AWS_ACCESS_KEY_ID=i", ""},
		{"AWS_ACCESS_KEY_ID=i", ""},
	} {
		l := load(parseFlags(nil, nil), newEnviron(strings.Fields(tt.env)))
		got := strings.Join(l.warnings, "\n")
		if !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") || len(l.problems) > 0 {
			t.Errorf("%s: got %q, %q, want %q", tt.env, got, l.problems, tt.want)
		}
	}
}
