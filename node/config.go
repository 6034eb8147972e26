package node

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/object"
)

// The environments a node can run in. Only Production changes a default.
const (
	Development = "development"
	Test        = "test"
	Production  = "production"
)

// The backends: what answers a read. With BackendTiered the RAM and SSD tiers
// stand in front of an origin; the other two name an origin that is used
// without tiers.
const (
	BackendLocal  = "local"
	BackendS3     = "s3"
	BackendTiered = "tiered"
)

// The forms of the log. LogAuto is text on a terminal and JSON elsewhere.
const (
	LogAuto = "auto"
	LogText = "text"
	LogJSON = "json"
)

// A Config is all that can be set on a node. Start from [DefaultConfig]: the
// zero value of a number is a value, not "the default". Strings that are left
// empty are derived from the others by [Config.Resolved]. A Config is a value;
// copies share only the slices, which nothing changes in place.
type Config struct {
	// Env is Development (the default), Test or Production. Production keeps
	// data in /var/micelio instead of a folder that a reboot may empty.
	Env string

	// Name is the stable id of the node in the ring; no two nodes of a cluster
	// may share one. Empty (the default): the node chooses an id once and keeps
	// it in DataDir, so that it owns the same keys after a restart.
	Name string

	// Cluster is the name that nodes must share to gossip with one another;
	// "micelio" by default. It keeps clusters on one network apart and is no
	// secret.
	Cluster string

	// ClusterSecret is what nodes prove to one another to be of one cluster: 32
	// characters or more, not easily guessed. Several may stand on lines of
	// their own, to change it without a stop: the first is used, all are
	// accepted (see ClusterSecrets). Empty (the default): whoever reaches the
	// ports of other nodes is one of them.
	ClusterSecret Secret

	// Weight is how many keys the node owns in proportion to others, 1 (the
	// default) to 10: give nodes of twice the SSD twice the weight. Where all
	// nodes are alike it stays 1. It takes effect with a start of the node.
	Weight int

	// Join lists gossip addresses, HOST:PORT, of nodes to join. A host may be a
	// DNS name with many addresses. Empty (the default): the node is the first
	// of its cluster and waits to be joined.
	Join []string

	// Listen (127.0.0.1:8080) is where clients connect, PeerListen
	// (127.0.0.1:8081) where other nodes do, AdminListen (127.0.0.1:8082) has
	// health, metrics and the ring, and GossipListen (127.0.0.1:7946, both TCP
	// and UDP) is for membership. Port 0 takes a free port. Addresses that are
	// not loopback need AllowAnonymous.
	Listen       string
	PeerListen   string
	AdminListen  string
	GossipListen string

	// AdminHosts are names besides this machine's by which browsers may ask the
	// admin listener: "node1.example.com", ".example.com" for all below it, "*" for
	// any. Addresses, and names that nobody can register, need none. Empty by
	// default: a stranger's page could take a name of its own for this node.
	AdminHosts []string

	// PeerAdvertise and GossipAdvertise are the HOST:PORT at which other nodes
	// reach this one, where that is not the address it listens on (a container
	// network, 0.0.0.0). Empty (the default): the node works them out. Port 0
	// is the port that was bound.
	PeerAdvertise   string
	GossipAdvertise string

	// AllowAnonymous accepts listeners that others can reach although no
	// credentials protect them. False by default: whoever reaches a listener
	// can read and write every object.
	AllowAnonymous bool

	// DataDir holds what the node keeps on disk. Empty: /var/micelio with Env
	// Production, else micelio in the folder for temporary files.
	DataDir string

	// Bucket is the name under which clients address the objects, the first
	// segment of every URL. Empty: S3.Bucket if that is set, else "micelio".
	Bucket string

	// Backend is BackendTiered (the default), BackendLocal or BackendS3.
	Backend string

	// OriginBackend is the authority behind the tiers, BackendLocal or
	// BackendS3. Empty: BackendS3 if S3.Bucket is set, else BackendLocal.
	// Ignored unless Backend is BackendTiered: see Origin.
	OriginBackend string

	// LocalPath is the folder of the local origin. Empty: DataDir/storage.
	LocalPath string

	// CachePath is the folder of the SSD tier. Its contents may be lost at any
	// time. Empty: DataDir/cache.
	CachePath string

	// RAMBytes bounds the RAM tier, overhead and what fills borrow of it
	// included. 64,000,000 by default, little enough for any machine; 0 or less
	// turns the tier off.
	RAMBytes int64

	// HotCopies keeps copies of other nodes' keys that never change and are read
	// very much, for seconds, in up to an eighth of RAMBytes, which the RAM tier
	// has while there are none. True by default: one key then is no more than one
	// node can answer, times the nodes.
	HotCopies bool

	// FastLane answers plain reads of what is in memory without net/http, which
	// takes twice as long. True by default; the answers are the same.
	FastLane bool

	// SSDBytes bounds the SSD tier: all its files together never take more.
	// 10 GiB by default: large enough to hold a team's working set, small
	// enough for the disk of a laptop. 0 or less turns the tier off.
	SSDBytes int64

	// SSDPreallocate takes SSDBytes off the disk at the start, so that a disk
	// that is too small is noticed then. Otherwise the tier takes space as it
	// needs it, and goes on with what it has got when the disk is full.
	SSDPreallocate bool

	// SSDWriteRate bounds what is written to the SSD tier over time, in bytes
	// a second, because flash wears out. 0, the default: no bound.
	SSDWriteRate int64

	// Fill says what a read of a part of a large object that is not cached
	// fetches: FillRange, the default, or FillWhole.
	Fill string

	// FillMemoryBytes bounds the memory of all fills in flight together. It
	// comes out of RAMBytes while it is in use, up to half of that. 32,000,000
	// by default, that half: 30 large objects, or thousands of small ones, at
	// once, and cold traffic does not add to the size of a node.
	FillMemoryBytes int64

	// MaxObjectBytes is the largest object accepted. 5 GiB by default, the most
	// that S3 takes in one PUT.
	MaxObjectBytes int64

	// VerifiedKeys and ImmutableKeys are the patterns of the classes of these
	// names, as object.NewClasses reads them. By default the forge's own
	// content-addressed names; empty slices make every key mutable.
	VerifiedKeys  []string
	ImmutableKeys []string

	// Staleness are rules as object.NewStaleness reads them, such as
	// "sessions/**=1s": how stale a read of these mutable keys may be. None by
	// default: every read asks the origin.
	Staleness []string

	// CanaryInterval is how often the node checks that what it writes through
	// the cluster is seen through another node. 10 s by default; 0: never.
	CanaryInterval time.Duration

	// S3 is the bucket behind the node, if S3 is its origin.
	S3 S3Config

	// AllowWeakOrigin keeps mutable keys also in an S3 origin that was found to
	// ignore or to race conditional writes. False by default: such an origin
	// refuses them, because two writers could overwrite each other unnoticed.
	AllowWeakOrigin bool

	// CDN is a CDN in front of the bucket, if there is one.
	CDN CDNConfig

	// DrainDelay is how long a stopping node goes on accepting requests after
	// it said that it is not ready, so that load balancers notice first. 5 s by
	// default: they commonly probe every few seconds. 0 skips the wait.
	DrainDelay time.Duration

	// DrainHandover bounds how long a stopping node hands its hottest objects on
	// to the nodes that take over its keys, while it waits for DrainDelay. 5 s
	// by default; 0: not at all.
	DrainHandover time.Duration

	// DrainTimeout bounds the wait for requests in flight after that. 20 s by
	// default, which together with DrainDelay stays inside the 30 s that
	// Kubernetes grants between SIGTERM and SIGKILL.
	DrainTimeout time.Duration

	// LogLevel is the least severe level that is logged; info by default.
	LogLevel slog.Level

	// AccessLogRate is how many requests that went well are logged a second at most, a
	// line each; of clients and, apart from those, of other nodes. 10 by default: who
	// tries a node out sees each, and where there are thousands a second the log costs
	// nothing that could be measured. 0: none. Requests that were answered with 500 and
	// above, but for 501, or broke off, are always logged.
	AccessLogRate int

	// PrivateKeys are patterns, as object.NewPatterns reads them, of keys that are
	// shown to nobody who reads logs or the console. By default "sessions/**", whose
	// names are as good as passwords in some forges; an empty slice: all are shown.
	PrivateKeys []string

	// LogFormat is LogAuto (the default), LogText or LogJSON.
	LogFormat string

	// Program is what the program around the node knows of itself. It changes
	// nothing but what people see.
	Program Program
}

