package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheDefaultConfigurationIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheFoldersFollowTheSeedsRules(t *testing.T) {
	tmp := os.TempDir()
	for _, tt := range []struct {
		name         string
		edit         func(*Config)
		local, cache string
	}{
		{"development", func(*Config) {}, filepath.Join(tmp, "micelio/storage"), filepath.Join(tmp, "micelio/cache")},
		{"production", func(c *Config) { c.Env = Production }, "/var/micelio/storage", "/var/micelio/cache"},
		{"data directory", func(c *Config) { c.DataDir = "/d" }, "/d/storage", "/d/cache"},
		{"data directory in production", func(c *Config) { c.Env, c.DataDir = Production, "/d" }, "/d/storage", "/d/cache"},
		{"specific names win", func(c *Config) { c.DataDir, c.LocalPath = "/d", "/l" }, "/l", "/d/cache"},
		{"specific cache wins", func(c *Config) { c.DataDir, c.CachePath = "/d", "/c" }, "/d/storage", "/c"},
	} {
		c := DefaultConfig()
		tt.edit(&c)
		c = c.Resolved()
		if c.LocalPath != tt.local || c.CachePath != tt.cache {
			t.Errorf("%s: got %s and %s, want %s and %s", tt.name, c.LocalPath, c.CachePath, tt.local, tt.cache)
		}
	}
}

func TestTheBucketDecidesTheOrigin(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		backend, origin, bucket string
		wantOrigin, wantBucket  string
	}{
		{"nothing set", BackendTiered, "", "", BackendLocal, "micelio"},
		{"a bucket means S3", BackendTiered, "", "objects", BackendS3, "objects"},
		{"the origin was named", BackendTiered, BackendLocal, "objects", BackendLocal, "objects"},
		{"no tiers over local", BackendLocal, "", "objects", BackendLocal, "objects"},
		{"no tiers over S3", BackendS3, BackendLocal, "", BackendS3, "micelio"},
	} {
		c := DefaultConfig()
		c.Backend, c.OriginBackend, c.S3.Bucket = tt.backend, tt.origin, tt.bucket
		c = c.Resolved()
		if c.Origin() != tt.wantOrigin || c.Bucket != tt.wantBucket {
			t.Errorf("%s: got origin %s and bucket %s, want %s and %s", tt.name, c.Origin(), c.Bucket, tt.wantOrigin, tt.wantBucket)
		}
	}
}

func TestResolvingTwiceChangesNothing(t *testing.T) {
	c := DefaultConfig()
	c.S3.Bucket, c.S3.Endpoint = "objects", "s3.example.com"
	once := c.Resolved()
	if diff := cmp.Diff(once, once.Resolved()); diff != "" {
		t.Error(diff)
	}
}

// faults returns the problems of c.
func faults(t *testing.T, c Config) []*SettingError {
	t.Helper()
	err := c.Validate()
	if err == nil {
		return nil
	}
	var out []*SettingError
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		e, ok := errors.AsType[*SettingError](err)
		if !ok {
			t.Fatalf("%v is a %T", err, err)
		}
		if strings.Contains(e.Problem, "\n") {
			t.Errorf("more than one line: %q", e.Problem)
		}
		out = append(out, e)
	}
	return out
}

