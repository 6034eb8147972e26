package origin_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin/s3test"
)

// A name that no header can carry used to look as if S3 were away.
func TestMetadataThatS3CannotKeepIsRefusedWithoutAsking(t *testing.T) {
	fake := s3test.NewFake(t)
	s := openS3(t, s3Config(t, fake.Server))
	for _, name := range []string{"", "a b", "a:b", "ümlaut", "tab\t", "new\nline", `quote"`} {
		_, err := s.Put(t.Context(), "key", object.BytesSource(nil), object.PutOptions{Attrs: object.Attrs{User: map[string]string{name: "v"}}})
		if err == nil || errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrUnknownOutcome) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if n := len(fake.Requests()); n != 0 {
		t.Errorf("S3 was asked %d times", n)
	}
	put(t, s, "key", "x", object.PutOptions{Attrs: object.Attrs{User: map[string]string{"a-b_c.d!#$%&'*+^`|~": "v"}}})
}

// gofakes3 loses the first letters of a common prefix if they are among those of
// the delimiter. Whoever walked down such a listing never came to its end.
func TestANameThatNobodyAskedForIsAnError(t *testing.T) {
	const page = `<ListBucketResult><IsTruncated>false</IsTruncated>%s</ListBucketResult>`
	for name, c := range map[string]struct {
		opt   object.ListOptions
		lines string
	}{
		"another prefix":           {object.ListOptions{Prefix: "dir/"}, `<Contents><Key>dit/x</Key><Size>1</Size></Contents>`},
		"another common prefix":    {object.ListOptions{Prefix: "blob-abc", Delimiter: "abc"}, `<CommonPrefixes><Prefix>lob-abcdir1abc</Prefix></CommonPrefixes>`},
		"a prefix without its end": {object.ListOptions{Delimiter: "/"}, `<CommonPrefixes><Prefix>dir</Prefix></CommonPrefixes>`},
	} {
		t.Run(name, func(t *testing.T) {
			fake := s3test.NewFake(t)
			s := openS3(t, s3Config(t, fake.Server))
			fake.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { fmt.Fprintf(w, page, c.lines) })
			for e, err := range s.List(t.Context(), c.opt) {
				if !errors.Is(err, object.ErrUnavailable) {
					t.Errorf("%+v, %v", e, err)
				}
			}
		})
	}
}

// A service that orders names otherwise would make pages skip some.
func TestAServiceThatDoesNotOrderNamesIsFoundOut(t *testing.T) {
	fake := s3test.NewFake(t)
	s := openS3(t, s3Config(t, fake.Server))
	fake.Intercept(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		name, more := "b", `<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>`
		if r.URL.Query().Has("continuation-token") {
			name, more = "a", `<IsTruncated>false</IsTruncated>`
		}
		fmt.Fprintf(w, `<ListBucketResult>%s<Contents><Key>%s</Key><Size>1</Size></Contents></ListBucketResult>`, more, name)
	})
	var got []object.Key
	var failed error
	for e, err := range s.List(t.Context(), object.ListOptions{}) {
		if failed = err; err == nil {
			got = append(got, e.Key)
		}
	}
	if len(got) != 1 || got[0] != "b" || !errors.Is(failed, object.ErrUnavailable) {
		t.Errorf("listed %q, %v", got, failed)
	}
}
