package origin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/semaphore"

	"github.com/micelio/micelio/object"
)

// The modes of checksums that requests to S3 carry, over and above the
// signature. Services that are not AWS refuse many of them.
const (
	ChecksumsAuto          = "auto" // when_supported at AWS, when_required elsewhere
	ChecksumsWhenRequired  = "when_required"
	ChecksumsWhenSupported = "when_supported"
)

// The defaults of an S3Config, whose fields give the reasons.
const (
	DefaultS3Timeout           = 3 * time.Second
	DefaultS3Concurrency       = 128
	DefaultS3PartSize    int64 = 8 << 20
	DefaultS3Parallel          = 4
	DefaultS3Memory      int64 = 128 << 20
)

// DefaultS3Region returns the region of an endpoint, "" for AWS itself, that is
// not told otherwise: "auto" for Cloudflare R2, which knows no other, and
// "us-east-1", which most services take for any.
func DefaultS3Region(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err == nil && strings.HasSuffix(strings.ToLower(u.Hostname()), ".r2.cloudflarestorage.com") {
		return "auto"
	}
	return "us-east-1"
}

// An S3Config says which bucket is the authority and how to speak to it. Zero
// values stand for the defaults that each field names.
type S3Config struct {
	// Bucket is the name of the bucket; required.
	Bucket string

	// Prefix goes before every key in the bucket, so that several clusters can
	// share one. It is empty or ends in a slash.
	Prefix string

	// Region signs requests: "us-east-1" by default, "auto" for an endpoint of
	// Cloudflare R2.
	Region string

	// Endpoint is the base URL of an S3-compatible service; https is assumed
	// where it names no scheme. Empty: AWS, by Region.
	Endpoint string

	// PathStyle puts the bucket into the path of URLs instead of the host.
	PathStyle bool

	// AllowHTTP accepts an endpoint that is plain http and not this machine:
	// what travels can then be read and changed on the way.
	AllowHTTP bool

	// Checksums is ChecksumsAuto (the default), ChecksumsWhenRequired or
	// ChecksumsWhenSupported.
	Checksums string

	// AccessKeyID and SecretAccessKey are the credentials, SessionToken their
	// third part if they are temporary. Without them the chain of the AWS SDK
	// looks for some: AWS_* variables, the shared configuration, SSO, web
	// identity, container and instance roles.
	AccessKeyID, SecretAccessKey, SessionToken string

	// DisableIMDS leaves the metadata service of EC2 instances out of that
	// chain. Elsewhere nobody answers at its address, which costs a start
	// without credentials some seconds.
	DisableIMDS bool

	// SSE asks the service to encrypt what is written: "" leaves it to the
	// bucket, "AES256", "aws:kms" or "aws:kms:dsse", with SSEKMSKeyID or the
	// account's own key.
	SSE         string
	SSEKMSKeyID string

	// Timeout is the wait for the first byte of an answer, 3 s by default: most
	// first bytes of S3 arrive within 0.2 s, all but a few in 1000 within 1 s. A read
	// fails after one and a half of it if nobody answers at all.
	Timeout time.Duration

	// Concurrency is the most requests under way at once, 128 by default.
	Concurrency int

	// PartSize is the size in bytes of the parts of uploads and of parallel
	// reads, 8 MiB by default, which AWS recommends between 8 and 16. Objects up to
	// this size are written and read in one request.
	PartSize int64

	// Parallel is how many parts of one body travel at once, 4 by default.
	Parallel int

	// Memory bounds the buffers for uploads and for parallel reads together, in
	// bytes, 128 MiB by default. Uploads beyond it are spooled to the disk,
	// reads beyond it come one part after the other.
	Memory int64

	// SpoolDir is where uploads are spooled; os.TempDir by default.
	SpoolDir string

	// Loop is who asks, in the header CDN-Loop (RFC 8586), so that an endpoint
	// that leads back to the cluster can be told. Empty: no such header.
	Loop string

	// Log is told what happens outside of calls; nil for nobody.
	Log *slog.Logger
}

