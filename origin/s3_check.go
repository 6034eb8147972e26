package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/micelio/micelio/object"
)

// The bounds of S3 itself, in bytes and numbers.
const (
	minPartSize = 5 << 20
	maxPartSize = 5 << 30
	maxParts    = 10_000
)

// check returns all that is wrong with a configuration that has its defaults.
func (c *S3Config) check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Bucket == "" {
		errs = append(errs, missingBucket)
	}
	if c.Prefix != "" {
		if _, err := object.ParseKey(strings.TrimSuffix(c.Prefix, "/")); err != nil || !strings.HasSuffix(c.Prefix, "/") {
			fault("the S3 prefix %q is not a path that ends in a slash", c.Prefix)
		}
	}
	if err := c.checkEndpoint(); err != nil {
		errs = append(errs, err)
	}
	if (c.AccessKeyID == "") != (c.SecretAccessKey == "") || c.SessionToken != "" && c.AccessKeyID == "" {
		fault("half of the S3 credentials is missing: set both S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or neither")
	}
	if !slices.Contains([]string{ChecksumsAuto, ChecksumsWhenRequired, ChecksumsWhenSupported}, c.Checksums) {
		fault("the S3 checksums %q are unknown", c.Checksums)
	}
	if !slices.Contains([]string{"", "AES256", "aws:kms", "aws:kms:dsse"}, c.SSE) {
		fault("the S3 encryption %q is unknown: use AES256, aws:kms or aws:kms:dsse", c.SSE)
	}
	if c.SSEKMSKeyID != "" && !strings.HasPrefix(c.SSE, "aws:kms") {
		fault("an S3 key of KMS needs the encryption aws:kms or aws:kms:dsse")
	}
	if c.PartSize < minPartSize || c.PartSize > maxPartSize {
		fault("an S3 part of %d bytes is impossible: parts have 5 MiB to 5 GiB", c.PartSize)
	}
	if c.Timeout < 0 || c.Concurrency < 1 || c.Parallel < 1 || c.Memory < 1 {
		fault("timeout, concurrency, parallel parts and memory of S3 must be more than nothing")
	}
	return errors.Join(errs...)
}

// checkEndpoint refuses what requests cannot be sent to safely.
func (c *S3Config) checkEndpoint() error {
	if c.Endpoint == "" {
		if c.Region == "auto" {
			return errors.New(`the S3 region "auto" is no region of AWS: set an endpoint too, or name a region`)
		}
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("the S3 endpoint is not a URL of http or https")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("the S3 endpoint must not have a user name, query or fragment")
	case u.Scheme == "http" && !c.AllowHTTP && !isThisMachine(u.Hostname()):
		return fmt.Errorf("the S3 endpoint %s is plain http: anybody on the way could read and change objects; use https, or allow http explicitly", c.Endpoint)
	}
	return nil
}

// isThisMachine reports whether a host of a URL is loopback by its name alone.
func isThisMachine(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
