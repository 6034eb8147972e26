package origin

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	// dialTimeout is for TCP alone; within one data centre or to the nearest
	// region it takes milliseconds.
	dialTimeout = 2 * time.Second

	// handshakeTimeout is for TLS.
	handshakeTimeout = 3 * time.Second

	// idleConnTimeout is shorter than S3's own 20 s, so that a request is not
	// written into a connection that is just being closed.
	idleConnTimeout = 15 * time.Second

	// maxAnswerHeader bounds the headers of an answer: 2 KiB of metadata and
	// what services add fit many times.
	maxAnswerHeader = 64 << 10

	// credentialsTimeout bounds the search for credentials at the start.
	credentialsTimeout = 10 * time.Second
)

// connect builds the client. Everything that the SDK has a default for and that
// matters to us is set: its defaults retry writes, follow redirects to other
// hosts, wait for ever, and send checksums that many services refuse.
func (s *S3) connect(ctx context.Context) error {
	base := awshttp.NewBuildableClient() // which the SDK can add AWS_CA_BUNDLE to
	options := []func(*config.LoadOptions) error{
		config.WithRegion(s.cfg.Region), config.WithHTTPClient(base),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if s.cfg.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(s.cfg.AccessKeyID, s.cfg.SecretAccessKey, s.cfg.SessionToken)))
	}
	if s.cfg.DisableIMDS {
		options = append(options, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return fmt.Errorf("read the configuration of the AWS SDK: %w", err)
	}
	if err := proveCredentials(ctx, loaded.Credentials); err != nil {
		return err
	}
	transport := s.transport(loaded.HTTPClient)
	s.idle = transport.CloseIdleConnections
	s.client = s3.NewFromConfig(loaded, func(o *s3.Options) { s.tune(o, transport) })
	return nil
}

// proveCredentials makes missing ones an error of the start and not of each
// request.
func proveCredentials(ctx context.Context, provider aws.CredentialsProvider) error {
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	if provider == nil {
		return missingCredentials
	}
	if _, err := provider.Retrieve(ctx); err != nil {
		return fmt.Errorf("%w (%w)", missingCredentials, err)
	}
	return nil
}

// transport is made of the one that the SDK chose, for its certificates. Its
// pool is as large as the number of requests that may be under way.
func (s *S3) transport(chosen any) *http.Transport {
	t := &http.Transport{}
	if c, ok := chosen.(interface{ GetTransport() *http.Transport }); ok {
		t = c.GetTransport()
	}
	t.DialContext = (&net.Dialer{Timeout: min(dialTimeout, s.cfg.Timeout), KeepAlive: 30 * time.Second, Control: refuseMetadata}).DialContext
	t.TLSHandshakeTimeout = min(handshakeTimeout, s.cfg.Timeout)
	t.ResponseHeaderTimeout = 0 // attempts have their own clocks
	t.ExpectContinueTimeout = time.Second
	t.IdleConnTimeout = idleConnTimeout
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.MaxConnsPerHost = s.cfg.Concurrency, s.cfg.Concurrency, s.cfg.Concurrency
	t.MaxResponseHeaderBytes = maxAnswerHeader
	t.DisableCompression = true
	// S3 speaks HTTP/1.1. Where a service offers HTTP/2, one connection that
	// stalls would hold dozens of requests.
	t.ForceAttemptHTTP2 = false
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.Protocols = nil
	t.ReadBufferSize, t.WriteBufferSize = 64<<10, 64<<10
	return t
}

// tune sets the options of the client.
func (s *S3) tune(o *s3.Options, transport *http.Transport) {
	var sender http.RoundTripper = transport
	if s.cfg.Loop != "" {
		sender = &loopMarker{transport, []string{s.cfg.Loop}}
	}
	o.HTTPClient = &http.Client{
		Transport: sender,
		// The SDK would follow 307 and 308 to another host and take what that
		// answers for the object.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	o.Retryer = aws.NopRetryer{}
	o.UsePathStyle = s.cfg.PathStyle
	// AWS_ENDPOINT_URL is what a shell sets to talk to this very cluster: a node
	// that took it for its origin would call itself.
	o.BaseEndpoint = nil
	if s.cfg.Endpoint != "" {
		o.BaseEndpoint = aws.String(s.cfg.Endpoint)
		if u, err := url.Parse(s.cfg.Endpoint); err == nil {
			o.EndpointOptions.DisableHTTPS = u.Scheme == "http"
		}
	}
	o.RequestChecksumCalculation = s.cfg.requestChecksums()
	// Bodies are checked by length, and verified keys by digest. A service that
	// answers a range with the checksum of the whole object would fail here.
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.DisableLogOutputChecksumValidationSkipped = true
	o.ContinueHeaderThresholdBytes = -1 // parts are small enough to be sent at once
	o.APIOptions = append(o.APIOptions, addTrail)
}

// A loopMarker says in each request who asks. It does so after the signature: a
// proxy may add to the header.
type loopMarker struct {
	next http.RoundTripper
	mark []string
}

func (m *loopMarker) RoundTrip(r *http.Request) (*http.Response, error) {
	marked := *r // a RoundTripper must not change the request it is given
	marked.Header = maps.Clone(r.Header)
	marked.Header["Cdn-Loop"] = m.mark
	return m.next.RoundTrip(&marked)
}

// requestChecksums resolves ChecksumsAuto. The variable that all programs of
// AWS know wins over it, because whoever set it knows the service.
func (c *S3Config) requestChecksums() aws.RequestChecksumCalculation {
	mode := c.Checksums
	if mode == ChecksumsAuto {
		mode = strings.ToLower(os.Getenv("AWS_REQUEST_CHECKSUM_CALCULATION"))
	}
	switch {
	case mode == ChecksumsWhenSupported, mode != ChecksumsWhenRequired && c.isAWS():
		return aws.RequestChecksumCalculationWhenSupported
	}
	return aws.RequestChecksumCalculationWhenRequired
}

// isAWS reports whether the bucket is with AWS itself.
func (c *S3Config) isAWS() bool {
	u, err := url.Parse(c.Endpoint)
	return c.Endpoint == "" || err == nil && (strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn"))
}
