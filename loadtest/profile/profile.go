// Package profile has ready-made loads: the ways in which a forge uses its
// storage, as Configs. It holds data and runs nothing.
package profile

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// A Profile is one way to use a store.
type Profile struct {
	Name    string
	Summary string // one line
	Doc     string // where the shape comes from and what to look at, some lines
	Chaos   bool   // made for the command chaos, which does something to the nodes meanwhile
	config  func(*loadtest.Config)
}

// Config returns the Config of the profile, which lacks the Targets.
func (p *Profile) Config() loadtest.Config {
	cfg := loadtest.DefaultConfig()
	cfg.Name, cfg.Profile = p.Name, p.Name
	p.config(&cfg)
	return cfg
}

// All returns the profiles, the most usual first.
func All() []Profile { return slices.Clone(profiles) }

var profiles = []Profile{
	{
		Name:    "getpath",
		Summary: "files of a repository are read: a head, its tree, a blob, in equal numbers",
		Doc: `Each read of a path asks for the head (64 bytes, mutable, so validated at the
origin), the tree that it names (a list of all paths, 0.1 to 8 MB) and a blob.
Look at the times by part: heads show what validation costs, trees the bandwidth,
blobs the hit path.`,
		config: func(c *loadtest.Config) { c.Rate, c.Mix = "150", getPath() },
	},
	{
		Name:    "stampede",
		Summary: "after each landing all readers go over to one new tree at once",
		Doc: `One tree is read by everybody, and every five seconds it is another one that
nobody had. The cluster should fetch each tree once: look at the origin gets per
key, which is 1 then, and at the maximum of the response time in the first second
of each tree. Give the nodes empty caches between prepare and run, or they have
the trees already.`,
		config: func(c *loadtest.Config) {
			c.Rate, c.Duration, c.Connections = "400", time.Minute, 64
			c.Mix = loadtest.Mix{Parts: []loadtest.Part{{
				Name: "trees", Weight: 1, Keys: 64, Class: loadtest.ClassImmutable,
				Access: loadtest.Access{Kind: loadtest.AccessHot, HotKeys: 1, HotShare: 1, ShiftEvery: 5 * time.Second, ShiftBy: 1},
				Sizes:  loadtest.Sizes{Kind: loadtest.SizesFixed, Bytes: 256 * kib},
				Ops:    loadtest.Ops{Get: 1},
			}}}
		},
	},
	{
		Name:    "rollup",
		Summary: "a sweep over landing records: small objects, one after the other",
		Doc: `The scheduler of rollups reads every landing record of every project, some 360
bytes each, in order. Each is read once in a sweep, so a cache that keeps what was
read last evicts what it needs next; and to the nodes they are mutable, so each
read is validated. Look at what a small request costs the servers and the origin.`,
		config: func(c *loadtest.Config) {
			c.Rate = "2000"
			c.Mix = loadtest.Mix{Parts: []loadtest.Part{{
				Name: "landings", Weight: 1, Keys: 20_000, Class: loadtest.ClassMutable,
				Access: loadtest.Access{Kind: loadtest.AccessScan},
				Sizes:  loadtest.Sizes{Kind: loadtest.SizesLogNormal, Bytes: 360, Sigma: 0.1, Min: 325, Max: 600},
				Ops:    loadtest.Ops{Get: 1},
			}}}
		},
	},
	{
		Name:    "follow",
		Summary: "viewers follow the events of sessions: a listing and some small objects a second for each",
		Doc: `Each viewer lists the events of a session every second and reads those that are
new. Listings go to the origin. 50 viewers with four events each are 250 requests
a second, arriving at random as those of many clients do.`,
		config: func(c *loadtest.Config) {
			c.Rate, c.Connections = "poisson:250", 50
			c.Mix = loadtest.Mix{Parts: []loadtest.Part{{
				Name: "events", Weight: 1, Keys: 2_000, Class: loadtest.ClassMutable,
				Access: loadtest.Access{Kind: loadtest.AccessZipf, Exponent: 0.9},
				Sizes:  loadtest.Sizes{Kind: loadtest.SizesLogNormal, Bytes: 400, Sigma: 0.5, Min: 100, Max: 4 * kib},
				Ops:    loadtest.Ops{List: 1, Get: 4},
			}}}
		},
	},
	{
		Name:    "artifacts",
		Summary: "build outputs of 50 MB, of which a few are asked for nearly always",
		Doc: `Of forty artifacts of 50 MB, 2 GB in all, eight get 95 % of the reads. Hits
are a matter of bandwidth. The others evict what is kept unless the cache knows
better: give the nodes less room than 2 GB, and the hit ratio should stay near 95 %.`,
		config: func(c *loadtest.Config) {
			c.Rate, c.Connections, c.Duration = "4", 8, time.Minute
			c.Timeout, c.Grace, c.CheckEvery = time.Minute, 30*time.Second, 8
			c.Mix = loadtest.Mix{Parts: []loadtest.Part{{
				Name: "artifacts", Weight: 1, Keys: 40, Class: loadtest.ClassVerified,
				Access: loadtest.Access{Kind: loadtest.AccessHot, HotKeys: 8, HotShare: 0.95},
				Sizes:  loadtest.Sizes{Kind: loadtest.SizesLogNormal, Bytes: 50 * mib, Sigma: 0.1, Min: 30 * mib, Max: 80 * mib},
				Ops:    loadtest.Ops{Get: 1},
			}}}
		},
	},
	{
		Name:    "crawler",
		Summary: "crawlers ask for preview images, each about once",
		Doc: `Images of 20 to 200 KB, asked for evenly, with a HEAD to every fourth GET. Next to
nothing is asked for twice in time to be of use. Beside another load this tells
whether what is read once pushes out what is read often.`,
		config: func(c *loadtest.Config) {
			c.Rate = "poisson:100"
			c.Mix = loadtest.Mix{Parts: []loadtest.Part{{
				Name: "images", Weight: 1, Keys: 5_000, Class: loadtest.ClassImmutable,
				Access: loadtest.Access{Kind: loadtest.AccessUniform},
				Sizes:  loadtest.Sizes{Kind: loadtest.SizesLogNormal, Bytes: 60 * kib, Sigma: 0.6, Min: 20 * kib, Max: 200 * kib},
				Ops:    loadtest.Ops{Get: 4, Head: 1},
			}}}
		},
	},
	{
		Name:    "churn",
		Summary: "getpath while nodes leave and come, or the origin is slow",
		Doc: `The load of getpath for two minutes, to be given to the command chaos: what fails,
what the 99th percentile is meanwhile, and how long until it is as before. A node that
is drained must cost nobody an error.`,
		Chaos: true,
		config: func(c *loadtest.Config) {
			c.Rate, c.Duration, c.Timeout, c.Mix = "150", 2*time.Minute, 5*time.Second, getPath()
		},
	},
}

