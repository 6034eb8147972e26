package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// injected matches the variables that Kubernetes puts into every container for
// each service of the namespace, as container links once did: for a service
// named micelio MICELIO_SERVICE_HOST, MICELIO_PORT=tcp://10.0.0.1:8080,
// MICELIO_PORT_8080_TCP_ADDR and so on.
var injected = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// serviceLinks returns what Kubernetes injects for a service: its own variables
// and those in the manner of container links.
func serviceLinks(service string, ports ...string) []string {
	prefix := strings.ToUpper(strings.ReplaceAll(service, "-", "_"))
	links := []string{
		prefix + "_SERVICE_HOST=10.0.0.1",
		prefix + "_SERVICE_PORT=8080",
		prefix + "_PORT=tcp://10.0.0.1:8080",
	}
	for i, name := range ports {
		number := 8080 + i
		links = append(links, fmt.Sprintf("%s_SERVICE_PORT_%s=%d", prefix, strings.ToUpper(name), number))
		for _, protocol := range []string{"TCP", "UDP"} {
			link := fmt.Sprintf("%s_PORT_%d_%s", prefix, number, protocol)
			links = append(links,
				fmt.Sprintf("%s=%s://10.0.0.1:%d", link, strings.ToLower(protocol), number),
				fmt.Sprintf("%s_PROTO=%s", link, strings.ToLower(protocol)),
				fmt.Sprintf("%s_PORT=%d", link, number),
				link+"_ADDR=10.0.0.1")
		}
	}
	return links
}

func TestServiceLinksSetNothing(t *testing.T) {
	_, want, _ := runWith(t, nil, "config")
	for _, service := range []string{
		"micelio", "micelio-node", "micelio-peer", "micelio-gossip", "micelio-admin", "micelio-listen", "micelio-s3",
		"micelio-cache", "micelio-config", "s3", "storage", "aws",
	} {
		code, got, stderr := runWith(t, serviceLinks(service, "http", "listen", "peer_listen", "s3"), "config")
		if code != exitOK || stderr != "" || got != want {
			t.Errorf("service %s: exit code %d\n%s%s", service, code, got, stderr)
		}
	}
}

func TestNoSettingLooksInjected(t *testing.T) {
	for _, s := range settings {
		for _, v := range s.variables() {
			if injected.MatchString(v.name) || injected.MatchString(v.name+fileVarSuffix) {
				t.Errorf("%s: Kubernetes would set %s for some service", s.name, v.name)
			}
		}
	}
	for _, pair := range serviceLinks("micelio", "http", "peer-listen") {
		if name, _, _ := strings.Cut(pair, "="); !injected.MatchString(name) {
			t.Errorf("%s is not recognised as injected", name)
		}
	}
}

