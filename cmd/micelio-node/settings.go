package main

import (
	"slices"
	"strings"

	"github.com/micelio/micelio/node"
	"github.com/micelio/micelio/origin"
)

// options are everything that can be set: the node's configuration, and where
// the file with more of it is.
type options struct {
	node.Config
	configFile string
}

// A setting is one line of the table from which flags, environment variables,
// keys of the file, help and the config command all come.
type setting struct {
	name    string  // of the flag and in the file; see also variables
	aliases []alias // further environment variables, the strongest first
	group   string  // heading in the help
	arg     string  // placeholder for the value, "" for a switch
	help    string
	choices []string // all that it may be, nil if it may be more
	derived string   // what the default depends on, "" if it is fixed
	secret  bool     // masked, and also read from the file that NAME-file names
	flagged bool     // not allowed in the file
	value   func(*options) value
}

// An alias is a name from before this program. What it holds is read with unit
// appended, for variables that carry their unit in the name.
type alias struct{ name, unit string }

// variables returns the environment variables of the setting, the strongest
// first: its own, then the aliases. None may ever look like those that
// Kubernetes sets for a service named micelio, such as
// MICELIO_PORT=tcp://10.0.0.1:8080: no setting may be named "port" or end so.
func (s *setting) variables() []alias {
	own := "MICELIO_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
	return slices.Concat([]alias{{name: own}}, s.aliases)
}

// isSwitch reports whether the flag of the setting needs no value.
func (s *setting) isSwitch() bool { return s.arg == "" }

// The flags, keys and variables that name a file with a secret.
const (
	fileSuffix    = "-file"
	fileVarSuffix = "_FILE"
)

// names returns the flags of the setting.
func (s *setting) names() []string {
	if s.secret {
		return []string{s.name, s.name + fileSuffix}
	}
	return []string{s.name}
}

const (
	groupNode    = "Node"
	groupListen  = "Addresses"
	groupStorage = "Storage"
	groupTiers   = "Tiers"
	groupS3      = "S3 origin"
	groupCDN     = "CDN"
	groupLife    = "Shutdown and log"
)

// settings is the table, in the order of the help. The aliases are the names
// that a forge's environment has. AWS_ENDPOINT_URL is not among them on
// purpose: it is what a shell sets to talk to this very cluster, and a node
// that took it for its origin would call itself.
var settings = slices.Concat(nodeSettings, listenSettings, storageSettings, tierSettings, s3Settings, cdnSettings, lifeSettings)

var nodeSettings = []setting{
	{name: "config", group: groupNode, arg: "FILE", flagged: true,
		help:  "read more settings from FILE: one \"name value\" a line, # starts a comment line",
		value: func(o *options) value { return textValue{&o.configFile} }},
	{name: "env", group: groupNode, arg: "ENV",
		help:    "development, test or production; production moves the default folder for data",
		choices: []string{node.Development, node.Test, node.Production},
		value:   func(o *options) value { return textValue{&o.Env} }},
	{name: "name", group: groupNode, arg: "NAME", derived: "chosen once and kept in <data-dir>",
		help:  "stable id of the node, different from every other node's",
		value: func(o *options) value { return textValue{&o.Name} }},
	{name: "cluster", group: groupNode, arg: "NAME",
		help:  "name of the cluster; only nodes of the same name gossip with one another",
		value: func(o *options) value { return textValue{&o.Cluster} }},
	{name: "cluster-secret", group: groupNode, arg: "SECRET", secret: true,
		help:  "what nodes must share to be one cluster; prefer a file or variable: a flag is visible in the list of processes",
		value: func(o *options) value { return secretValue{&o.ClusterSecret} }},
	{name: "weight", group: groupNode, arg: "N",
		help:  "keys the node owns in proportion to others: 2 for one of twice the SSD; 1 to 10",
		value: func(o *options) value { return intValue{&o.Weight} }},
	{name: "join", group: groupNode, arg: "HOST:PORT,...",
		help:  "gossip addresses of nodes to join; repeatable",
		value: func(o *options) value { return listValue{&o.Join} }},
}

