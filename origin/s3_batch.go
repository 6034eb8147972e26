package origin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

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

// A deleteQueue gathers deletes that arrive at the same time and have no
// condition of their callers'.
type deleteQueue struct {
	mu      sync.Mutex // guards the following
	alone   int        // deletes sent one by one that are under way
	sending bool       // a batch is under way
	waiting []*pendingDelete
	off     bool // the service knows no batches
}

// A pendingDelete waits for its batch.
type pendingDelete struct {
	key  object.Key
	name string // in the bucket
	off  bool   // it names no version
	is   bool   // base is known
	base base
	done chan struct{}
	err  error // once done is closed
}

// deleteTogether deletes the object of a footing, alone or together with others
// that arrive meanwhile. What must name its version is alone at a service that
// would not look at that in a batch.
func (s *S3) deleteTogether(ctx context.Context, f *footing) error {
	single := !f.off && s.without(func(c Capabilities) bool { return !c.ConditionalBatch })
	q := &s.deletes
	q.mu.Lock()
	if q.off || single || q.alone < aloneDeletes {
		q.alone++
		q.mu.Unlock()
		err := s.deleteAlone(ctx, f)
		q.mu.Lock()
		q.alone--
		q.mu.Unlock()
		return err
	}
	p := &pendingDelete{key: f.key, name: *s.fullKey(f.key), off: f.off, is: f.is, base: f.base, done: make(chan struct{})}
	q.waiting = append(q.waiting, p)
	if !q.sending {
		q.sending = true
		// Those who wait may leave one by one; the batch is nobody's.
		s.tasks.Go(func() { s.sendBatches(context.WithoutCancel(ctx)) })
	}
	q.mu.Unlock()
	select {
	case <-p.done:
		if errors.Is(p.err, errUnlisted) {
			return s.deleteAlone(ctx, f)
		}
		f.is, f.base = p.is, p.base
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", object.ErrUnknownOutcome, ctx.Err())
	}
}

// deleteAlone deletes the object of a footing with a request of its own, if
// there is one.
func (s *S3) deleteAlone(ctx context.Context, f *footing) error {
	var b base
	if !f.off {
		var err error
		if b, err = f.find(ctx); err != nil || b.etag == "" {
			return err // there is nothing to be deleted
		}
	}
	return s.deleteOnce(ctx, *s.fullKey(f.key), b.etag)
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

// errUnlisted says that a listing did not show an object that is to be deleted.
// It is asked for by itself then: not every service lists what was written just
// now.
var errUnlisted = errors.New("not in the listing")

// fewUnlisted is how many questions about one object each are better than a
// listing, which takes longer.
const fewUnlisted = 2

// based finds out which versions the members of a batch name that do not know
// it yet, and returns those that have something to delete. A client that clears
// a folder needs one page of a listing for that, and no question for each object.
func (s *S3) based(ctx context.Context, batch []*pendingDelete) []*pendingDelete {
	var unknown []*pendingDelete
	for _, p := range batch {
		if !p.off && !p.is {
			unknown = append(unknown, p)
		}
	}
	if len(unknown) > fewUnlisted {
		s.list(ctx, unknown)
	} else {
		for _, p := range unknown {
			f := s.footing(p.key, "", false)
			p.base, p.err = f.find(ctx)
			p.is = p.err == nil
		}
	}
	return slices.DeleteFunc(slices.Clone(batch), func(p *pendingDelete) bool {
		return !p.off && (!p.is || p.base.etag == "")
	})
}

// list finds the versions of objects in one page of a listing that begins with
// the first of them. Those that are not there get errUnlisted.
func (s *S3) list(ctx context.Context, unknown []*pendingDelete) {
	byKey := make(map[string]*pendingDelete)
	for _, p := range unknown {
		p.err = errUnlisted
		byKey[string(p.key)] = p
	}
	names := slices.Sorted(maps.Keys(byKey))
	first, last := names[0], names[len(names)-1]
	common := 0
	for common < min(len(first), len(last)) && first[common] == last[common] {
		common++
	}
	_, lastRune := utf8.DecodeLastRuneInString(first)
	from := object.ListOptions{Prefix: strings.ToValidUTF8(first[:common], ""), After: first[:len(first)-lastRune], Limit: maxBatch - 1}
	for e, err := range s.List(ctx, from) {
		if err != nil || e.Name() > last {
			return
		}
		if p := byKey[e.Name()]; p != nil && e.ETag != "" {
			p.base, p.is, p.err = base{etag: e.ETag, asked: true}, true, nil
		}
	}
}

// sendBatch deletes a batch and says of each how it went.
func (s *S3) sendBatch(ctx context.Context, batch []*pendingDelete) {
	batch = s.based(ctx, batch)
	if len(batch) == 0 {
		return
	}
	var objects []types.ObjectIdentifier
	for _, p := range batch {
		objects = append(objects, types.ObjectIdentifier{Key: &p.name, ETag: quotedPin(p.base.etag)})
	}
	traced, left := sent(ctx)
	var out *s3.DeleteObjectsOutput
	r, err := s.attempt(traced, func(ctx context.Context) (err error) {
		out, err = s.deleteObjects(ctx, objects)
		return err
	})
	if err == nil && r.unknownThere() {
		s.deletes.mu.Lock()
		s.deletes.off = true
		s.deletes.mu.Unlock()
		for _, p := range batch {
			p.err = s.deleteOnce(ctx, p.name, p.base.etag)
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

// deleteObjects sends a batch. S3 takes a CRC for the sum that it demands here;
// many others still want what S3 demanded first.
func (s *S3) deleteObjects(ctx context.Context, objects []types.ObjectIdentifier) (*s3.DeleteObjectsOutput, error) {
	in := &s3.DeleteObjectsInput{Bucket: &s.cfg.Bucket, Delete: &types.Delete{Quiet: aws.Bool(true), Objects: objects}}
	return s.client.DeleteObjects(ctx, in, s3.WithAPIOptions(smithyhttp.AddContentChecksumMiddleware))
}

// statusOf returns the status that an answer of its own would have had.
func statusOf(code string) int {
	switch code {
	case "PreconditionFailed":
		return http.StatusPreconditionFailed
	case "ConditionalRequestConflict":
		return http.StatusConflict
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