func TestEachFaultNamesItsSetting(t *testing.T) {
	for _, tt := range []struct {
		setting, problem string
		edit             func(*Config)
	}{
		{"env", `"prod" is unknown: use development, test or production`, func(c *Config) { c.Env = "prod" }},
		{"name", "is not a name", func(c *Config) { c.Name = "a/b" }},
		{"name", "is not a name", func(c *Config) { c.Name = strings.Repeat("n", 65) }},
		{"cluster", "is not a name", func(c *Config) { c.Cluster = "" }},
		{"weight", "0 is no weight: write a number from 1 to 10", func(c *Config) { c.Weight = 0 }},
		{"weight", "11 is no weight", func(c *Config) { c.Weight = 11 }},
		{"bucket", "is not a bucket name", func(c *Config) { c.Bucket = "a/b" }},
		{"bucket", "is not a bucket name", func(c *Config) { c.Bucket = ".." }},
		{"listen", "is not an address", func(c *Config) { c.Listen = "8080" }},
		{"listen", "is not an address", func(c *Config) { c.Listen = "tcp://10.0.0.1:8080" }},
		{"listen", "is not an address", func(c *Config) { c.Listen = "" }},
		{"peer-listen", "no valid port", func(c *Config) { c.PeerListen = "127.0.0.1:70000" }},
		{"gossip-listen", "no valid port", func(c *Config) { c.GossipListen = "127.0.0.1:http" }},
		{"peer-listen", "is taken by --listen", func(c *Config) { c.PeerListen = c.Listen }},
		{"admin-listen", "is taken by --peer-listen", func(c *Config) { c.AllowAnonymous, c.AdminListen = true, ":8081" }},
		{"peer-listen", "can be found by other machines through --gossip-listen but not asked", func(c *Config) {
			c.GossipListen, c.ClusterSecret = ":7946", Secret(strings.Repeat("s", minClusterSecret))
		}},
		{"peer-listen", "or say --peer-advertise", func(c *Config) { c.GossipListen, c.AllowAnonymous = "10.0.0.1:7946", true }},
		{"peer-advertise", "is not an address", func(c *Config) { c.PeerAdvertise = "example.com" }},
		{"gossip-advertise", "no address that others can reach", func(c *Config) { c.GossipAdvertise = "0.0.0.0:7946" }},
		{"join", "is not an address", func(c *Config) { c.Join = []string{"example.com"} }},
		{"join", "not the address of a node", func(c *Config) { c.Join = []string{"example.com:0"} }},
		{"join", "not the address of a node", func(c *Config) { c.Join = []string{":7946"} }},
		{"backend", "use tiered, local or s3", func(c *Config) { c.Backend = "disk" }},
		{"origin-backend", "use local or s3", func(c *Config) { c.OriginBackend = BackendTiered }},
		{"cache-path", "inside one another", func(c *Config) { c.LocalPath, c.CachePath = "/d/s", "/d/s/" }},
		{"cache-path", "inside one another", func(c *Config) { c.LocalPath, c.CachePath = "/d", "/d/s/../c" }},
		{"cache-path", "inside one another", func(c *Config) { c.LocalPath, c.CachePath = "/d/c/s", "/d/c" }},
		{"max-object-bytes", "admits no object", func(c *Config) { c.MaxObjectBytes = 0 }},
		{"fill-memory-bytes", "leaves no memory", func(c *Config) { c.FillMemoryBytes = -1 }},
		{"verified-keys", `"cas/*" must contain {sha256}`, func(c *Config) { c.VerifiedKeys = []string{"cas/*"} }},
		{"immutable-keys", `"a//b"`, func(c *Config) { c.ImmutableKeys = []string{"a//b"} }},
		{"staleness", `"sessions/**=soon" has no duration`, func(c *Config) { c.Staleness = []string{"sessions/**=soon"} }},
		{"canary-interval", "is negative", func(c *Config) { c.CanaryInterval = -1 }},
		{"drain-delay", "is negative", func(c *Config) { c.DrainDelay = -1 }},
		{"drain-handover", "is negative", func(c *Config) { c.DrainHandover = -1 }},
		{"drain-timeout", "leaves no time", func(c *Config) { c.DrainTimeout = 0 }},
		{"private-keys", "malformed key pattern", func(c *Config) { c.PrivateKeys = []string{"a//b"} }},
		{"private-keys", "must not contain {sha256}", func(c *Config) { c.PrivateKeys = []string{"x/{sha256}"} }},
		{"access-log-rate", "-1 is negative", func(c *Config) { c.AccessLogRate = -1 }},
		{"log-format", "use auto, text or json", func(c *Config) { c.LogFormat = "xml" }},
	} {
		c := DefaultConfig()
		tt.edit(&c)
		got := faults(t, c)
		if len(got) != 1 || got[0].Setting != tt.setting || !strings.Contains(got[0].Problem, tt.problem) {
			t.Errorf("got %v, want only %s: …%s…", got, tt.setting, tt.problem)
		}
	}
}

