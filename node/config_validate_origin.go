package node

import (
	"errors"
	"net/url"
	"strings"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// S3's own bounds on uploads in parts, in bytes and numbers: "Amazon S3
// multipart upload limits" in its user guide.
const (
	minS3PartSize = 5 << 20
	maxS3PartSize = 5 << 30
	maxS3Parts    = 10_000
)

// ValidateS3 checks the settings of the bucket, whether or not the node would
// use it: it is for commands that open the bucket themselves. The error is like
// that of Validate.
func (c Config) ValidateS3() error {
	v := &validator{Config: c.Resolved()}
	v.s3Values()
	v.s3InUse()
	return errors.Join(v.errs...)
}

func (v *validator) s3() {
	v.s3Values()
	if v.Origin() == BackendS3 {
		v.s3InUse()
	}
}

// s3Values reports values that no bucket can be reached with, also where none
// is used: an environment may hold more than one backend needs, but a slip in
// it surprises on the day when the backend changes.
func (v *validator) s3Values() {
	if v.S3.Bucket != "" && !bucketName.MatchString(v.S3.Bucket) {
		v.fault("s3-bucket", bucketRule, v.S3.Bucket)
	}
	if v.S3.Prefix != "" {
		folder, found := strings.CutSuffix(v.S3.Prefix, "/")
		if _, err := object.ParseKey(folder); err != nil || !found {
			v.fault("s3-prefix", "%q is not a prefix for keys: write a path that ends in a slash, for example team/cache/", v.S3.Prefix)
		}
	}
	if v.S3.Endpoint != "" {
		v.baseURL("s3-endpoint", v.S3.Endpoint)
	}
	v.oneOf("s3-url-style", v.S3.URLStyle, URLStyleVirtual, URLStylePath)
	v.oneOf("s3-checksums", v.S3.Checksums, origin.ChecksumsAuto, origin.ChecksumsWhenRequired, origin.ChecksumsWhenSupported)
	if v.S3.SSE != "" {
		v.oneOf("s3-sse", v.S3.SSE, "AES256", "aws:kms", "aws:kms:dsse")
	}
	if v.S3.SSEKMSKeyID != "" && !strings.HasPrefix(v.S3.SSE, "aws:kms") {
		v.fault("s3-sse-kms-key-id", "a key of KMS encrypts with aws:kms or aws:kms:dsse only: set --s3-sse to one of them")
	}
	v.s3Numbers()
}

func (v *validator) s3Numbers() {
	if v.S3.Timeout <= 0 {
		v.fault("s3-timeout", "%v leaves no time for an answer: write a duration above 0, for example 3s", v.S3.Timeout)
	}
	if v.S3.Concurrency < 1 {
		v.fault("s3-concurrency", "%d admits no request: write a number above 0, for example 128", v.S3.Concurrency)
	}
	if v.S3.Parallel < 1 {
		v.fault("s3-parallel", "%d moves no part: write a number above 0, for example 4", v.S3.Parallel)
	}
	switch {
	case v.S3.PartSize < minS3PartSize || v.S3.PartSize > maxS3PartSize:
		v.fault("s3-part-size", "%d is no size of a part: S3 takes 5MiB to 5GiB", v.S3.PartSize)
	case v.S3.MemoryBytes < v.S3.PartSize:
		v.fault("s3-memory-bytes", "%d holds no part of %d bytes: write at least --s3-part-size, better a few times that", v.S3.MemoryBytes, v.S3.PartSize)
	}
}

// s3InUse reports what keeps a node from using its bucket. Credentials may be
// missing altogether: whether the AWS SDK finds any is known at the start.
func (v *validator) s3InUse() {
	if v.S3.Bucket == "" {
		v.fault("", "Missing S3 bucket: set S3_BUCKET or --s3-bucket to the name of the bucket")
	}
	v.credentials()
	if v.S3.Region == "auto" && v.S3.Endpoint == "" {
		v.fault("s3-region", `"auto" is no region of AWS: set S3_ENDPOINT too, or name a region`)
	}
	if u, err := url.Parse(v.S3.Endpoint); err == nil && u.Scheme == "http" && !v.S3.AllowHTTP && !isLoopback(u.Hostname()) {
		v.fault("s3-endpoint", "the URL is plain http and not this machine, so that anybody on the way could read and change objects: "+
			"write https://, or give --s3-allow-http if the network is yours alone")
	}
	if part := v.S3.PartSize; part > 0 && v.MaxObjectBytes > 0 && (v.MaxObjectBytes-1)/part >= maxS3Parts {
		v.fault("max-object-bytes", "%d does not fit into %d parts of %d bytes, the most that S3 takes: raise --s3-part-size to %d or lower it",
			v.MaxObjectBytes, maxS3Parts, part, (v.MaxObjectBytes-1)/maxS3Parts+1)
	}
}

// credentials reports parts of explicit credentials whose other parts are
// missing. Parts of two accounts would only earn a "403" from S3.
func (v *validator) credentials() {
	const rest = ": set both S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or no S3_* credentials at all, " +
		"and the AWS SDK looks for some (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a role)"
	id, secret := v.S3.AccessKeyID != "", v.S3.SecretAccessKey != ""
	switch {
	case id && !secret:
		v.fault("", "Missing S3 credentials: there is S3_ACCESS_KEY_ID (--s3-access-key-id) without S3_SECRET_ACCESS_KEY (--s3-secret-access-key)"+rest)
	case secret && !id:
		v.fault("", "Missing S3 credentials: there is S3_SECRET_ACCESS_KEY (--s3-secret-access-key) without S3_ACCESS_KEY_ID (--s3-access-key-id)"+rest)
	case v.S3.SessionToken != "" && !id:
		v.fault("", "Missing S3 credentials: there is S3_SESSION_TOKEN (--s3-session-token) without the pair that it belongs to"+rest)
	}
}

// cdn checks the settings of the CDN. Whether its host has a private address is
// known when it is dialled. A CDN without tiers is not refused: the backend is
// what a forge switches back and forth, with all else left as it is.
func (v *validator) cdn() {
	if v.CDN.BaseURL != "" {
		v.baseURL("cdn-base-url", v.CDN.BaseURL)
	}
	if u, err := url.Parse(v.CDN.BaseURL); err == nil && u.Scheme == "http" && v.Tiered() && !v.CDN.AllowHTTP && !isLoopback(u.Hostname()) {
		v.fault("cdn-base-url", "the URL is plain http and not this machine, so that anybody on the way could read objects: "+
			"write https://, or give --cdn-allow-http if the network is yours alone")
	}
	if v.CDN.Timeout <= 0 {
		v.fault("cdn-timeout", "%v leaves no time for an answer: write a duration above 0, for example 2s", v.CDN.Timeout)
	}
	switch _, err := v.CDNTier(nil); {
	case v.CDN.KeyID != "" && v.CDN.PrivateKey == "":
		v.fault("cdn-key-id", "there is no private key to sign URLs with: set --cdn-private-key-file to the file that holds it")
	case v.CDN.KeyID == "" && v.CDN.PrivateKey != "":
		v.fault("cdn-private-key", "CloudFront does not know which key signs: set --cdn-key-id to the id of the public key")
	case err != nil:
		v.fault("cdn-private-key", "%s: write both as CloudFront has them", strings.TrimPrefix(err.Error(), "origin: "))
	}
}

// baseURL reports what is not an http(s) URL that keys can be appended to. It
// never repeats the URL, which may hold a password.
func (v *validator) baseURL(setting, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		v.fault(setting, "this is not a URL of http or https: write for example https://storage.example.com")
	case u.User != nil:
		v.fault(setting, "the URL contains a user name: take it out, credentials have settings of their own")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		v.fault(setting, "the URL ends in a query or fragment: take it out, keys are appended to the path")
	}
}
