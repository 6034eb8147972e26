package origin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// throughProxy returns the configuration of a bucket behind a proxy that
// spoils connections, and one that goes past it.
func throughProxy(t *testing.T) (spoilt, straight origin.S3Config, proxy *s3test.Proxy) {
	t.Helper()
	server := s3test.VersityGW(t)
	proxy = s3test.Toxiproxy(t, server.Endpoint)
	straight = s3Config(t, server)
	spoilt = straight
	spoilt.Endpoint = proxy.URL()
	return spoilt, straight, proxy
}

// anyBytes returns bytes that no mistake makes by accident.
func anyBytes(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)}).Read(b) // it never fails
	return b
}

func putBytes(t *testing.T, s object.Store, key object.Key, body []byte, opt object.PutOptions) object.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, object.BytesSource(body), opt)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// read returns what a Get yields until it ends, and how it ended.
func read(ctx context.Context, s object.Store, key object.Key, opt object.GetOptions) ([]byte, error) {
	obj, err := s.Get(ctx, key, opt)
	if err != nil {
		return nil, err
	}
	defer obj.Body.Close()
	return io.ReadAll(obj.Body)
}

// within fails a test whose operation hangs. It is a bound on a promise of
// ours, several times what the promise is, and no measurement.
func within(t *testing.T, limit time.Duration, do func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	do(ctx)
	if ctx.Err() != nil {
		t.Errorf("it took %v", time.Since(began))
	}
}

