package origin_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin/s3test"
)

// intrude lets somebody else do something to "key" right before the request that
// decides a write of it, some times.
func intrude(fake *s3test.Fake, method string, times int, do func(n int)) {
	n := 0
	fake.When(decides(method)).Times(times).Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		n++
		do(n)
		next.ServeHTTP(rw, r)
	})
}

// Whatever S3 cannot test itself holds of what is there, or not, and not of one
// version. A large object that was to replace any other was once refused because
// another one had been replaced while its parts went up.
func TestAConditionIsNotRefusedForAWriteThatCameFirst(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		size   int
	}{"put": {http.MethodPut, smallBody}, "put in parts": {http.MethodPost, largeBody}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, fake := openFake(t)
			other := openS3(t, s3Config(t, fake.Server))
			for _, opt := range []object.PutOptions{{IfMatch: object.MatchAny()}, {IfNoneMatch: object.MatchETag(stale)}} {
				fake.PutObject("key", []byte("before"), nil)
				intrude(fake, c.method, 2, func(n int) { fake.PutObject("key", []byte(strconv.Itoa(n)), nil) })
				body := anyBytes(c.size)
				put(t, s, "key", string(body), opt)
				wantBytes(t, s, "key", string(body))
			}
			fake.PutObject("key", []byte("before"), nil)
			intrude(fake, c.method, 1, func(int) { must(t, other.Delete(t.Context(), "key", object.DeleteOptions{})) })
			_, err := s.Put(t.Context(), "key", object.BytesSource(anyBytes(c.size)), object.PutOptions{IfMatch: object.MatchAny()})
			wantErr(t, err, object.ErrNotFound)
			wantMissing(t, s, "key")
		})
	}
}
