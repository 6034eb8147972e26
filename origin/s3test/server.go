package s3test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A Server is an S3 service and a bucket of it.
type Server struct {
	Endpoint  string // URL without a path
	AccessKey string
	SecretKey string
	Region    string
	Bucket    string // made for the caller, empty
	CAFile    string // PEM file of what signed its certificate; "" without TLS

	client  *http.Client // trusts the certificate
	process *process     // of a service that can be stopped and started again
}

// An Option changes how a Server is started.
type Option func(*options)

type options struct {
	tls        bool
	publicRead bool
	addr       string   // where to listen; "" for a free port of this machine
	wrap       []string // command that runs the program
}

// WithTLS serves https with a certificate for 127.0.0.1 that an authority of
// its own signed; see Server.CAFile.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// WithPublicRead lets anybody read the objects of Server.Bucket, as a CDN does.
func WithPublicRead() Option { return func(o *options) { o.publicRead = true } }

// At makes the service listen at addr, HOST:PORT, and runs it by a command that
// gets the program and its arguments as its last ones, such as "ip netns exec
// NAME": the address may be one that only the program has.
func At(addr string, command ...string) Option {
	return func(o *options) { o.addr, o.wrap = addr, command }
}

// VersityGW starts versitygw over an empty folder. It keeps objects as files: no
// name can be an object and a directory at once.
func VersityGW(t testing.TB, opt ...Option) *Server {
	t.Helper()
	var o options
	for _, set := range opt {
		set(&o)
	}
	s := &Server{AccessKey: "AKIAMICELIOTEST", SecretKey: "a-secret-for-tests-only", Region: "us-east-1", client: plainClient()}
	args := []string{"-q", "--keep-alive", "--health", "/healthz", "--access", s.AccessKey, "--secret", s.SecretKey, "--region", s.Region}
	scheme := "http://"
	if o.tls {
		cert, key := s.certify(t)
		scheme = "https://"
		args = append(args, "--cert", cert, "--key", key)
	}
	words := slices.Concat(o.wrap, []string{program(t, "versitygw")}, args)
	dir := t.TempDir()
	listen := func(addr string) (err error) {
		s.process, err = startProcess(t, answers(s.client, scheme+addr+"/healthz", http.StatusOK),
			words[0], slices.Concat(words[1:], []string{"--port", addr, "posix", dir})...)
		return err
	}
	if o.addr == "" {
		o.addr = listenAt(t, listen)
	} else if err := listen(o.addr); err != nil {
		t.Fatal(err)
	}
	s.Endpoint = scheme + o.addr
	s.Bucket = s.NewBucket(t)
	if o.publicRead {
		s.publish(t)
	}
	return s
}

// GoFakeS3 starts gofakes3, in memory. It holds any name, and checks neither
// signatures nor all conditions.
func GoFakeS3(t testing.TB) *Server {
	t.Helper()
	s := &Server{AccessKey: "any", SecretKey: "thing", Region: "us-east-1", client: plainClient()}
	s.Endpoint = "http://" + listenAt(t, func(addr string) error {
		return start(t, answers(s.client, "http://"+addr+"/", http.StatusOK), program(t, "gofakes3"), "-backend", "memory", "-host", addr)
	})
	s.Bucket = s.NewBucket(t)
	return s
}

// plainClient returns a client that leaves no connection behind, which a test
// would take for one of the code it tests.
func plainClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// Client returns a client of the AWS SDK for the server, for what tests do
// behind the back of a Store. It never retries.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		Region: s.Region, BaseEndpoint: &s.Endpoint, UsePathStyle: true, HTTPClient: s.client, Retryer: aws.NopRetryer{},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}, nil
		}),
	})
}

// NewBucket makes another empty bucket and returns its name.
func (s *Server) NewBucket(t testing.TB) string {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text())
	if _, err := s.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return name
}

// publish lets anybody read.
func (s *Server) publish(t testing.TB) {
	t.Helper()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%s/*"}]}`, s.Bucket)
	_, err := s.Client().PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &s.Bucket, Policy: &policy})
	if err != nil {
		t.Fatal(err)
	}
}

// certify makes an authority and a certificate of it, and a client that trusts
// them.
func (s *Server) certify(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	issue := func(template, parent *x509.Certificate, pub *ecdsa.PublicKey, signer *ecdsa.PrivateKey) []byte {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, signer)
		must(err)
		return der
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER := issue(ca, ca, &caKey.PublicKey, caKey)
	s.CAFile = write("ca.pem", "CERTIFICATE", caDER)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(err)
	parsed, err := x509.ParseCertificate(caDER)
	must(err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return write("cert.pem", "CERTIFICATE", issue(leaf, ca, &key.PublicKey, caKey)), write("key.pem", "EC PRIVATE KEY", keyDER)
}
