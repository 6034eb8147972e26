package s3test_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/micelio/micelio/origin/s3test"
)

// A talk speaks to a server as the SDK does and puts its answers into words.
type talk struct {
	*testing.T
	client *s3.Client
	bucket *string
}

const someETag = `"900150983cd24fb0d6963f7d28e17f72"` // MD5 of abc

// outcome is the status and the code of an error, "ok" for none.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	code, status := "?", 0
	if e := smithy.APIError(nil); errors.As(err, &e) {
		code = e.ErrorCode()
	}
	if e := (*awshttp.ResponseError)(nil); errors.As(err, &e) {
		status = e.HTTPStatusCode()
	}
	return fmt.Sprintf("%d %s", status, code)
}

func (k *talk) put(key, body string, change ...func(*s3.PutObjectInput)) string {
	in := &s3.PutObjectInput{Bucket: k.bucket, Key: &key, Body: strings.NewReader(body)}
	for _, f := range change {
		f(in)
	}
	out, err := k.client.PutObject(k.Context(), in)
	if err != nil {
		return outcome(err)
	}
	return aws.ToString(out.ETag)
}

func (k *talk) get(key string, change ...func(*s3.GetObjectInput)) string {
	in := &s3.GetObjectInput{Bucket: k.bucket, Key: &key}
	for _, f := range change {
		f(in)
	}
	out, err := k.client.GetObject(k.Context(), in)
	if err != nil {
		return outcome(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		k.Fatal(err)
	}
	return fmt.Sprintf("%s %d %s %s", aws.ToString(out.ETag), aws.ToInt64(out.ContentLength), aws.ToString(out.ContentRange), body)
}

func (k *talk) head(key string, change ...func(*s3.HeadObjectInput)) string {
	in := &s3.HeadObjectInput{Bucket: k.bucket, Key: &key}
	for _, f := range change {
		f(in)
	}
	out, err := k.client.HeadObject(k.Context(), in)
	if err != nil {
		return outcome(err)
	}
	return fmt.Sprintf("%s %d", aws.ToString(out.ETag), aws.ToInt64(out.ContentLength))
}

func (k *talk) delete(key string, ifMatch *string) string {
	_, err := k.client.DeleteObject(k.Context(), &s3.DeleteObjectInput{Bucket: k.bucket, Key: &key, IfMatch: ifMatch})
	return outcome(err)
}

// list returns the names of all pages, "|" between pages.
func (k *talk) list(change func(*s3.ListObjectsV2Input)) string {
	in := &s3.ListObjectsV2Input{Bucket: k.bucket}
	change(in)
	var pages []string
	for {
		out, err := k.client.ListObjectsV2(k.Context(), in)
		if err != nil {
			return outcome(err)
		}
		var names []string
		for _, o := range out.Contents {
			names = append(names, aws.ToString(o.Key))
		}
		for _, p := range out.CommonPrefixes {
			names = append(names, aws.ToString(p.Prefix))
		}
		slices.Sort(names)
		if n := int(aws.ToInt32(out.KeyCount)); n != len(names) {
			k.Errorf("KeyCount is %d of %q", n, names)
		}
		pages = append(pages, strings.Join(names, " "))
		if !aws.ToBool(out.IsTruncated) {
			return strings.Join(pages, "|")
		}
		in.ContinuationToken, in.StartAfter = out.NextContinuationToken, nil
	}
}

func (k *talk) begin(key string) *string {
	out, err := k.client.CreateMultipartUpload(k.Context(), &s3.CreateMultipartUploadInput{Bucket: k.bucket, Key: &key, ContentType: aws.String("text/x")})
	if err != nil {
		k.Fatal(err)
	}
	return out.UploadId
}

func (k *talk) part(key string, id *string, number int32, body []byte) types.CompletedPart {
	out, err := k.client.UploadPart(k.Context(), &s3.UploadPartInput{Bucket: k.bucket, Key: &key, UploadId: id, PartNumber: &number, Body: bytes.NewReader(body)})
	if err != nil {
		k.Fatal(err)
	}
	return types.CompletedPart{PartNumber: &number, ETag: out.ETag}
}

func (k *talk) complete(key string, id *string, ifNoneMatch *string, parts ...types.CompletedPart) string {
	out, err := k.client.CompleteMultipartUpload(k.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: k.bucket, Key: &key, UploadId: id, IfNoneMatch: ifNoneMatch, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		return outcome(err)
	}
	return aws.ToString(out.ETag)
}

func (k *talk) abort(key string, id *string) string {
	_, err := k.client.AbortMultipartUpload(k.Context(), &s3.AbortMultipartUploadInput{Bucket: k.bucket, Key: &key, UploadId: id})
	return outcome(err)
}

func (k *talk) uploads() string {
	out, err := k.client.ListMultipartUploads(k.Context(), &s3.ListMultipartUploadsInput{Bucket: k.bucket})
	if err != nil {
		return outcome(err)
	}
	var keys []string
	for _, u := range out.Uploads {
		keys = append(keys, aws.ToString(u.Key))
	}
	return strings.Join(keys, " ")
}

// A step is one exchange and what every S3 answers.
type step struct {
	name string
	say  func(k *talk) string
	want string
}

func objectSteps() []step {
	ifMatch := func(tag string) func(*s3.PutObjectInput) {
		return func(in *s3.PutObjectInput) { in.IfMatch = &tag }
	}
	create := func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }
	part := func(r string) func(*s3.GetObjectInput) { return func(in *s3.GetObjectInput) { in.Range = &r } }
	return []step{
		{"get nothing", func(k *talk) string { return k.get("a") }, "404 NoSuchKey"},
		{"head nothing", func(k *talk) string { return k.head("a") }, "404 NotFound"},
		{"delete nothing", func(k *talk) string { return k.delete("a", nil) }, "ok"},
		{"replace nothing", func(k *talk) string { return k.put("a", "abc", ifMatch(someETag)) }, "404 NoSuchKey"},
		{"create", func(k *talk) string { return k.put("a", "abc", create) }, someETag},
		{"create again", func(k *talk) string { return k.put("a", "xyz", create) }, "412 PreconditionFailed"},
		{"replace another", func(k *talk) string { return k.put("a", "xyz", ifMatch(`"other"`)) }, "412 PreconditionFailed"},
		{"replace", func(k *talk) string { return k.put("a", "abcd", ifMatch(someETag)) }, `"e2fc714c4727ee9395f324cd2e7f331f"`},
		{"replace the old one", func(k *talk) string { return k.put("a", "xyz", ifMatch(someETag)) }, "412 PreconditionFailed"},
		{"overwrite", func(k *talk) string { return k.put("a", "abc") }, someETag},
		{"get", func(k *talk) string { return k.get("a") }, someETag + " 3  abc"},
		{"head", func(k *talk) string { return k.head("a") }, someETag + " 3"},
		{"first byte", func(k *talk) string { return k.get("a", part("bytes=0-0")) }, someETag + " 1 bytes 0-0/3 a"},
		{"the rest", func(k *talk) string { return k.get("a", part("bytes=1-")) }, someETag + " 2 bytes 1-2/3 bc"},
		{"more than there is", func(k *talk) string { return k.get("a", part("bytes=1-99")) }, someETag + " 2 bytes 1-2/3 bc"},
		{"the end", func(k *talk) string { return k.get("a", part("bytes=-2")) }, someETag + " 2 bytes 1-2/3 bc"},
		{"behind the end", func(k *talk) string { return k.get("a", part("bytes=3-")) }, "416 InvalidRange"},
		{"no range", func(k *talk) string { return k.get("a", part("bytes=x")) }, someETag + " 3  abc"},
		{"get this one", func(k *talk) string {
			return k.get("a", func(in *s3.GetObjectInput) { in.IfMatch, in.Range = aws.String(someETag), aws.String("bytes=2-") })
		}, someETag + " 1 bytes 2-2/3 c"},
		{"get another", func(k *talk) string {
			return k.get("a", func(in *s3.GetObjectInput) { in.IfMatch = aws.String(`"other"`) })
		}, "412 PreconditionFailed"},
		{"get news", func(k *talk) string {
			return k.get("a", func(in *s3.GetObjectInput) { in.IfNoneMatch = aws.String(someETag) })
		}, "304 NotModified"},
		{"head news", func(k *talk) string {
			return k.head("a", func(in *s3.HeadObjectInput) { in.IfNoneMatch = aws.String(someETag) })
		}, "304 NotModified"},
		{"head another", func(k *talk) string {
			return k.head("a", func(in *s3.HeadObjectInput) { in.IfMatch = aws.String(`"other"`) })
		}, "412 PreconditionFailed"},
		{"wrong MD5", func(k *talk) string {
			sum := md5.Sum([]byte("xyz"))
			return k.put("b", "abc", func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String(base64.StdEncoding.EncodeToString(sum[:])) })
		}, "400 BadDigest"},
		{"no MD5", func(k *talk) string {
			return k.put("b", "abc", func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("no") })
		}, "400 InvalidDigest"},
		{"wrong checksum", func(k *talk) string {
			return k.put("b", "abc", func(in *s3.PutObjectInput) { in.ChecksumCRC32 = aws.String("AAAAAA==") })
		}, "400 BadDigest"},
		{"too much metadata", func(k *talk) string {
			return k.put("b", "abc", func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"a": strings.Repeat("x", 2048)} })
		}, "400 MetadataTooLarge"},
		{"nothing of these", func(k *talk) string { return k.head("b") }, "404 NotFound"},
		{"delete another", func(k *talk) string { return k.delete("a", aws.String(`"other"`)) }, "412 PreconditionFailed"},
		{"delete", func(k *talk) string { return k.delete("a", aws.String(someETag)) }, "ok"},
		{"it is gone", func(k *talk) string { return k.get("a") }, "404 NoSuchKey"},
		{"no such bucket", func(k *talk) string {
			k.bucket = aws.String("no-such-bucket")
			return k.get("a")
		}, "404 NoSuchBucket"},
	}
}