var listenSettings = []setting{
	{name: "listen", group: groupListen, arg: "HOST:PORT",
		help:  "where clients connect; port 0 takes a free one",
		value: func(o *options) value { return textValue{&o.Listen} }},
	{name: "peer-listen", group: groupListen, arg: "HOST:PORT",
		help:  "where other nodes connect",
		value: func(o *options) value { return textValue{&o.PeerListen} }},
	{name: "gossip-listen", group: groupListen, arg: "HOST:PORT",
		help:  "where membership is gossiped, TCP and UDP",
		value: func(o *options) value { return textValue{&o.GossipListen} }},
	{name: "admin-listen", group: groupListen, arg: "HOST:PORT",
		help:  "where the console, health, metrics and the ring are",
		value: func(o *options) value { return textValue{&o.AdminListen} }},
	{name: "admin-hosts", group: groupListen, arg: "NAME,...",
		help:  "names by which browsers may ask <admin-listen>, .example.com for all below it; addresses and names like node.local need none",
		value: func(o *options) value { return listValue{&o.AdminHosts} }},
	{name: "peer-advertise", group: groupListen, arg: "HOST:PORT", derived: "worked out from <peer-listen>",
		help:  "where other nodes reach <peer-listen>, if that differs",
		value: func(o *options) value { return textValue{&o.PeerAdvertise} }},
	{name: "gossip-advertise", group: groupListen, arg: "HOST:PORT", derived: "worked out from <gossip-listen>",
		help:  "where other nodes reach <gossip-listen>, if that differs",
		value: func(o *options) value { return textValue{&o.GossipAdvertise} }},
	{name: "allow-anonymous", group: groupListen,
		help:  "listen on addresses that other machines reach though no credentials protect them",
		value: func(o *options) value { return boolValue{&o.AllowAnonymous} }},
}

var storageSettings = []setting{
	{name: "backend", aliases: []alias{{name: "STORAGE_BACKEND"}}, group: groupStorage, arg: "BACKEND",
		help:    "tiered: RAM and SSD over an origin; local or s3: that origin alone",
		choices: []string{node.BackendTiered, node.BackendLocal, node.BackendS3},
		value:   func(o *options) value { return textValue{&o.Backend} }},
	{name: "origin-backend", aliases: []alias{{name: "STORAGE_ORIGIN_BACKEND"}}, group: groupStorage, arg: "BACKEND",
		derived: "s3 if <s3-bucket> is set, else local",
		help:    "the authority behind the tiers, local or s3",
		choices: []string{node.BackendLocal, node.BackendS3},
		value:   func(o *options) value { return textValue{&o.OriginBackend} }},
	{name: "bucket", group: groupStorage, arg: "NAME", derived: "<s3-bucket> if set, else micelio",
		help:  "name of the bucket in the URLs of clients",
		value: func(o *options) value { return textValue{&o.Bucket} }},
	{name: "data-dir", group: groupStorage, arg: "DIR", derived: "/var/micelio in production, else <tmp>/micelio",
		help:  "folder for what the node keeps on disk",
		value: func(o *options) value { return textValue{&o.DataDir} }},
	{name: "local-path", aliases: []alias{{name: "STORAGE_LOCAL_PATH"}}, group: groupStorage, arg: "DIR",
		derived: "<data-dir>/storage",
		help:    "folder of the local origin",
		value:   func(o *options) value { return textValue{&o.LocalPath} }},
	{name: "max-object-bytes", group: groupStorage, arg: "SIZE",
		help:  "largest object that is accepted",
		value: func(o *options) value { return sizeValue{&o.MaxObjectBytes} }},
	{name: "verified-keys", group: groupStorage, arg: "PATTERN,...",
		help:  "keys that name the SHA-256 of their bytes; {sha256} is the digest; repeatable",
		value: func(o *options) value { return listValue{&o.VerifiedKeys} }},
	{name: "immutable-keys", group: groupStorage, arg: "PATTERN,...",
		help:  "other keys whose bytes never change; repeatable",
		value: func(o *options) value { return listValue{&o.ImmutableKeys} }},
	{name: "staleness", group: groupStorage, arg: "PATTERN=DURATION,...",
		help:  "how stale a read of these mutable keys may be, such as sessions/**=1s; the first match decides; repeatable",
		value: func(o *options) value { return listValue{&o.Staleness} }},
}

