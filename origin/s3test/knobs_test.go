package s3test_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// spoilt starts a fake with an object, and returns what speaks to it.
func spoilt(t *testing.T) (*s3test.Fake, *talk) {
	fake := s3test.NewFake(t)
	fake.PutObject("a", []byte("abc"), nil)
	return fake, &talk{t, fake.Client(), &fake.Bucket}
}

const wholeA = someETag + " 3  abc"

func TestAKnobHoldsUntilItIsTurnedBack(t *testing.T) {
	t.Parallel()
	fake, k := spoilt(t)
	undo := fake.FailWith(503, "SlowDown", 1)
	if got := k.get("a"); got != "503 SlowDown" {
		t.Errorf("get: %s", got)
	}
	undo()
	if got := k.get("a"); got != wholeA {
		t.Errorf("get: %s", got)
	}
	fake.Methods(http.MethodPut).Times(1).FailWith(500, "InternalError", 1)
	if got := []string{k.get("a"), k.put("b", "abc"), k.put("b", "abc")}; got[0] != wholeA || got[1] != "500 InternalError" || got[2] != someETag {
		t.Errorf("get, put, put: %s", got)
	}
	fake.Key("a").Blackhole()
	fake.FailWith(403, "AccessDenied", 1)
	fake.Intercept(nil)
	if got := k.get("a"); got != wholeA {
		t.Errorf("get: %s", got)
	}
	if n := len(fake.Requests()); n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
}

func TestAPartOfTheRequestsFails(t *testing.T) {
	t.Parallel()
	fake, k := spoilt(t)
	fake.FailWith(503, "SlowDown", 0.25)
	failed := 0
	for range 200 {
		if k.head("a") != someETag+" 3" {
			failed++
		}
	}
	if failed < 30 || failed > 70 {
		t.Errorf("%d of 200 failed, want about 50", failed)
	}
}

func TestABlackHoleAnswersNobody(t *testing.T) {
	t.Parallel()
	fake, k := spoilt(t)
	undo := fake.Blackhole()
	arrived := make(chan struct{}, 1)
	fake.Times(1).Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		arrived <- struct{}{}
		next.ServeHTTP(w, r)
	})
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := k.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: k.bucket, Key: aws.String("a")})
		ended <- err
	}()
	select {
	case <-arrived:
	case err := <-ended:
		t.Fatalf("it was answered: %v", err)
	}
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	undo()
	if got := k.get("a"); got != wholeA {
		t.Errorf("get: %s", got)
	}
}

func TestALostAnswerIsThatOfAWriteThatTookPlace(t *testing.T) {
	t.Parallel()
	fake, k := spoilt(t)
	fake.LoseAnswer(http.MethodPut)
	if got := k.put("b", "abc"); got != "0 ?" {
		t.Errorf("put: %s", got)
	}
	if got := k.get("b"); got != wholeA {
		t.Errorf("get: %s", got)
	}
}

func TestALateWriteComesWhenTheTestSaysSo(t *testing.T) {
	t.Parallel()
	fake, k := spoilt(t)
	late := fake.Late(http.MethodPut)
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := k.client.PutObject(ctx, &s3.PutObjectInput{Bucket: k.bucket, Key: aws.String("a"), Body: bytes.NewReader([]byte("late"))})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("put: %v", err)
		}
	}()
	<-late.Arrived
	leave()
	<-ended
	if got := k.get("a"); got != wholeA {
		t.Errorf("before: %s", got)
	}
	if n := late.Apply(); n != 1 {
		t.Errorf("%d writes", n)
	}
	if body, _, _ := fake.Object("a"); string(body) != "late" {
		t.Errorf("after: %q", body)
	}
	if got := k.put("a", "abc"); got != someETag {
		t.Errorf("a later put: %s", got)
	}
}