func listSteps() []step {
	list := func(prefix, delimiter, after string, n int32) func(k *talk) string {
		return func(k *talk) string {
			return k.list(func(in *s3.ListObjectsV2Input) {
				in.Prefix, in.Delimiter, in.StartAfter, in.MaxKeys = &prefix, &delimiter, &after, &n
			})
		}
	}
	return []step{
		{"an empty bucket", list("", "", "", 10), ""},
		{"fill it", func(k *talk) string {
			for _, name := range []string{"a/b", "a-b", "ab", "a/c/d", "b+ c", "z/y"} {
				k.put(name, "abc")
			}
			return ""
		}, ""},
		{"all", list("", "", "", 10), "a-b a/b a/c/d ab b+ c z/y"},
		{"pages", list("", "", "", 2), "a-b a/b|a/c/d ab|b+ c z/y"},
		{"a prefix", list("a/", "", "", 10), "a/b a/c/d"},
		{"a part of a name", list("a", "", "", 10), "a-b a/b a/c/d ab"},
		{"folded", list("", "/", "", 10), "a-b a/ ab b+ c z/"},
		{"folded in pages", list("", "/", "", 2), "a-b a/|ab b+ c|z/"},
		{"folded below", list("a/", "/", "", 10), "a/b a/c/"},
		{"after", list("", "", "a/b", 10), "a/c/d ab b+ c z/y"},
		{"after, folded", list("", "/", "ab", 10), "b+ c z/"},
		{"after all", list("", "", "zz", 10), ""},
		{"delete many", func(k *talk) string {
			out, err := k.client.DeleteObjects(k.Context(), &s3.DeleteObjectsInput{
				Bucket: k.bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("a-b")}, {Key: aws.String("b+ c")}, {Key: aws.String("none")}}},
			}, s3.WithAPIOptions(smithyhttp.AddContentChecksumMiddleware))
			if err != nil {
				return outcome(err)
			}
			return fmt.Sprintf("%d deleted, %d not", len(out.Deleted), len(out.Errors))
		}, "3 deleted, 0 not"},
		{"what is left", list("", "", "", 10), "a/b a/c/d ab z/y"},
		{"the bucket", func(k *talk) string {
			_, err := k.client.HeadBucket(k.Context(), &s3.HeadBucketInput{Bucket: k.bucket})
			return outcome(err)
		}, "ok"},
		{"another bucket", func(k *talk) string {
			_, err := k.client.HeadBucket(k.Context(), &s3.HeadBucketInput{Bucket: aws.String("no-such-bucket")})
			return outcome(err)
		}, "404 NotFound"},
	}
}