var tierSettings = []setting{
	{name: "ram-bytes", aliases: []alias{{name: "STORAGE_CACHE_MEMORY_MAX_BYTES"}}, group: groupTiers, arg: "SIZE",
		help:  "size of the RAM tier, 0 turns it off",
		value: func(o *options) value { return sizeValue{&o.RAMBytes} }},
	{name: "hot-copies", group: groupTiers,
		help:  "answer what is read very much from copies, also on nodes that do not own it; see docs/architecture.md",
		value: func(o *options) value { return boolValue{&o.HotCopies} }},
	{name: "fast-lane", group: groupTiers,
		help:  "answer plain reads of what is in memory without net/http; see docs/architecture.md",
		value: func(o *options) value { return boolValue{&o.FastLane} }},
	{name: "ssd-bytes", aliases: []alias{{name: "MICELIO_CACHE_DISK_MAX_BYTES"}}, group: groupTiers, arg: "SIZE",
		help:  "size of the SSD tier, 0 turns it off",
		value: func(o *options) value { return sizeValue{&o.SSDBytes} }},
	{name: "ssd-preallocate", group: groupTiers,
		help:  "take the SSD tier's space off the disk at the start, not as it is needed",
		value: func(o *options) value { return boolValue{&o.SSDPreallocate} }},
	{name: "ssd-write-rate", group: groupTiers, arg: "SIZE",
		help:  "bytes a second that are written to the SSD tier over time, 0 for no bound",
		value: func(o *options) value { return sizeValue{&o.SSDWriteRate} }},
	{name: "fill", group: groupTiers, arg: "POLICY",
		help:    "what a read of a part of a large object fetches: range, the part, or whole, the object",
		choices: []string{node.FillRange, node.FillWhole},
		value:   func(o *options) value { return textValue{&o.Fill} }},
	{name: "cache-path", aliases: []alias{{name: "STORAGE_CACHE_PATH"}}, group: groupTiers, arg: "DIR",
		derived: "<data-dir>/cache",
		help:    "folder of the SSD tier",
		value:   func(o *options) value { return textValue{&o.CachePath} }},
	{name: "fill-memory-bytes", group: groupTiers, arg: "SIZE",
		help:  "memory for objects that are being read from the origin, all together",
		value: func(o *options) value { return sizeValue{&o.FillMemoryBytes} }},
}

// sdkCredentials is what happens where no credentials are set. The AWS_*
// variables are no aliases: the SDK reads them as a whole, so that the halves of
// two pairs can never meet.
const sdkCredentials = "what the AWS SDK finds: AWS_* variables, a profile, a role"

