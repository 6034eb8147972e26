package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/micelio/micelio/origin/s3test"
)

// over returns the flags of a node whose origin is a server's bucket, reached at
// endpoint.
func over(server *s3test.Server, endpoint string) []string {
	return []string{
		"--s3-bucket=" + server.Bucket, "--s3-region=" + server.Region, "--s3-endpoint=" + endpoint,
		"--s3-access-key-id=" + server.AccessKey, "--s3-secret-access-key=" + server.SecretKey, "--bucket=micelio",
	}
}

// startOver runs a node over a server's bucket with a data directory of its own.
func startOver(t testing.TB, server *s3test.Server, args ...string) *process {
	t.Helper()
	return start(t, append(append(over(server, server.Endpoint), "--data-dir="+t.TempDir()), args...)...)
}

// randomBytes returns n bytes that no accident can fake, the same for the same
// seed.
func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 's'}).Read(b) // it never fails
	return b
}

// keyOf returns a key for a body: one that is its digest, or one that is not.
func keyOf(verified bool, body []byte) string {
	if verified {
		return fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(body))
	}
	return fmt.Sprintf("derivations/sha256:%x", sha256.Sum224(body))
}

// An answer is what came back for a request, as far as it came.
type answer struct {
	status int // 0 without one
	header http.Header
	body   []byte
}

// ask sends a request without a body. The error says that the answer is not
// whole.
func (p *process) ask(client *http.Client, method, key string) (a answer, err error) {
	req, err := http.NewRequest(method, p.url(escape("/micelio/"+key)), nil)
	if err != nil {
		return a, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	a.body, err = io.ReadAll(resp.Body)
	return a, err
}
