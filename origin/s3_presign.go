package origin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/micelio/micelio/object"
)

// MaxPresignExpires is the longest that a presigned URL can work, as S3 has it:
// "Authenticating Requests: Using Query Parameters", X-Amz-Expires. One that was
// signed with temporary credentials ends with them.
const MaxPresignExpires = 7 * 24 * time.Hour

// Presign returns a URL with which whoever has it reads (GET) or writes (PUT)
// an object of the bucket, without credentials of their own, for the time that
// expires gives in whole seconds, 1 s to MaxPresignExpires. The URL goes straight
// to the service: nothing that a Guard or a cache promises holds for what it
// writes. Such a write carries neither our metadata nor the encryption of the
// configuration, but that of the bucket.
//
// Nothing is asked of the bucket, so the object need not exist; credentials that
// have run out are renewed.
func (s *S3) Presign(ctx context.Context, method string, key object.Key, expires time.Duration) (string, error) {
	if err := s.admissible(ctx, key); err != nil {
		return "", err
	}
	if isInternal(string(key)) {
		return "", fmt.Errorf("%w: names under %q belong to the cluster itself", object.ErrInvalidKey, internalPrefix)
	}
	if expires < time.Second || expires > MaxPresignExpires {
		return "", fmt.Errorf("origin: presign %q: %v is not from 1s to %v", key, expires, MaxPresignExpires)
	}
	// The client asks for no checksums of answers (see tune): else the URL would
	// carry x-amz-checksum-mode, which some services refuse.
	signer := s3.NewPresignClient(s.client, s3.WithPresignExpires(expires))
	var request *v4.PresignedHTTPRequest
	var err error
	switch method {
	case http.MethodGet:
		request, err = signer.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: s.fullKey(key)})
	case http.MethodPut:
		request, err = signer.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &s.cfg.Bucket, Key: s.fullKey(key)})
	default:
		return "", fmt.Errorf("origin: presign %q: the method %q is neither GET nor PUT", key, method)
	}
	if err != nil {
		return "", fmt.Errorf("origin: presign %q: %w: %w", key, object.ErrUnavailable, err)
	}
	return request.URL, nil
}