var s3Settings = []setting{
	{name: "s3-bucket", aliases: []alias{{name: "S3_BUCKET"}}, group: groupS3, arg: "NAME",
		help:  "the bucket that is the origin",
		value: func(o *options) value { return textValue{&o.S3.Bucket} }},
	{name: "s3-prefix", group: groupS3, arg: "PATH/",
		help:  "goes before every key in the bucket",
		value: func(o *options) value { return textValue{&o.S3.Prefix} }},
	{name: "s3-region", aliases: []alias{{name: "S3_REGION"}, {name: "AWS_REGION"}, {name: "AWS_DEFAULT_REGION"}},
		group: groupS3, arg: "REGION", derived: "auto for an endpoint of Cloudflare R2, else us-east-1",
		help:  "region of the bucket; auto for services that want it",
		value: func(o *options) value { return textValue{&o.S3.Region} }},
	{name: "s3-endpoint", aliases: []alias{{name: "S3_ENDPOINT"}}, group: groupS3, arg: "URL", derived: "AWS, by <s3-region>",
		help:  "base URL of an S3-compatible service",
		value: func(o *options) value { return urlValue{&o.S3.Endpoint} }},
	{name: "s3-url-style", aliases: []alias{{name: "S3_URL_STYLE"}}, group: groupS3, arg: "STYLE",
		derived: "path with <s3-endpoint>, else virtual",
		help:    "bucket in the path or, virtual, in the host of URLs",
		choices: []string{node.URLStylePath, node.URLStyleVirtual},
		value:   func(o *options) value { return textValue{&o.S3.URLStyle} }},
	{name: "s3-allow-http", group: groupS3,
		help:  "accept an endpoint of plain http on another machine; anybody on the way can change objects",
		value: func(o *options) value { return boolValue{&o.S3.AllowHTTP} }},
	{name: "s3-access-key-id", aliases: []alias{{name: "S3_ACCESS_KEY_ID"}}, derived: sdkCredentials,
		group: groupS3, arg: "ID", secret: true,
		help:  "first half of the credentials",
		value: func(o *options) value { return secretValue{&o.S3.AccessKeyID} }},
	{name: "s3-secret-access-key", aliases: []alias{{name: "S3_SECRET_ACCESS_KEY"}}, derived: sdkCredentials,
		group: groupS3, arg: "KEY", secret: true,
		help:  "second half; a flag is visible in the list of processes, prefer a file or variable",
		value: func(o *options) value { return secretValue{&o.S3.SecretAccessKey} }},
	{name: "s3-session-token", aliases: []alias{{name: "S3_SESSION_TOKEN"}},
		group: groupS3, arg: "TOKEN", secret: true,
		help:  "third part of temporary credentials",
		value: func(o *options) value { return secretValue{&o.S3.SessionToken} }},
	{name: "s3-disable-imds", group: groupS3,
		help:  "do not ask the metadata service of EC2 for credentials; AWS_EC2_METADATA_DISABLED=true does the same",
		value: func(o *options) value { return boolValue{&o.S3.DisableIMDS} }},
	{name: "s3-sse", group: groupS3, arg: "KIND", derived: "as the bucket says",
		help:    "encryption of what is written: AES256, aws:kms or aws:kms:dsse",
		choices: []string{"AES256", "aws:kms", "aws:kms:dsse"},
		value:   func(o *options) value { return textValue{&o.S3.SSE} }},
	{name: "s3-sse-kms-key-id", group: groupS3, arg: "ID", derived: "the key that the account has for S3",
		help:  "id or ARN of the key for aws:kms and aws:kms:dsse",
		value: func(o *options) value { return textValue{&o.S3.SSEKMSKeyID} }},
	{name: "s3-checksums", group: groupS3, arg: "WHEN",
		help:    "checksums of uploads: when_supported (at AWS), when_required (elsewhere), or auto, over which AWS_REQUEST_CHECKSUM_CALCULATION wins",
		choices: []string{origin.ChecksumsAuto, origin.ChecksumsWhenRequired, origin.ChecksumsWhenSupported},
		value:   func(o *options) value { return textValue{&o.S3.Checksums} }},
	{name: "allow-weak-origin", group: groupS3,
		help:  "keep mutable keys also in a service that ignores or races conditional writes; some may be lost",
		value: func(o *options) value { return boolValue{&o.AllowWeakOrigin} }},
	{name: "s3-timeout", group: groupS3, arg: "DURATION",
		help:  "wait for the first byte of an answer to one attempt",
		value: func(o *options) value { return durationValue{&o.S3.Timeout} }},
	{name: "s3-concurrency", group: groupS3, arg: "NUMBER",
		help:  "most requests under way at once",
		value: func(o *options) value { return intValue{&o.S3.Concurrency} }},
	{name: "s3-part-size", group: groupS3, arg: "SIZE",
		help:  "size of the parts of uploads and parallel reads, 5MiB to 5GiB",
		value: func(o *options) value { return sizeValue{&o.S3.PartSize} }},
	{name: "s3-parallel", group: groupS3, arg: "NUMBER",
		help:  "parts of one object that travel at once",
		value: func(o *options) value { return intValue{&o.S3.Parallel} }},
	{name: "s3-memory-bytes", group: groupS3, arg: "SIZE",
		help:  "memory for parts that travel, all together; uploads beyond it go through <data-dir>/spool",
		value: func(o *options) value { return sizeValue{&o.S3.MemoryBytes} }},
}

