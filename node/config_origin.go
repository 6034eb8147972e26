package node

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/micelio/micelio/origin"
)

// How the bucket is named in requests to S3: in the path of the URL or in its
// host.
const (
	URLStylePath    = "path"
	URLStyleVirtual = "virtual"
)

// An S3Config says how to reach an S3 bucket.
type S3Config struct {
	// Bucket is the name of the bucket; required for an S3 origin.
	Bucket string

	// Prefix goes before every key in the bucket, so that clusters can share
	// one. Empty (the default), or a path that ends in a slash.
	Prefix string

	// Region signs requests. Empty: "auto" for an Endpoint of Cloudflare R2,
	// else "us-east-1", which most S3-compatible services take for any. The
	// region of a profile in the shared configuration of AWS is not read.
	Region string

	// Endpoint is the base URL of an S3-compatible service; https is assumed
	// where no scheme is given. A path in it stays before the bucket. Empty
	// (the default): AWS, by Region.
	Endpoint string

	// URLStyle is URLStylePath or URLStyleVirtual. Empty: virtual for AWS,
	// which wants it, and path for an Endpoint, where it works everywhere while
	// virtual hosts need DNS entries.
	URLStyle string

	// AllowHTTP accepts an Endpoint that is plain http and not this machine.
	// False by default: anybody on the way could read and change objects.
	AllowHTTP bool

	// Checksums says which requests carry a checksum besides their signature:
	// origin.ChecksumsAuto (the default), origin.ChecksumsWhenRequired or
	// origin.ChecksumsWhenSupported. AWS_REQUEST_CHECKSUM_CALCULATION, the
	// variable of the AWS SDK, wins over auto.
	Checksums string

	// AccessKeyID and SecretAccessKey are the credentials, both or neither, and
	// SessionToken their third part if they are temporary. Without them the
	// AWS SDK looks for some: in the variables AWS_ACCESS_KEY_ID and
	// AWS_SECRET_ACCESS_KEY, in the shared configuration, and with the services
	// that give a container or a machine its role.
	AccessKeyID     Secret
	SecretAccessKey Secret
	SessionToken    Secret

	// DisableIMDS leaves the metadata service of EC2 out of that search. False
	// by default: it is how a machine at AWS gets the credentials of its role.
	// Elsewhere nobody may answer there, which costs a start without
	// credentials some seconds.
	DisableIMDS bool

	// SSE is how the service encrypts what is written: "AES256", "aws:kms" or
	// "aws:kms:dsse". Empty (the default): as the bucket says.
	SSE string

	// SSEKMSKeyID is the id or ARN of the key for the kinds of aws:kms. Empty
	// (the default): the key that the account has for S3.
	SSEKMSKeyID string

	// Timeout is the wait for the first byte of an answer to one attempt. 3 s by
	// default: S3 answers within tenths of a second, all but a few times in a
	// thousand.
	Timeout time.Duration

	// Concurrency is the most requests under way at once. 128 by default.
	Concurrency int

	// PartSize is the size in bytes of the parts of uploads and of parallel
	// reads, from 5 MiB to 5 GiB, S3's own bounds. 8 MiB by default: AWS
	// recommends 8 to 16 ("Use byte-range fetches", Performance guidelines for
	// Amazon S3). MaxObjectBytes must fit into 10,000 parts, the most that one
	// upload has.
	PartSize int64

	// Parallel is how many parts of one body travel at once. 4 by default.
	Parallel int

	// MemoryBytes bounds the buffers for uploads and parallel reads together.
	// 128 MiB by default: an upload in parts takes Parallel+2 of them, 48 MiB,
	// so there is room for two and for some reads. What goes beyond it is
	// slower, not refused.
	MemoryBytes int64
}

