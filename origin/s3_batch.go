package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/micelio/micelio/object"
)

const (
	// aloneDeletes is how many deletes are sent one by one at a time. What
	// arrives while so many are under way goes together: a client that clears a
	// folder costs few requests, one that deletes an object waits for nobody.
	aloneDeletes = 4

	// maxBatch is the most keys that S3 deletes in one request.
	maxBatch = 1000
)

// A deleteQueue gathers unconditional deletes that arrive at the same time.
type deleteQueue struct {
	mu      sync.Mutex // guards the following
	alone   int        // deletes sent one by one that are under way
	sending bool       // a batch is under way
	waiting []*pendingDelete
	off     bool // the service knows no batches
}

// A pendingDelete waits for its batch.
type pendingDelete struct {
	name string // in the bucket
	done chan struct{}
	err  error // once done is closed
}

// deleteUnconditionally deletes an object, alone or together with others that
// arrive meanwhile.
func (s *S3) deleteUnconditionally(ctx context.Context, key object.Key) error {
	q := &s.deletes
	q.mu.Lock()
	if q.off || q.alone < aloneDeletes {
		q.alone++
		q.mu.Unlock()
		err := s.deleteOnce(ctx, *s.fullKey(key), "")
		q.mu.Lock()
		q.alone--
		q.mu.Unlock()
		return err
	}
	p := &pendingDelete{name: *s.fullKey(key), done: make(chan struct{})}
	q.waiting = append(q.waiting, p)
	if !q.sending {
		q.sending = true
		// Those who wait may leave one by one; the batch is nobody's.
		s.tasks.Go(func() { s.sendBatches(context.WithoutCancel(ctx)) })
	}
	q.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", object.ErrUnknownOutcome, ctx.Err())
	}
}

// sendBatches sends what waits until nothing does.
func (s *S3) sendBatches(ctx context.Context) {
	q := &s.deletes
	for {
		q.mu.Lock()
		batch := q.waiting[:min(len(q.waiting), maxBatch)]
		q.waiting = q.waiting[len(batch):]
		if len(batch) == 0 {
			q.sending = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		s.sendBatch(ctx, batch)
		for _, p := range batch {
			close(p.done)
		}
	}
}

// sendBatch deletes a batch and says of each how it went.
func (s *S3) sendBatch(ctx context.Context, batch []*pendingDelete) {
	in := &s3.DeleteObjectsInput{Bucket: &s.cfg.Bucket, Delete: &types.Delete{Quiet: aws.Bool(true)}}
	for _, p := range batch {
		in.Delete.Objects = append(in.Delete.Objects, types.ObjectIdentifier{Key: &p.name})
	}
	traced, left := sent(ctx)
	var out *s3.DeleteObjectsOutput
	r, err := s.attempt(traced, func(ctx context.Context) (err error) {
		// S3 takes a CRC for the sum that it demands here; many others still
		// want what S3 demanded first.
		out, err = s.client.DeleteObjects(ctx, in, s3.WithAPIOptions(smithyhttp.AddContentChecksumMiddleware))
		return err
	})
	if err == nil && (r.code == "NotImplemented" || r.status == http.StatusNotImplemented) {
		s.deletes.mu.Lock()
		s.deletes.off = true
		s.deletes.mu.Unlock()
		for _, p := range batch {
			p.err = s.deleteOnce(ctx, p.name, "")
		}
		return
	}
	if err == nil && r.err != nil {
		err = &failedWrite{r, left.Load()}
	}
	failed := make(map[string]error)
	if err == nil {
		for _, e := range out.Errors {
			if code := aws.ToString(e.Code); code != "NoSuchKey" {
				failed[aws.ToString(e.Key)] = &failedWrite{reply{
					status: statusOf(code), code: code, err: fmt.Errorf("S3 answers %s: %s", code, aws.ToString(e.Message)),
				}, true}
			}
		}
	}
	for _, p := range batch {
		if p.err = err; err == nil {
			p.err = failed[p.name]
		}
	}
}

// statusOf returns the status that an answer of its own would have had.
func statusOf(code string) int {
	switch code {
	case "AccessDenied":
		return http.StatusForbidden
	case "InternalError":
		return http.StatusInternalServerError
	case "SlowDown", "ServiceUnavailable":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// isFailedWrite returns the reply to a write that failed.
func isFailedWrite(err error) (*failedWrite, bool) {
	var failed *failedWrite
	ok := errors.As(err, &failed)
	return failed, ok
}