// A Program is what a node runs in.
type Program struct {
	Version  string // such as "v1.2.0"; empty: unknown
	Revision string // of the source; empty: unknown

	// Settings are the lines in which the console shows the configuration, secrets
	// masked. nil: it shows none.
	Settings []console.Setting
}

// A Secret is a string that is printed and logged as [Mask] only. Convert it to
// string where it is used.
type Secret string

// Mask is what stands for a secret in everything that people read.
const Mask = "********"

// Format implements fmt.Formatter, for every verb.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = io.WriteString(f, Mask) // the state of a print call keeps no error
	}
}

// MarshalText implements encoding.TextMarshaler, which JSON and log/slog use.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte(Mask), nil
}

// What a read of a part of a large object fetches.
const (
	FillRange = "range" // the part, in units of 4 MiB
	FillWhole = "whole" // all of the object
)

// The numbers behind the defaults. Each field of Config gives the reason.
const (
	defaultRAMBytes        = 64_000_000
	defaultSSDBytes        = 10 << 30
	defaultFillMemoryBytes = defaultRAMBytes / 2
	defaultMaxObjectBytes  = 5 << 30
	defaultCanaryInterval  = 10 * time.Second
	defaultDrainDelay      = 5 * time.Second
	defaultDrainHandover   = 5 * time.Second
	defaultDrainTimeout    = 20 * time.Second
	defaultAccessLogRate   = 10
)