// A CDNConfig says how to read through a CDN. It is used with BackendTiered
// only, for keys of the immutable and verified classes, over either origin.
type CDNConfig struct {
	// BaseURL is the public URL of the CDN: a key is read at BaseURL/key. It
	// must lead to the bucket, S3.Prefix included, and never to this cluster,
	// which would wait for itself. Empty (the default): no CDN.
	BaseURL string

	// Timeout is the time for the whole answer of the CDN's headers, before
	// the origin is asked instead. 2 s by default.
	Timeout time.Duration

	// AllowPrivate accepts a BaseURL whose host is this machine or has a
	// private address, such as a CDN of one's own. False by default: a public
	// name that leads inside is a mistake or an attack.
	AllowPrivate bool

	// AllowHTTP accepts a BaseURL of plain http that is not this machine. False
	// by default: what comes from a CDN is proven, but anybody on the way could
	// read it.
	AllowHTTP bool

	// KeyID and PrivateKey sign the URLs for a CloudFront distribution that
	// wants it, as origin.CloudFrontSigner takes them: the id of the public key,
	// and the RSA key in PEM. Both or, by default, neither.
	KeyID      string
	PrivateKey Secret
}

// defaultCDNTimeout is the forge's own default.
const defaultCDNTimeout = 2 * time.Second

func defaultS3() S3Config {
	return S3Config{
		Checksums:   origin.ChecksumsAuto,
		Timeout:     origin.DefaultS3Timeout,
		Concurrency: origin.DefaultS3Concurrency,
		PartSize:    origin.DefaultS3PartSize,
		Parallel:    origin.DefaultS3Parallel,
		MemoryBytes: origin.DefaultS3Memory,
	}
}

// resolved returns c with the empty fields that have a derived default filled
// in.
func (c S3Config) resolved() S3Config {
	if c.Endpoint != "" && !strings.Contains(c.Endpoint, "://") {
		c.Endpoint = "https://" + c.Endpoint
	}
	style := URLStyleVirtual
	if c.Endpoint != "" {
		style = URLStylePath
	}
	c.Region = cmp.Or(c.Region, origin.DefaultS3Region(c.Endpoint))
	c.URLStyle = cmp.Or(c.URLStyle, style)
	return c
}

// S3Origin returns what [origin.OpenS3] needs to open the bucket of c. It holds
// the secrets as plain strings: use it, and print it nowhere.
func (c Config) S3Origin(log *slog.Logger) origin.S3Config {
	c = c.Resolved()
	s := c.S3
	return origin.S3Config{
		Bucket:          s.Bucket,
		Prefix:          s.Prefix,
		Region:          s.Region,
		Endpoint:        s.Endpoint,
		PathStyle:       s.URLStyle == URLStylePath,
		AllowHTTP:       s.AllowHTTP,
		Checksums:       s.Checksums,
		AccessKeyID:     string(s.AccessKeyID),
		SecretAccessKey: string(s.SecretAccessKey),
		SessionToken:    string(s.SessionToken),
		DisableIMDS:     s.DisableIMDS,
		SSE:             s.SSE,
		SSEKMSKeyID:     s.SSEKMSKeyID,
		Timeout:         s.Timeout,
		Concurrency:     s.Concurrency,
		PartSize:        s.PartSize,
		Parallel:        s.Parallel,
		Memory:          s.MemoryBytes,
		SpoolDir:        filepath.Join(c.DataDir, "spool"),
		Loop:            c.loop(),
		Log:             log,
	}
}

// loop names the cluster in CDN-Loop.
func (c Config) loop() string { return "micelio-" + c.Cluster }

// CDNTier returns what [origin.NewCDN] needs to read through the CDN of c, if c
// has one. An error means that the key for signed URLs is none.
func (c Config) CDNTier(log *slog.Logger) (origin.CDNConfig, error) {
	cfg := origin.CDNConfig{
		BaseURL:      c.CDN.BaseURL,
		Timeout:      c.CDN.Timeout,
		AllowPrivate: c.CDN.AllowPrivate,
		AllowHTTP:    c.CDN.AllowHTTP,
		Loop:         c.loop(),
		Log:          log,
	}
	if c.CDN.KeyID == "" && c.CDN.PrivateKey == "" {
		return cfg, nil
	}
	var err error
	cfg.Signer, err = origin.CloudFrontSigner(c.CDN.KeyID, []byte(c.CDN.PrivateKey))
	return cfg, err
}