func TestALinkThatAUserPutsIntoASettingIsRefused(t *testing.T) {
	code, _, stderr := runWith(t, []string{"MICELIO_LISTEN=tcp://10.0.0.1:8080"})
	if code != exitUsage || !strings.Contains(stderr, `MICELIO_LISTEN: "tcp://10.0.0.1:8080" is not an address`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestMisspeltVariablesAreWarnedAbout(t *testing.T) {
	for name, want := range map[string]string{
		"MICELIO_LISTN":                  "MICELIO_LISTEN",
		"MICELIO_DATADIR":                "MICELIO_DATA_DIR",
		"STORAGE_CACHE_PAHT":             "STORAGE_CACHE_PATH",
		"S3_BUCKETS":                     "S3_BUCKET",
		"S3_SECRET_ACCESS_KEYS_FILE":     "S3_SECRET_ACCESS_KEY_FILE",
		"MICELIO_DATABASE_URL":           "", // of a forge
		"MICELIO_NODE":                   "",
		"MICELIO_HOST":                   "",
		"MICELIO_SERVICE_HOST":           "",
		"STORAGE_PORT_8080_TCP_ADDR":     "",
		"MICELIO_LISTEN_SERVICE_HOST":    "",
		"LISTEN":                         "",
		"MICELIO_S3_SECRET_ACCESS_KEY":   "",
		"STORAGE_CACHE_MEMORY_MAX_BYTES": "",
	} {
		got := strings.Join(environ{name: "1"}.misspelt(), "\n")
		if want == "" && got != "" || want != "" && !strings.HasSuffix(got, name+" is not a setting; did you mean "+want+"?") {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestEmptyVariablesSetNothing(t *testing.T) {
	var env []string
	for _, s := range settings {
		for _, v := range s.variables() {
			env = append(env, v.name+"=", v.name+fileVarSuffix+"= ")
		}
	}
	_, want, _ := runWith(t, nil, "config")
	if code, got, stderr := runWith(t, env, "config"); code != exitOK || got != want {
		t.Errorf("exit code %d\n%s%s", code, got, stderr)
	}
}

func TestAnEmptyFlagEmptiesAList(t *testing.T) {
	l := load(parseFlags([]string{"--immutable-keys="}, nil), newEnviron([]string{"MICELIO_IMMUTABLE_KEYS=a/*"}))
	if len(l.options.ImmutableKeys) != 0 || len(l.problems) != 0 {
		t.Errorf("got %q, %q", l.options.ImmutableKeys, l.problems)
	}
}

func TestAListAddsUpWithinOneSourceOnly(t *testing.T) {
	file := writeFile(t, "join a:1\njoin b:2 c:3\n")
	for _, tt := range []struct {
		args, env []string
		want      []string
	}{
		{nil, nil, []string{"a:1", "b:2", "c:3"}},
		{nil, []string{"MICELIO_JOIN=d:4, e:5"}, []string{"d:4", "e:5"}},
		{[]string{"--join", "f:6", "--join", "g:7,h:8"}, []string{"MICELIO_JOIN=d:4"}, []string{"f:6", "g:7", "h:8"}},
	} {
		l := load(parseFlags(append(tt.args, "--config", file), nil), newEnviron(tt.env))
		if !slices.Equal(l.options.Join, tt.want) || len(l.problems) != 0 {
			t.Errorf("got %q, want %q; %q", l.options.Join, tt.want, l.problems)
		}
	}
}

func TestTheFileCanBeNamedByTheEnvironment(t *testing.T) {
	file := writeFile(t, "cluster one")
	l := load(parseFlags(nil, nil), environ{"MICELIO_CONFIG": file})
	if l.options.Cluster != "one" || l.from["cluster"] != (source{"file", file + ":1"}) {
		t.Errorf("got %q from %v", l.options.Cluster, l.from["cluster"])
	}
	l = load(parseFlags(nil, nil), environ{"MICELIO_CONFIG": "/nowhere"})
	if len(l.problems) != 1 || !strings.HasPrefix(l.problems[0], "MICELIO_CONFIG: cannot read the settings") {
		t.Errorf("got %q", l.problems)
	}
}

func TestTheSeedsEnvironmentWorksAsItIs(t *testing.T) {
	l := load(parseFlags(nil, nil), newEnviron([]string{
		"MICELIO_ENV=production", "STORAGE_BACKEND=tiered", "STORAGE_ORIGIN_BACKEND=s3",
		"STORAGE_CACHE_MEMORY_MAX_BYTES=64000000", "STORAGE_CDN_BASE_URL=https://cdn.example.com/micelio", "STORAGE_CDN_TIMEOUT_MS=1500",
		"S3_BUCKET=objects", "S3_REGION=auto", "S3_ENDPOINT=https://s3.example.com", "S3_URL_STYLE=path",
		"S3_ACCESS_KEY_ID=id", "S3_SECRET_ACCESS_KEY=key",
	}))
	c := l.options.Config
	got := fmt.Sprint(c.Env, c.Backend, c.Origin(), c.LocalPath, c.CachePath, c.RAMBytes, c.CDN.BaseURL, c.CDN.Timeout,
		c.Bucket, c.S3.Region, c.S3.Endpoint, c.S3.URLStyle, string(c.S3.AccessKeyID), string(c.S3.SecretAccessKey))
	want := fmt.Sprint("production", "tiered", "s3", "/var/micelio/storage", "/var/micelio/cache", 64000000, "https://cdn.example.com/micelio", "1.5s",
		"objects", "auto", "https://s3.example.com", "path", "id", "key")
	if got != want || len(l.problems)+len(l.warnings) > 0 {
		t.Errorf("got  %s\nwant %s\n%q %q", got, want, l.problems, l.warnings)
	}
}

func TestASecretComesFromAFile(t *testing.T) {
	secret := writeFile(t, "s3cr=t #1\r\n")
	file := writeFile(t, "s3-secret-access-key-file "+secret)
	for _, tt := range []struct {
		args, env []string
		from      source
	}{
		{nil, []string{"MICELIO_S3_SECRET_ACCESS_KEY_FILE=" + secret}, source{"environment", "MICELIO_S3_SECRET_ACCESS_KEY_FILE"}},
		{nil, []string{"S3_SECRET_ACCESS_KEY_FILE=" + secret}, source{"environment", "S3_SECRET_ACCESS_KEY_FILE"}},
		{[]string{"--s3-secret-access-key-file", secret}, []string{"S3_SECRET_ACCESS_KEY=weaker"}, source{"flag", "--s3-secret-access-key-file"}},
		{[]string{"--config", file}, nil, source{"file", file + ":1"}},
	} {
		l := load(parseFlags(tt.args, nil), newEnviron(tt.env))
		if got := string(l.options.S3.SecretAccessKey); got != "s3cr=t #1" || l.from["s3-secret-access-key"] != tt.from || len(l.problems) > 0 {
			t.Errorf("got %q from %v, want it from %v; %q", got, l.from["s3-secret-access-key"], tt.from, l.problems)
		}
	}
	empty := writeFile(t, "\n")
	l := load(parseFlags([]string{"--s3-secret-access-key-file", empty}, nil), nil)
	if len(l.problems) != 1 || !strings.Contains(l.problems[0], "is empty") {
		t.Errorf("an empty file: got %q", l.problems)
	}
	l = load(parseFlags([]string{"--s3-secret-access-key-file=/dev/zero"}, nil), nil)
	if len(l.problems) != 1 || !strings.Contains(l.problems[0], "is larger than") {
		t.Errorf("an endless file: got %q", l.problems)
	}
}
