package profile_test

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/profile"
)

// store is the shortest server that a load can be put on.
func store(t *testing.T) string {
	var objects sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			objects.Store(r.URL.Path, string(body))
		case r.URL.Query().Has("list-type"):
			io.WriteString(w, "<ListBucketResult></ListBucketResult>")
		default:
			body, found := objects.Load(r.URL.Path)
			if !found {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body.(string)))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Each profile runs: what it asks for is what prepare stores, and its operations
// are ones that a store has.
func TestEveryProfileRuns(t *testing.T) {
	for _, p := range profile.All() {
		t.Run(p.Name, func(t *testing.T) {
			cfg := p.Config()
			if err := profile.Scale(&cfg, 0.01); err != nil {
				t.Fatal(err)
			}
			for i := range cfg.Mix.Parts { // 50 MB say no more than 4 KB here
				s := &cfg.Mix.Parts[i].Sizes
				s.Bytes, s.Min, s.Max = min(s.Bytes, 4096), 0, 0
			}
			cfg.Targets, cfg.Rate, cfg.Requests, cfg.CheckEvery = []string{store(t)}, "max", 200, 1
			if _, err := loadtest.Prepare(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			result, err := loadtest.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if result.Totals.Sent != 200 || result.Totals.Failed != 0 {
				t.Errorf("%d requests sent and %d failed, want 200 and none: %v", result.Totals.Sent, result.Totals.Failed, result.Examples)
			}
			if result.Config.Profile != p.Name {
				t.Errorf("the result says that it is of the profile %q", result.Config.Profile)
			}
		})
	}
}

func TestEveryProfileIsExplained(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range profile.All() {
		if seen[p.Name] || p.Summary == "" || strings.Contains(p.Summary, "\n") || len(p.Doc) < 100 {
			t.Errorf("%s: the summary is %q, the text %q", p.Name, p.Summary, p.Doc)
		}
		for line := range strings.Lines(p.Doc) {
			if len(line) > 100 {
				t.Errorf("%s: a line of %d bytes does not fit a terminal: %s", p.Name, len(line), line)
			}
		}
		seen[p.Name] = true
		cfg := p.Config()
		if _, err := loadtest.ParsePacer(cfg.Rate, cfg.Seed); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if cfg.Duration < 10*time.Second {
			t.Errorf("%s: %v are too short to say anything", p.Name, cfg.Duration)
		}
		if objects, bytes := profile.Volume(&cfg); objects > 100_000 || bytes > 3<<30 {
			t.Errorf("%s: %d objects and %.0f bytes do not fit a usual machine", p.Name, objects, bytes)
		}
	}
	if _, err := profile.ByName("getpath"); err != nil {
		t.Error(err)
	}
	if _, err := profile.ByName("none"); err == nil || !strings.Contains(err.Error(), "getpath, stampede") {
		t.Errorf("a name that is none: %v, want a list of those that are", err)
	}
}

func TestScalingKeepsAPartAPart(t *testing.T) {
	for _, factor := range []float64{1e-9, 0.01, 1, 10, 1e300} {
		for _, p := range profile.All() {
			cfg, full := p.Config(), p.Config()
			if err := profile.Scale(&cfg, factor); err != nil {
				t.Fatal(err)
			}
			for i, part := range cfg.Mix.Parts {
				if part.Keys < 1 || part.Access.HotKeys > part.Keys || (part.Access.HotKeys < 1) != (full.Mix.Parts[i].Access.HotKeys < 1) {
					t.Errorf("%s by %v: %d keys, %d hot", p.Name, factor, part.Keys, part.Access.HotKeys)
				}
				if factor == 10 && part.Keys != 10*full.Mix.Parts[i].Keys {
					t.Errorf("%s by 10: %d keys of %d", p.Name, part.Keys, full.Mix.Parts[i].Keys)
				}
			}
		}
	}
	cfg := loadtest.DefaultConfig()
	for _, factor := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if err := profile.Scale(&cfg, factor); err == nil {
			t.Errorf("scaled by %v", factor)
		}
	}
}

// A tenth of the trees of a stampede were six for twelve landings: half of them were read before.
func TestAScaledStampedeGoesOverToNewTreesOnly(t *testing.T) {
	p, err := profile.ByName("stampede")
	if err != nil {
		t.Fatal(err)
	}
	cfg := p.Config()
	if err := profile.Scale(&cfg, 0.1); err != nil {
		t.Fatal(err)
	}
	if got := cfg.Mix.Parts[0].Keys; got != 12 {
		t.Errorf("%d trees for a minute with one each 5s, want 12", got)
	}
	if err := profile.CheckShifts(&cfg); err != nil {
		t.Error(err)
	}
	if cfg.Duration += time.Second; profile.CheckShifts(&cfg) == nil {
		t.Error("12 trees are enough for more than a minute")
	}
}

// Profiles are made anew each time, so that nobody changes them for others.
func TestAConfigIsItsOwn(t *testing.T) {
	one := profile.All()[0].Config()
	one.Mix.Parts[0].Keys = 5
	if err := profile.Scale(&one, 2); err != nil {
		t.Fatal(err)
	}
	if two := profile.All()[0].Config(); two.Mix.Parts[0].Keys == 5 || two.Mix.Parts[0].Keys == 10 {
		t.Error("a change of one Config is in the next")
	}
}