func TestAnswersAreSpoilt(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789"), 1000)
	for name, c := range map[string]struct {
		turn   func(f *s3test.Fake)
		length int64 // declared
		check  func(got []byte, err error, etag string) bool
	}{
		"cut": {func(f *s3test.Fake) { f.Truncate(7000) }, 10_000, func(got []byte, err error, _ string) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) && bytes.Equal(got, body[:7000])
		}},
		"slow": {func(f *s3test.Fake) { f.Drip(100_000) }, 10_000, func(got []byte, err error, _ string) bool {
			return err == nil && bytes.Equal(got, body)
		}},
		"another bit": {func(f *s3test.Fake) { f.Lie(s3test.LieFlip) }, 10_000, func(got []byte, err error, etag string) bool {
			return err == nil && len(got) == len(body) && !bytes.Equal(got, body) && etag == `"true"`
		}},
		"shorter": {func(f *s3test.Fake) { f.Lie(s3test.LieLength) }, 9_999, func(got []byte, err error, _ string) bool {
			return err == nil && bytes.Equal(got, body[:9_999])
		}},
		"another object": {func(f *s3test.Fake) { f.Lie(s3test.LieObject) }, 3, func(got []byte, err error, etag string) bool {
			return err == nil && string(got) == "abc" && etag == someETag
		}},
		"another ETag": {func(f *s3test.Fake) { f.Lie(s3test.LieETag) }, 10_000, func(got []byte, err error, etag string) bool {
			return err == nil && bytes.Equal(got, body) && etag != `"true"`
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake, k := spoilt(t)
			fake.PutObject("b", body, nil)
			c.turn(fake)
			out, err := k.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: k.bucket, Key: aws.String("b")})
			if err != nil {
				t.Fatal(err)
			}
			defer out.Body.Close()
			got, err := io.ReadAll(out.Body)
			etag := aws.ToString(out.ETag)
			if etag == k.head("b")[:len(etag)] {
				etag = `"true"`
			}
			if *out.ContentLength != c.length || !c.check(got, err, etag) {
				t.Errorf("declared %d, got %d bytes, %v, ETag %s", *out.ContentLength, len(got), err, etag)
			}
		})
	}
}

func TestARedirectGoesElsewhere(t *testing.T) {
	t.Parallel()
	fake, _ := spoilt(t)
	elsewhere, k := spoilt(t)
	elsewhere.Redirect(fake.Endpoint, http.StatusTemporaryRedirect)
	if got := k.get("a"); got == wholeA {
		t.Error("the redirect was answered with the object")
	}
	if n := len(fake.Requests()); n != 1 {
		t.Errorf("%d requests arrived elsewhere, want that of a client that follows", n)
	}
}

func TestAProbeSeesWhatIsWeak(t *testing.T) {
	t.Parallel()
	strong := origin.Capabilities{ConditionalCreate: true, ConditionalReplace: true, ConditionalDelete: true, ConditionalBatch: true, ReadAfterWrite: true}
	for name, c := range map[string]struct {
		turn func(f *s3test.Fake)
		want origin.Capabilities
	}{
		"nothing":             {func(*s3test.Fake) {}, strong},
		"conditions":          {func(f *s3test.Fake) { f.WeakConditions() }, origin.Capabilities{ConditionalDelete: true, ConditionalBatch: true, ReadAfterWrite: true}},
		"races":               {func(f *s3test.Fake) { f.RacyConditions() }, origin.Capabilities{ConditionalDelete: true, ConditionalBatch: true, ReadAfterWrite: true}},
		"conditional deletes": {func(f *s3test.Fake) { f.IgnoreConditionalDelete() }, origin.Capabilities{ConditionalCreate: true, ConditionalReplace: true, ReadAfterWrite: true}},
		"conditional batches": {func(f *s3test.Fake) { f.IgnoreConditionalBatch() }, origin.Capabilities{ConditionalCreate: true, ConditionalReplace: true, ConditionalDelete: true, ReadAfterWrite: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := s3test.NewFake(t)
			c.turn(fake)
			s := openStore(t, storeConfig(t, fake.Server))
			if got, err := s.Probe(t.Context()); err != nil || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
			if names := fake.Names(); len(names) != 0 {
				t.Errorf("the probe left %q", names)
			}
		})
	}
}

func TestOfRacyWritesTwoSucceed(t *testing.T) {
	t.Parallel()
	fake, k := spoilt(t)
	fake.RacyConditions()
	var both sync.WaitGroup
	got := make([]string, 2)
	for i := range got {
		both.Go(func() {
			got[i] = k.put("new", "abc", func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") })
		})
	}
	both.Wait()
	if got[0] != someETag || got[1] != someETag {
		t.Errorf("%q", got)
	}
	if got := k.put("new", "abc", func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }); got != "412 PreconditionFailed" {
		t.Errorf("a third, later: %s", got)
	}
}