var cdnSettings = []setting{
	{name: "cdn-base-url", aliases: []alias{{name: "STORAGE_CDN_BASE_URL"}}, group: groupCDN, arg: "URL",
		help:  "URL of a CDN in front of the bucket (never of this cluster), to which keys are appended; tiered backend only",
		value: func(o *options) value { return urlValue{&o.CDN.BaseURL} }},
	{name: "cdn-timeout", aliases: []alias{{name: "STORAGE_CDN_TIMEOUT_MS", unit: "ms"}}, group: groupCDN, arg: "DURATION",
		help:  "wait for an answer of the CDN before the origin is asked",
		value: func(o *options) value { return durationValue{&o.CDN.Timeout} }},
	{name: "cdn-allow-private", group: groupCDN,
		help:  "accept a CDN on this machine or at a private address",
		value: func(o *options) value { return boolValue{&o.CDN.AllowPrivate} }},
	{name: "cdn-allow-http", group: groupCDN,
		help:  "accept a CDN of plain http on another machine; anybody on the way can read objects",
		value: func(o *options) value { return boolValue{&o.CDN.AllowHTTP} }},
	{name: "cdn-key-id", group: groupCDN, arg: "ID",
		help:  "id of the public key by which CloudFront checks signed URLs, if it wants them",
		value: func(o *options) value { return textValue{&o.CDN.KeyID} }},
	{name: "cdn-private-key", group: groupCDN, arg: "PEM", secret: true,
		help:  "RSA key that signs them; PEM has many lines, which fit a variable and a file of its own best",
		value: func(o *options) value { return secretValue{&o.CDN.PrivateKey} }},
}

var lifeSettings = []setting{
	{name: "canary-interval", group: groupLife, arg: "DURATION",
		help:  "how often to check that a write through the cluster is seen through another node, 0 for never",
		value: func(o *options) value { return durationValue{&o.CanaryInterval} }},
	{name: "drain-delay", group: groupLife, arg: "DURATION",
		help:  "go on serving after saying \"not ready\", until load balancers noticed",
		value: func(o *options) value { return durationValue{&o.DrainDelay} }},
	{name: "drain-handover", group: groupLife, arg: "DURATION",
		help:  "hand the hottest objects on to the nodes that take over meanwhile, at most so long; 0 for not at all",
		value: func(o *options) value { return durationValue{&o.DrainHandover} }},
	{name: "drain-timeout", group: groupLife, arg: "DURATION",
		help:  "wait for requests in flight after that",
		value: func(o *options) value { return durationValue{&o.DrainTimeout} }},
	{name: "log-level", group: groupLife, arg: "LEVEL",
		help:    "debug, info, warn or error",
		choices: []string{"debug", "info", "warn", "error"},
		value:   func(o *options) value { return levelValue{&o.LogLevel} }},
	{name: "access-log-rate", group: groupLife, arg: "N",
		help:  "log at most so many requests a second that went well, 0 for none; those that failed are always logged",
		value: func(o *options) value { return intValue{&o.AccessLogRate} }},
	{name: "private-keys", group: groupLife, arg: "PATTERN,...",
		help:  "keys that logs and the console show as a prefix and a digest only; repeatable",
		value: func(o *options) value { return listValue{&o.PrivateKeys} }},
	{name: "log-format", group: groupLife, arg: "FORMAT",
		help:    "text, json, or auto: text on a terminal, else json",
		choices: []string{node.LogAuto, node.LogText, node.LogJSON},
		value:   func(o *options) value { return textValue{&o.LogFormat} }},
}