func (c S3Config) withDefaults() S3Config {
	if c.Endpoint != "" && !strings.Contains(c.Endpoint, "://") {
		c.Endpoint = "https://" + c.Endpoint
	}
	c.Region = cmp.Or(c.Region, DefaultS3Region(c.Endpoint))
	c.Checksums = cmp.Or(c.Checksums, ChecksumsAuto)
	c.Timeout = cmp.Or(c.Timeout, DefaultS3Timeout)
	c.Concurrency = cmp.Or(c.Concurrency, DefaultS3Concurrency)
	c.PartSize = cmp.Or(c.PartSize, DefaultS3PartSize)
	c.Parallel = cmp.Or(c.Parallel, DefaultS3Parallel)
	c.Memory = cmp.Or(c.Memory, DefaultS3Memory)
	c.SpoolDir = cmp.Or(c.SpoolDir, os.TempDir())
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// S3 is a bucket of S3, or of a service that speaks its protocol, as the
// authority.
//
// Reads are tried again, hedged and resumed within a budget, writes never
// blindly: an attempt whose outcome is not known is settled by asking the bucket
// which write it holds. Each write carries its name, Info.Version, in the
// metadata of the object for that reason. All methods are safe for concurrent
// use.
type S3 struct {
	cfg     S3Config
	client  *s3.Client // never retries by itself
	pace    *pacing
	memory  *semaphore.Weighted // of cfg.Memory bytes
	spooled *semaphore.Weighted // of uploads from the disk
	parts   sync.Pool           // of *[]byte of PartSize that no part is in
	log     *slog.Logger

	deletes deleteQueue

	// seen is when the bucket was last known to exist, in Unix nanoseconds.
	seen atomic.Int64

	// complained is when a failure was logged last, in Unix nanoseconds, and
	// silent how many were not since.
	complained, silent atomic.Int64

	// caps is what the last probe found, nil before the first.
	caps atomic.Pointer[Capabilities]

	tasks sync.WaitGroup // what runs on after its call has returned
	idle  func()         // closes idle connections
}

// OpenS3 makes the client of a bucket and proves that there are credentials,
// for which it may ask the services that issue them; ctx bounds that. It does
// not contact the bucket: see [S3.Probe].
func OpenS3(ctx context.Context, cfg S3Config) (*S3, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	if err := os.MkdirAll(cfg.SpoolDir, 0o700); err != nil {
		return nil, fmt.Errorf("origin: folder for uploads: %w", err)
	}
	s := &S3{cfg: cfg, log: cfg.Log, memory: semaphore.NewWeighted(cfg.Memory), spooled: semaphore.NewWeighted(spooledUploads)}
	s.pace = newPacing(cfg)
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	return s, nil
}

// Close waits for what is still under way and gives the connections back. No
// method may be called after it.
func (s *S3) Close() error {
	s.tasks.Wait()
	s.pace.close()
	s.idle()
	return nil
}

// fullKey returns the name of an object in the bucket.
func (s *S3) fullKey(key object.Key) *string {
	name := s.cfg.Prefix + string(key)
	return &name
}

// admissible returns why a key cannot be asked for.
func (s *S3) admissible(ctx context.Context, key object.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := object.ParseKey(string(key)); err != nil {
		return err
	}
	if n := len(s.cfg.Prefix) + len(key); n > object.MaxKeyLen {
		return fmt.Errorf("%w: with the prefix %q it has %d bytes, at most %d are allowed", object.ErrInvalidKey, s.cfg.Prefix, n, object.MaxKeyLen)
	}
	if isInternal(string(key)) && !strings.HasPrefix(string(key), object.CanaryPrefix) {
		return fmt.Errorf("%w: names under %q belong to the cluster itself", object.ErrInvalidKey, internalPrefix)
	}
	return nil
}

// internalPrefix begins the names of objects that are the cluster's own. Only the
// nodes' canaries go through Stores.
const internalPrefix = object.InternalPrefix

func isInternal(name string) bool { return strings.HasPrefix(name, internalPrefix) }

// A plea is an error for whoever starts a node, in the words that the forge's
// documentation quotes.
type plea string

func (p plea) Error() string { return string(p) }

const (
	missingBucket      plea = "Missing S3 bucket: set S3_BUCKET (--s3-bucket) to the bucket that holds the objects"
	missingCredentials plea = "Missing S3 credentials: set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, " +
		"or give this machine a profile or a role that the AWS SDK finds"
)