func uploadSteps() []step {
	large := bytes.Repeat([]byte("x"), 5<<20)
	var id *string
	var first, second types.CompletedPart
	return []step{
		{"begin", func(k *talk) string {
			id = k.begin("u")
			first, second = k.part("u", id, 1, large), k.part("u", id, 2, []byte("end"))
			return ""
		}, ""},
		{"it is listed", (*talk).uploads, "u"},
		{"its parts are", func(k *talk) string {
			out, err := k.client.ListParts(k.Context(), &s3.ListPartsInput{Bucket: k.bucket, Key: aws.String("u"), UploadId: id})
			if err != nil {
				return outcome(err)
			}
			return fmt.Sprint(len(out.Parts), *out.Parts[0].Size, *out.Parts[1].Size)
		}, "2 5242880 3"},
		{"and no object", func(k *talk) string { return k.head("u") }, "404 NotFound"},
		{"wrong order", func(k *talk) string { return k.complete("u", id, nil, first, first) }, "400 InvalidPartOrder"},
		{"wrong part", func(k *talk) string {
			return k.complete("u", id, nil, types.CompletedPart{PartNumber: aws.Int32(1), ETag: second.ETag})
		}, "400 InvalidPart"},
		{"complete", func(k *talk) string { return k.complete("u", id, nil, first, second) }, `"6d7c5fbffce55b2eb513ca823d7235b2-2"`},
		{"the object", func(k *talk) string {
			return k.get("u", func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=5242878-") })
		}, `"6d7c5fbffce55b2eb513ca823d7235b2-2" 5 bytes 5242878-5242882/5242883 xxend`},
		{"the upload is over", func(k *talk) string { return k.abort("u", id) }, "404 NoSuchUpload"},
		{"complete what must not be there", func(k *talk) string {
			id = k.begin("u")
			return k.complete("u", id, aws.String("*"), k.part("u", id, 1, []byte("other")))
		}, "412 PreconditionFailed"},
		{"the upload is not over", func(k *talk) string { return k.abort("u", id) }, "ok"},
		{"small parts", func(k *talk) string {
			id = k.begin("v")
			return k.complete("v", id, nil, k.part("v", id, 1, []byte("a")), k.part("v", id, 2, []byte("b")))
		}, "400 EntityTooSmall"},
		{"give up", func(k *talk) string { return k.abort("v", id) }, "ok"},
		{"nothing is left", (*talk).uploads, ""},
	}
}

// A fake that drifts from what real services answer makes tests pass that
// should not.
func TestAFakeAnswersAsARealServiceDoes(t *testing.T) {
	t.Parallel()
	for service, start := range map[string]func(t *testing.T) *s3test.Server{
		"fake":      func(t *testing.T) *s3test.Server { return s3test.NewFake(t).Server },
		"versitygw": func(t *testing.T) *s3test.Server { return s3test.VersityGW(t) },
	} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			for name, steps := range map[string][]step{"objects": objectSteps(), "listings": listSteps(), "uploads": uploadSteps()} {
				t.Run(name, func(t *testing.T) {
					k := &talk{t, server.Client(), aws.String(server.NewBucket(t))}
					for _, s := range steps {
						if got := s.say(k); got != s.want {
							t.Errorf("%s: %s, want %s", s.name, got, s.want)
						}
					}
				})
			}
		})
	}
}