// getPath is what the reads of paths ask for.
func getPath() loadtest.Mix {
	hot := loadtest.Access{Kind: loadtest.AccessZipf, Exponent: 0.99}
	return loadtest.Mix{Parts: []loadtest.Part{
		{
			Name: "heads", Weight: 1, Keys: 500, Class: loadtest.ClassMutable, Access: hot,
			Sizes: loadtest.Sizes{Kind: loadtest.SizesFixed, Bytes: 64},
			Ops:   loadtest.Ops{Get: 1},
		},
		{
			Name: "trees", Weight: 1, Keys: 200, Class: loadtest.ClassImmutable, Access: hot,
			Sizes: loadtest.Sizes{Kind: loadtest.SizesLogNormal, Bytes: 500 * kib, Sigma: 1, Min: 100 * kib, Max: 8 * mib},
			Ops:   loadtest.Ops{Get: 1},
		},
		{
			Name: "blobs", Weight: 1, Keys: 10_000, Class: loadtest.ClassImmutable, Access: hot,
			Sizes: loadtest.Sizes{Kind: loadtest.SizesLogNormal, Bytes: 8 * kib, Sigma: 1, Min: 1 * kib, Max: 100 * kib},
			Ops:   loadtest.Ops{Get: 1},
		},
	}}
}

// ByName returns the profile of a name.
func ByName(name string) (*Profile, error) {
	var names []string
	for _, p := range All() {
		if p.Name == name {
			return &p, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("profile: there is no profile %q: there are %s", name, strings.Join(names, ", "))
}

// Scale multiplies the numbers of objects of a Config, for machines with less
// room or more; each part keeps one at least, and as many hot ones, and one whose
// hot objects are replaced as many as that takes within the Duration. The rates stay.
func Scale(cfg *loadtest.Config, factor float64) error {
	if !(factor > 0) || math.IsInf(factor, 1) {
		return fmt.Errorf("profile: numbers of objects cannot be multiplied by %v", factor)
	}
	parts := make([]loadtest.Part, len(cfg.Mix.Parts))
	for i, p := range cfg.Mix.Parts {
		p.Keys = scaled(p.Keys, factor)
		if p.Access.HotKeys > 0 {
			p.Access.HotKeys = min(scaled(p.Access.HotKeys, factor), p.Keys)
		}
		p.Keys = max(p.Keys, replaced(&p, cfg.Duration))
		parts[i] = p
	}
	cfg.Mix.Parts = parts
	return nil
}

// CheckShifts returns an error if a part has fewer objects than the Duration takes
// of it: what is to be read for the first time would have been read before.
func CheckShifts(cfg *loadtest.Config) error {
	for _, p := range cfg.Mix.Parts {
		if n := replaced(&p, cfg.Duration); n > p.Keys {
			return fmt.Errorf("profile: within %v the part %s goes over to other objects so often that it takes %d, and has %d: scale it by %.3g",
				cfg.Duration, p.Name, n, p.Keys, math.Ceil(10*float64(n)/float64(p.Keys))/10)
		}
	}
	return nil
}

// replaced is how many objects are hot one after the other, of a part that replaces
// all of them at once; 0 of others.
func replaced(p *loadtest.Part, within time.Duration) int64 {
	a := &p.Access
	if a.Kind != loadtest.AccessHot || a.HotShare < 1 || a.ShiftBy < 1 || a.ShiftEvery <= 0 {
		return 0
	}
	return a.HotKeys * int64((within+a.ShiftEvery-1)/a.ShiftEvery)
}

// scaled keeps within what a float64 counts, which is more than there can be.
func scaled(n int64, factor float64) int64 {
	return int64(max(1, min(math.Round(float64(n)*factor), 1<<53)))
}

// Volume returns how many objects prepare stores, and how many bytes they are
// about: of log-normal sizes the mean, without their bounds.
func Volume(cfg *loadtest.Config) (objects int64, bytes float64) {
	for _, p := range cfg.Mix.Parts {
		objects += p.Keys
		size := float64(p.Sizes.Bytes)
		if p.Sizes.Kind == loadtest.SizesLogNormal {
			size *= math.Exp(p.Sizes.Sigma * p.Sizes.Sigma / 2)
		}
		bytes += float64(p.Keys) * size
	}
	return objects, bytes
}