// DefaultConfig returns the configuration of a node of which nothing was set.
// Fields that depend on others are empty until Resolved.
func DefaultConfig() Config {
	return Config{
		Env:             Development,
		Cluster:         "micelio",
		Weight:          1,
		Listen:          "127.0.0.1:8080",
		PeerListen:      "127.0.0.1:8081",
		AdminListen:     "127.0.0.1:8082",
		GossipListen:    "127.0.0.1:7946",
		Backend:         BackendTiered,
		RAMBytes:        defaultRAMBytes,
		HotCopies:       true,
		FastLane:        true,
		SSDBytes:        defaultSSDBytes,
		Fill:            FillRange,
		FillMemoryBytes: defaultFillMemoryBytes,
		MaxObjectBytes:  defaultMaxObjectBytes,
		VerifiedKeys:    slices.Clone(object.DefaultVerified),
		ImmutableKeys:   slices.Clone(object.DefaultImmutable),
		S3:              defaultS3(),
		CDN:             CDNConfig{Timeout: defaultCDNTimeout},
		CanaryInterval:  defaultCanaryInterval,
		DrainDelay:      defaultDrainDelay,
		DrainHandover:   defaultDrainHandover,
		DrainTimeout:    defaultDrainTimeout,
		LogLevel:        slog.LevelInfo,
		AccessLogRate:   defaultAccessLogRate,
		PrivateKeys:     []string{"sessions/**"},
		LogFormat:       LogAuto,
	}
}

// productionDataDir is where a packaged service keeps its data.
const productionDataDir = "/var/micelio"

// Resolved returns c with the empty fields that have a derived default filled
// in. Resolving twice changes nothing.
func (c Config) Resolved() Config {
	dataDir := productionDataDir
	if c.Env != Production {
		dataDir = filepath.Join(os.TempDir(), "micelio")
	}
	c.DataDir = cmp.Or(c.DataDir, dataDir)
	c.LocalPath = cmp.Or(c.LocalPath, filepath.Join(c.DataDir, "storage"))
	c.CachePath = cmp.Or(c.CachePath, filepath.Join(c.DataDir, "cache"))
	c.Bucket = cmp.Or(c.Bucket, c.S3.Bucket, "micelio")
	if c.OriginBackend == "" {
		c.OriginBackend = BackendLocal
		if c.S3.Bucket != "" {
			c.OriginBackend = BackendS3
		}
	}
	c.S3 = c.S3.resolved()
	return c
}

// Tiered reports whether RAM, SSD and CDN stand in front of the origin.
func (c Config) Tiered() bool { return c.Backend == BackendTiered }

// Origin returns the authority that the node uses, BackendLocal or BackendS3.
// It is meaningful on a resolved configuration.
func (c Config) Origin() string {
	if c.Tiered() {
		return c.OriginBackend
	}
	return c.Backend
}