func TestABlackHoleIsAnErrorInTimeAndLeavesNothingBehind(t *testing.T) {
	cfg, _, proxy := throughProxy(t)
	cfg.Timeout = 500 * time.Millisecond // of which every operation takes one and a half
	before := goleak.IgnoreCurrent()
	s, err := origin.OpenS3(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	there := put(t, s, "there", "bytes", object.PutOptions{}).ETag
	proxy.Add(t, s3test.Toxic{Name: "hole", Type: "timeout", Attributes: map[string]any{"timeout": 0}})
	within(t, 30*time.Second, func(ctx context.Context) {
		_, err := read(ctx, s, "there", object.GetOptions{})
		wantErr(t, err, object.ErrUnavailable)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("it looks as if the caller had left: %v", err)
		}
		_, err = s.Head(ctx, "there", object.HeadOptions{})
		wantErr(t, err, object.ErrUnavailable)
		_, err = s.Put(ctx, "new", object.BytesSource([]byte("x")), object.PutOptions{})
		wantErr(t, err, object.ErrUnavailable) // it got no further than the question what is there
		wantErr(t, s.Delete(ctx, "there", object.DeleteOptions{}), object.ErrUnavailable)
		_, err = s.Put(ctx, "there", object.BytesSource([]byte("x")), object.PutOptions{Base: there})
		wantErr(t, err, object.ErrUnknownOutcome)
		wantErr(t, s.Delete(ctx, "there", object.DeleteOptions{Base: there}), object.ErrUnknownOutcome)
		for _, err := range s.List(ctx, object.ListOptions{}) {
			wantErr(t, err, object.ErrUnavailable)
		}
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}

func TestAConnectionThatIsRefusedIsUnavailableAndNothingWasSent(t *testing.T) {
	cfg, straight, proxy := throughProxy(t)
	s, past := openS3(t, cfg), openS3(t, straight)
	putBytes(t, past, "there", []byte("bytes"), object.PutOptions{})
	proxy.Down(t)
	_, err := s.Head(t.Context(), "there", object.HeadOptions{})
	wantErr(t, err, object.ErrUnavailable)
	_, err = s.Put(t.Context(), "new", object.BytesSource([]byte("x")), object.PutOptions{})
	if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrUnknownOutcome) {
		t.Errorf("a write that never left: %v", err)
	}
	proxy.Up(t)
	wantMissing(t, past, "new")
	within(t, 30*time.Second, func(ctx context.Context) {
		for {
			if body, err := read(ctx, s, "there", object.GetOptions{}); err == nil {
				if string(body) != "bytes" {
					t.Errorf("read %q", body)
				}
				return
			} else if ctx.Err() != nil {
				t.Fatalf("it does not come back: %v", err)
			}
		}
	})
}

// Every connection breaks after some bytes. A body goes on from where it broke,
// or ends with an error; it never ends cleanly before its end.
func TestABodyThatBreaksOffGoesOnOrFails(t *testing.T) {
	cfg, straight, proxy := throughProxy(t)
	past, resumed := openS3(t, straight), int64(0)
	for name, body := range map[object.Key][]byte{"small": anyBytes(200_000), "parts": anyBytes(12 << 20)} {
		putBytes(t, past, name, body, object.PutOptions{})
		whole, broken := 0, 0
		for _, limit := range []int{300, 4_000, 100_000, 150_000, 1 << 20, 3 << 20} {
			s := openS3(t, cfg) // with all of its budget
			proxy.Add(t, s3test.Toxic{Name: "cut", Type: "limit_data", Attributes: map[string]any{"bytes": limit}})
			got, err := read(t.Context(), s, name, object.GetOptions{})
			proxy.Remove(t, "cut")
			resumed += s.Stats().Resumed
			switch {
			case err == nil:
				whole++
				if !bytes.Equal(got, body) {
					t.Fatalf("%s, cut after %d bytes: %d bytes that end cleanly, want %d", name, limit, len(got), len(body))
				}
			case !errors.Is(err, object.ErrUnavailable):
				t.Errorf("%s, cut after %d bytes: %v", name, limit, err)
			case len(got) > 0 && !bytes.HasPrefix(body, got):
				t.Errorf("%s, cut after %d bytes: wrong bytes", name, limit)
			default:
				broken++
			}
		}
		t.Logf("%s: %d whole, %d with an error", name, whole, broken)
		if whole == 0 {
			t.Errorf("%s: no body was resumed", name)
		}
	}
	if resumed == 0 {
		t.Error("no body was resumed")
	}
}

// A connection that is reset in the middle of a write leaves its outcome open.
// The bucket holds the whole object or none, and the error says what is known.
func TestAWriteThatIsCutIsWholeOrAbsent(t *testing.T) {
	cfg, straight, proxy := throughProxy(t)
	s, past := openS3(t, cfg), openS3(t, straight)
	for _, size := range []int{1_000, 4 << 20, 12 << 20} {
		body := anyBytes(size)
		for i, cut := range []s3test.Toxic{
			{Type: "limit_data", Stream: "upstream", Attributes: map[string]any{"bytes": 500}},
			{Type: "limit_data", Stream: "upstream", Attributes: map[string]any{"bytes": size / 2}},
			{Type: "limit_data", Attributes: map[string]any{"bytes": 20}},
			{Type: "reset_peer", Attributes: map[string]any{"timeout": 20}},
		} {
			cut.Name = "cut"
			key := object.Key("cut/" + string(rune('a'+i)))
			proxy.Add(t, cut)
			info, err := s.Put(t.Context(), key, object.BytesSource(body), object.PutOptions{IfNoneMatch: object.MatchAny()})
			proxy.Remove(t, "cut")
			got, gone := read(t.Context(), past, key, object.GetOptions{})
			switch {
			case err == nil && (gone != nil || !bytes.Equal(got, body) || info.SHA256 != sha256.Sum256(body)):
				t.Errorf("%d bytes, cut %d: a write that succeeded left %d bytes, %v", size, i, len(got), gone)
			case gone == nil && !bytes.Equal(got, body):
				t.Errorf("%d bytes, cut %d: %d other bytes are there", size, i, len(got))
			case gone != nil && !errors.Is(gone, object.ErrNotFound):
				t.Error(gone)
			case err != nil && gone == nil && !errors.Is(err, object.ErrUnknownOutcome):
				t.Errorf("%d bytes, cut %d: the object is there, the error is %v", size, i, err)
			}
			if err := past.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestASlowNetworkIsNoFault(t *testing.T) {
	cfg, _, proxy := throughProxy(t)
	cfg.Timeout = time.Second
	s := openS3(t, cfg)
	body := anyBytes(6 << 20)
	proxy.Add(t, s3test.Toxic{Name: "down", Type: "bandwidth", Attributes: map[string]any{"rate": 2_000}})
	proxy.Add(t, s3test.Toxic{Name: "up", Type: "bandwidth", Stream: "upstream", Attributes: map[string]any{"rate": 2_000}})
	putBytes(t, s, "slow", body, object.PutOptions{}) // 3 s, three times the wait for one answer
	if got, err := read(t.Context(), s, "slow", object.GetOptions{}); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
