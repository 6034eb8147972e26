package s3test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The signature of requests, as "Authenticating Requests (AWS Signature Version
// 4)" of the S3 API reference has it, from the side that checks.

const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	sigTime      = "20060102T150405Z"

	// maxSkew is how far the clocks may be apart.
	maxSkew = 15 * time.Minute

	// maxExpires is the longest life of a presigned URL.
	maxExpires = 7 * 24 * time.Hour
)

// A secret is what belongs to an access key.
type secret struct {
	key   string
	token string // "" for one that does not end
}

// AddKey lets requests be signed with another access key. With a token they must
// carry that too, as those with temporary credentials do.
func (f *Fake) AddKey(accessKey, secretKey, token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[accessKey] = secret{secretKey, token}
}

// RemoveKey makes an access key unknown.
func (f *Fake) RemoveKey(accessKey string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, accessKey)
}

// An authorization is what a request says about its signature.
type authorization struct {
	accessKey string
	scope     []string // date, region, service, "aws4_request"
	signed    []string // names of headers, lower case
	signature string
	at        time.Time
	payload   string // x-amz-content-sha256
	presigned bool
	token     string

	signing []byte // the key, once checked
}

func denied(message string) error { return refuse(http.StatusForbidden, "AccessDenied", message) }

// authenticate checks who sends the request.
func (c *call) authenticate() error {
	a, err := c.authorization()
	if err != nil {
		return err
	}
	if a == nil {
		if c.f.publicRead && c.key != "" && (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) {
			return nil
		}
		return denied("Access Denied")
	}
	c.f.mu.Lock()
	known, found := c.f.keys[a.accessKey]
	c.f.mu.Unlock()
	switch {
	case !found:
		return refuse(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	case known.token != a.token:
		return refuse(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	}
	for _, name := range []string{"host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"} {
		if (name == "host" || c.r.Header.Get(name) != "") && !slices.Contains(a.signed, name) {
			return denied("There were headers present in the request which were not signed: " + name)
		}
	}
	a.signing = signingKey(known.key, a.scope)
	want := sign(a.signing, c.stringToSign(a))
	if subtle.ConstantTimeCompare([]byte(want), []byte(a.signature)) != 1 {
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	c.auth = *a
	return nil
}

// authorization reads where a request says who it is from, nil if nowhere.
func (c *call) authorization() (*authorization, error) {
	header, h, q := c.r.Header.Get("Authorization"), c.r.Header, c.query
	switch {
	case q.Get("X-Amz-Algorithm") != "":
		a := &authorization{
			signed: strings.Split(q.Get("X-Amz-SignedHeaders"), ";"), signature: q.Get("X-Amz-Signature"),
			payload: "UNSIGNED-PAYLOAD", presigned: true, token: q.Get("X-Amz-Security-Token"),
		}
		if hash := h.Get("X-Amz-Content-Sha256"); hash != "" {
			a.payload = hash
		}
		expires, err := strconv.Atoi(q.Get("X-Amz-Expires"))
		if err != nil || expires < 1 || time.Duration(expires)*time.Second > maxExpires || q.Get("X-Amz-Algorithm") != sigAlgorithm {
			return nil, refuse(http.StatusBadRequest, "AuthorizationQueryParametersError", "X-Amz-Expires must be between 1 and 604800 seconds")
		}
		if err := c.f.scope(a, q.Get("X-Amz-Credential"), q.Get("X-Amz-Date")); err != nil {
			return nil, err
		}
		if c.f.now().After(a.at.Add(time.Duration(expires) * time.Second)) {
			return nil, denied("Request has expired")
		}
		if a.at.After(c.f.now().Add(maxSkew)) {
			return nil, denied("Request is not valid yet")
		}
		return a, nil
	case strings.HasPrefix(header, sigAlgorithm+" "):
		a := &authorization{payload: h.Get("X-Amz-Content-Sha256"), token: h.Get("X-Amz-Security-Token")}
		fields := map[string]string{}
		for field := range strings.SplitSeq(strings.TrimPrefix(header, sigAlgorithm+" "), ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			fields[name] = value
		}
		a.signed, a.signature = strings.Split(fields["SignedHeaders"], ";"), fields["Signature"]
		if a.payload == "" {
			return nil, refuse(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
		}
		if err := c.f.scope(a, fields["Credential"], h.Get("X-Amz-Date")); err != nil {
			return nil, err
		}
		if skew := c.f.now().Sub(a.at); skew.Abs() > maxSkew {
			return nil, refuse(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
		}
		return a, nil
	case header != "":
		return nil, refuse(http.StatusBadRequest, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	return nil, nil
}

// scope reads what a signature is valid for.
func (f *Fake) scope(a *authorization, credential, date string) error {
	malformed := func(message string) error {
		if a.presigned {
			return refuse(http.StatusBadRequest, "AuthorizationQueryParametersError", message)
		}
		return refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", message)
	}
	parts := strings.Split(credential, "/")
	at, err := time.Parse(sigTime, date)
	switch {
	case err != nil:
		return denied("AWS authentication requires a valid Date or x-amz-date header")
	case len(parts) != 5 || parts[1] != at.Format("20060102") || parts[3] != "s3" || parts[4] != "aws4_request":
		return malformed("The authorization is malformed; the Credential is mal-formed")
	case parts[2] != f.Region:
		return malformed("The authorization is malformed; the region '" + parts[2] + "' is wrong; expecting '" + f.Region + "'")
	}
	a.accessKey, a.scope, a.at = parts[0], parts[1:], at
	return nil
}

// stringToSign is what the signature is of.
func (c *call) stringToSign(a *authorization) string {
	var headers strings.Builder
	for _, name := range a.signed {
		headers.WriteString(name + ":" + c.signedValue(name) + "\n")
	}
	canonical := strings.Join([]string{
		c.r.Method, awsEscape(c.r.URL.Path, true), c.canonicalQuery(), headers.String(), strings.Join(a.signed, ";"), a.payload,
	}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	return strings.Join([]string{sigAlgorithm, a.at.Format(sigTime), strings.Join(a.scope, "/"), hex.EncodeToString(sum[:])}, "\n")
}

// signedValue returns a header as it is signed: without spaces around it, and
// with one where there are several.
func (c *call) signedValue(name string) string {
	switch name {
	case "host":
		return c.r.Host
	case "content-length":
		return strconv.FormatInt(c.r.ContentLength, 10) // net/http keeps it apart
	}
	var values []string
	for _, v := range c.r.Header.Values(name) {
		values = append(values, strings.Join(strings.Fields(v), " "))
	}
	return strings.Join(values, ",")
}

func (c *call) canonicalQuery() string {
	var pairs []string
	for name, values := range c.query {
		for _, value := range values {
			if name != "X-Amz-Signature" {
				pairs = append(pairs, awsEscape(name, false)+"="+awsEscape(value, false))
			}
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// awsEscape encodes all but RFC 3986's unreserved characters, and slashes if
// they are to stay.
func awsEscape(s string, slashes bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && slashes:
			b.WriteByte(c)
		default:
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}

func signingKey(secretKey string, scope []string) []byte {
	key := []byte("AWS4" + secretKey)
	for _, part := range scope {
		key = mac(key, part)
	}
	return key
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func sign(key []byte, text string) string { return hex.EncodeToString(mac(key, text)) }
