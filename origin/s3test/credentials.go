package s3test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Credentials are temporary ones, as roles give them.
type Credentials struct {
	AccessKey, SecretKey, Token string
	Expires                     time.Time
}

// TemporaryCredentials makes credentials that a Fake knows from now on.
func (f *Fake) TemporaryCredentials(expires time.Time) Credentials {
	c := Credentials{"ASIA" + rand.Text()[:16], rand.Text(), rand.Text(), expires}
	f.AddKey(c.AccessKey, c.SecretKey, c.Token)
	return c
}

// answer writes the document of instance and container roles.
func (c *Credentials) answer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{ // the client may be gone
		"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time.Now().UTC().Format(time.RFC3339),
		"AccessKeyId": c.AccessKey, "SecretAccessKey": c.SecretKey, "Token": c.Token, "Expiration": c.Expires.UTC().Format(time.RFC3339),
	})
}

// IMDS starts a metadata service of EC2 instances, version 2: a token first,
// then the credentials of a role, which it asks creds for each time. It returns
// what AWS_EC2_METADATA_SERVICE_ENDPOINT has to be.
func IMDS(t testing.TB, creds func() Credentials) (endpoint string) {
	t.Helper()
	const role, header = "node", "X-Aws-Ec2-Metadata-Token"
	const path = "/latest/meta-data/iam/security-credentials/"
	var mu sync.Mutex
	tokens := map[string]bool{}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		ttl := r.Header.Get(header + "-Ttl-Seconds")
		if ttl == "" {
			http.Error(w, "no TTL", http.StatusBadRequest)
			return
		}
		token := rand.Text()
		mu.Lock()
		tokens[token] = true
		mu.Unlock()
		w.Header().Set(header+"-Ttl-Seconds", ttl)
		_, _ = w.Write([]byte(token)) // the client may be gone
	})
	mux.HandleFunc("GET "+path+"{role...}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		known := tokens[r.Header.Get(header)]
		mu.Unlock()
		switch name := r.PathValue("role"); {
		case !known: // version 1 asks without one
			http.Error(w, "no token", http.StatusUnauthorized)
		case name == "":
			_, _ = w.Write([]byte(role)) // the client may be gone
		case name == role:
			c := creds()
			c.answer(w)
		default:
			http.NotFound(w, r)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// ECS starts the service that gives containers their role, which it asks creds
// for each time. It returns what AWS_CONTAINER_CREDENTIALS_FULL_URI and
// AWS_CONTAINER_AUTHORIZATION_TOKEN have to be.
func ECS(t testing.TB, creds func() Credentials) (uri, token string) {
	t.Helper()
	const path = "/v2/credentials"
	token = "Bearer " + strings.ToLower(rand.Text())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != path || r.Method != http.MethodGet:
			http.NotFound(w, r)
		case r.Header.Get("Authorization") != token:
			http.Error(w, `{"code":"AccessDenied","message":"wrong token"}`, http.StatusForbidden)
		default:
			c := creds()
			c.answer(w)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + path, token
}
