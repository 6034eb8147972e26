package s3test_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/micelio/micelio/origin/s3test"
)

// signer signs for a server as the AWS SDK does.
type signer struct {
	*s3test.Server
	token string
}

func (s *signer) credentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey, SessionToken: s.token}
}

func (s *signer) request(t *testing.T, method, key string, body []byte) *http.Request {
	t.Helper()
	url := s.Endpoint + "/" + s.Bucket + "/" + key
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func forS3(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }

func (s *signer) sign(t *testing.T, req *http.Request, payload string, at time.Time) {
	t.Helper()
	req.Header.Set("X-Amz-Content-Sha256", payload)
	if err := v4.NewSigner().SignHTTP(context.Background(), s.credentials(), req, payload, "s3", s.Region, at, forS3); err != nil {
		t.Fatal(err)
	}
}

func (s *signer) presign(t *testing.T, req *http.Request, expires string, at time.Time) *http.Request {
	t.Helper()
	q := req.URL.Query()
	q.Set("X-Amz-Expires", expires)
	req.URL.RawQuery = q.Encode()
	url, header, err := v4.NewSigner().PresignHTTP(context.Background(), s.credentials(), req, "UNSIGNED-PAYLOAD", "s3", s.Region, at, forS3)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := http.NewRequestWithContext(t.Context(), req.Method, url, req.Body)
	if err != nil {
		t.Fatal(err)
	}
	signed.Header, signed.ContentLength = header, req.ContentLength
	return signed
}

// sent returns the status and the code of the error of a request.
func sent(t *testing.T, req *http.Request) (status int, code string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(body), "<Code>")
	code, _, _ = strings.Cut(rest, "</Code>")
	return resp.StatusCode, code
}

func hexSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func TestSignaturesAreChecked(t *testing.T) {
	t.Parallel()
	body := []byte("some bytes")
	now := time.Now()
	type attempt struct {
		status int
		code   string
		send   func(t *testing.T, s *signer) *http.Request
	}
	header := func(change func(s *signer), at time.Time, payload string, after func(req *http.Request)) func(t *testing.T, s *signer) *http.Request {
		return func(t *testing.T, s *signer) *http.Request {
			if change != nil {
				change(s)
			}
			req := s.request(t, http.MethodPut, "dir/a%20b%2B%C3%A9?x-id=PutObject", body)
			req.Header.Set("X-Amz-Meta-A", "  two   words ")
			s.sign(t, req, payload, at)
			if after != nil {
				after(req)
			}
			return req
		}
	}
	query := func(at time.Time, expires string, after func(req *http.Request)) func(t *testing.T, s *signer) *http.Request {
		return func(t *testing.T, s *signer) *http.Request {
			req := s.presign(t, s.request(t, http.MethodPut, "dir/a%20b%2B%C3%A9", body), expires, at)
			if after != nil {
				after(req)
			}
			return req
		}
	}
	for name, a := range map[string]attempt{
		"header":                {200, "", header(nil, now, hexSum(body), nil)},
		"unsigned payload":      {200, "", header(nil, now, "UNSIGNED-PAYLOAD", nil)},
		"a clock a bit off":     {200, "", header(nil, now.Add(-14*time.Minute), hexSum(body), nil)},
		"a clock far off":       {403, "RequestTimeTooSkewed", header(nil, now.Add(-16*time.Minute), hexSum(body), nil)},
		"wrong secret":          {403, "SignatureDoesNotMatch", header(func(s *signer) { s.SecretKey = "guessed" }, now, hexSum(body), nil)},
		"unknown key":           {403, "InvalidAccessKeyId", header(func(s *signer) { s.AccessKey = "AKIANOBODY" }, now, hexSum(body), nil)},
		"wrong region":          {400, "AuthorizationHeaderMalformed", header(func(s *signer) { s.Region = "eu-west-1" }, now, hexSum(body), nil)},
		"a token of nobody":     {400, "InvalidToken", header(func(s *signer) { s.token = "made up" }, now, hexSum(body), nil)},
		"body of another hash":  {400, "XAmzContentSHA256Mismatch", header(nil, now, hexSum([]byte("other bytes")), nil)},
		"other method":          {403, "SignatureDoesNotMatch", header(nil, now, hexSum(body), func(r *http.Request) { r.Method = http.MethodDelete })},
		"other path":            {403, "SignatureDoesNotMatch", header(nil, now, hexSum(body), func(r *http.Request) { r.URL.Path += "c"; r.URL.RawPath = "" })},
		"other query":           {403, "SignatureDoesNotMatch", header(nil, now, hexSum(body), func(r *http.Request) { r.URL.RawQuery = "x-id=CopyObject" })},
		"other signed header":   {403, "SignatureDoesNotMatch", header(nil, now, hexSum(body), func(r *http.Request) { r.Header.Set("X-Amz-Meta-A", "three") })},
		"no signature":          {403, "AccessDenied", header(nil, now, hexSum(body), func(r *http.Request) { r.Header.Del("Authorization") })},
		"another scheme":        {400, "InvalidRequest", header(nil, now, hexSum(body), func(r *http.Request) { r.SetBasicAuth("a", "b") })},
		"presigned":             {200, "", query(now, "60", nil)},
		"presigned, the oldest": {200, "", query(now.Add(-7*24*time.Hour+time.Minute), "604800", nil)},
		"presigned, expired":    {403, "AccessDenied", query(now.Add(-time.Minute-time.Second), "60", nil)},
		"presigned, too long":   {400, "AuthorizationQueryParametersError", query(now, "604801", nil)},
		"presigned, not yet":    {403, "AccessDenied", query(now.Add(time.Hour), "60", nil)},
		"presigned, other time": {403, "SignatureDoesNotMatch", query(now, "60", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Expires=60", "Expires=600", 1)
		})},
		"presigned, other key": {403, "SignatureDoesNotMatch", query(now, "60", func(r *http.Request) { r.URL.Path += "c"; r.URL.RawPath = "" })},
		"presigned, other use": {403, "SignatureDoesNotMatch", query(now, "60", func(r *http.Request) { r.Method = http.MethodGet })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := s3test.NewFake(t)
			copied := *fake.Server
			if status, code := sent(t, a.send(t, &signer{Server: &copied})); status != a.status || code != a.code {
				t.Errorf("%d %s, want %d %s", status, code, a.status, a.code)
			}
			got, _, found := fake.Object("dir/a b+é")
			if want := a.status == 200; found != want || want && !bytes.Equal(got, body) {
				t.Errorf("the object is there: %v, %q", found, got)
			}
		})
	}
}

func TestAnybodyReadsWhatIsPublic(t *testing.T) {
	t.Parallel()
	fake := s3test.NewFake(t, s3test.FakePublicRead())
	fake.PutObject("a", []byte("x"), nil)
	s := &signer{Server: fake.Server}
	for method, want := range map[string]int{http.MethodGet: 200, http.MethodHead: 200, http.MethodPut: 403, http.MethodDelete: 403} {
		if status, _ := sent(t, s.request(t, method, "a", nil)); status != want {
			t.Errorf("%s: %d, want %d", method, status, want)
		}
	}
	if status, _ := sent(t, s.request(t, http.MethodGet, "?list-type=2", nil)); status != 403 {
		t.Errorf("list: %d", status)
	}
}