func TestAllFaultsAreReportedTogether(t *testing.T) {
	c := DefaultConfig()
	c.Env, c.Cluster, c.Listen, c.LogFormat = "prod", "-", "nowhere", "xml"
	c.Join = []string{"a", "b"}
	if got := faults(t, c); len(got) != 6 {
		t.Errorf("got %d faults, want 6: %v", len(got), got)
	}
}

func TestOnlyLoopbackIsOpenWithoutCredentials(t *testing.T) {
	for _, tt := range []struct {
		host     string
		loopback bool
	}{
		{"127.0.0.1", true}, {"127.8.9.1", true}, {"[::1]", true}, {"localhost", true}, {"[::ffff:127.0.0.1]", true},
		{"", false}, {"0.0.0.0", false}, {"[::]", false}, {"10.0.0.1", false}, {"[fe80::1%eth0]", false},
		{"example.com", false}, {"localhost.example.com", false}, {"127.0.0.1.example.com", false},
	} {
		for _, setting := range []string{"listen", "peer-listen", "gossip-listen", "admin-listen"} {
			c := DefaultConfig()
			c.PeerAdvertise = "cache-1.example.com:9999" // or else whom gossip reaches from outside must be askable there
			address := tt.host + ":9999"
			*map[string]*string{
				"listen": &c.Listen, "peer-listen": &c.PeerListen, "gossip-listen": &c.GossipListen, "admin-listen": &c.AdminListen,
			}[setting] = address
			got := faults(t, c)
			if refused := len(got) == 1 && got[0].Setting == setting; refused == tt.loopback {
				t.Errorf("--%s %s: faults %v", setting, address, got)
			}
			c.AllowAnonymous = true
			if got := faults(t, c); got != nil {
				t.Errorf("--%s %s with --allow-anonymous: faults %v", setting, address, got)
			}
		}
	}
}

// Whom other machines find they can ask, or are told where to.
func TestANodeThatCanBeFoundCanBeAsked(t *testing.T) {
	for _, tt := range []struct {
		gossip, peer, advertise string
		ok                      bool
	}{
		{"127.0.0.1:7946", "127.0.0.1:8081", "", true},
		{"127.0.0.1:7946", "10.0.0.1:8081", "", true},
		{"10.0.0.1:7946", "10.0.0.1:8081", "", true},
		{":7946", ":8081", "", true},
		{":7946", "127.0.0.1:8081", "10.0.0.1:18081", true},
		{":7946", "127.0.0.1:8081", "", false},
		{"10.0.0.1:7946", "localhost:8081", "", false},
		{"[fd00::1]:7946", "[::1]:8081", "", false},
	} {
		c := DefaultConfig()
		c.AllowAnonymous, c.GossipListen, c.PeerListen, c.PeerAdvertise = true, tt.gossip, tt.peer, tt.advertise
		if got := faults(t, c); (got == nil) != tt.ok {
			t.Errorf("gossip at %s, peers at %s, advertised %q: faults %v", tt.gossip, tt.peer, tt.advertise, got)
		}
	}
}

func TestFreePortsNeverCollide(t *testing.T) {
	c := DefaultConfig()
	c.Listen, c.PeerListen, c.AdminListen, c.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if got := faults(t, c); got != nil {
		t.Error(got)
	}
}

const planted = "planted-7f3a"

func TestSecretsAreNeverPrintedOrLogged(t *testing.T) {
	c := s3Config()
	c.ClusterSecret = planted // which is too short
	c.S3.AccessKeyID, c.S3.SecretAccessKey, c.S3.SessionToken, c.CDN.PrivateKey = planted, planted, planted, planted
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", c, &c, c.S3.SecretAccessKey)
	}
	fmt.Fprintln(&out, c.Validate()) // the key is no PEM
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("start", "config", c, "key", c.S3.SecretAccessKey)
	}
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Contains(text, planted) || strings.Contains(text, fmt.Sprintf("%x", planted)) {
		t.Errorf("a secret shows in\n%s", text)
	}
	if !strings.Contains(text, Mask) {
		t.Errorf("no mask shows in\n%s", text)
	}
	if string(c.S3.SecretAccessKey) != planted {
		t.Error("the secret itself is lost")
	}
}
