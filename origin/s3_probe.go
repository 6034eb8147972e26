package origin

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
)

// Capabilities are what a bucket was found to do. What is false was found
// missing, not merely untested.
type Capabilities struct {
	ConditionalCreate  bool // of racing writes that require absence exactly one succeeds
	ConditionalReplace bool // of racing writes that require one version exactly one succeeds, and none of an older
	ConditionalDelete  bool // a delete that requires an older version is refused
	ConditionalBatch   bool // so is one among others in one request
	ReadAfterWrite     bool // a read returns what the write before it wrote
}

// Strong reports whether mutable keys can be promised to be linearizable. Not
// every service that can has conditional deletes. Without them a delete that got
// lost on its way may remove what was written after its caller gave up; batches
// only save requests.
func (c Capabilities) Strong() bool {
	return c.ConditionalCreate && c.ConditionalReplace && c.ReadAfterWrite
}

// Capabilities returns what the last probe found, and false before the first.
func (s *S3) Capabilities() (Capabilities, bool) {
	caps := s.caps.Load()
	if caps == nil {
		return Capabilities{}, false
	}
	return *caps, true
}

// weak reports whether the service is known to ignore a condition, which is
// then at least tested before the write.
func (s *S3) weak(cond condition) bool {
	caps, known := s.Capabilities()
	return known && (cond.ifNoneMatch != nil && !caps.ConditionalCreate || cond.ifMatch != nil && !caps.ConditionalReplace)
}

// probeRacers is how many writes race for one name. A service that tests a
// condition and then writes lets several of so many through.
const probeRacers = 16

// Probe finds out what the bucket does with conditions, by racing writes of an
// object of its own, which it removes. The error says that it could not be found
// out: object.ErrUnavailable, and ErrRefused too if the bucket or the
// credentials are not what they must be.
func (s *S3) Probe(ctx context.Context) (Capabilities, error) {
	p := &prober{s: s, name: aws.String(s.cfg.Prefix + internalPrefix + rand.Text())}
	defer p.remove(ctx)
	caps, err := p.run(ctx)
	if err != nil {
		return Capabilities{}, fmt.Errorf("origin: probe of the S3 bucket %q: %w", s.cfg.Bucket, err)
	}
	s.caps.Store(&caps)
	return caps, nil
}

// A prober works on one object, which nobody else knows.
type prober struct {
	s    *S3
	name *string
}

func (p *prober) run(ctx context.Context) (caps Capabilities, err error) {
	// A breaker that is half open lets breakerProbes requests through, which is
	// less than a race. One after the other they close it.
	if err := p.knock(ctx); err != nil {
		return caps, err
	}
	won, etag, err := p.race(ctx, condition{ifNoneMatch: aws.String("*")})
	if err != nil {
		return caps, err
	}
	caps.ConditionalCreate = won == 1
	first, etag, err := p.replace(ctx, "first", etag)
	if err != nil {
		return caps, err
	}
	old := etag
	second, etag, err := p.replace(ctx, "second", etag)
	if err != nil {
		return caps, err
	}
	caps.ReadAfterWrite = first && second
	stale, err := p.put(ctx, "stale", condition{ifMatch: &old})
	if err != nil && !isRefusal(err) {
		return caps, err
	}
	if err == nil {
		etag = stale
	}
	won, etag, e := p.race(ctx, condition{ifMatch: &etag})
	if e != nil {
		return caps, e
	}
	caps.ConditionalReplace = won == 1 && isRefusal(err)
	err = p.delete(ctx, &old)
	caps.ConditionalDelete = isRefusal(err) && etag != old
	if err != nil && !isRefusal(err) {
		return caps, err
	}
	if caps.ConditionalDelete {
		if caps.ConditionalBatch, err = p.refusesInBatch(ctx, &old); err != nil {
			return caps, err
		}
	}
	if err := p.delete(ctx, nil); err != nil {
		return caps, err
	}
	_, err = p.get(ctx)
	caps.ReadAfterWrite = caps.ReadAfterWrite && errors.Is(err, object.ErrNotFound)
	if err != nil && !errors.Is(err, object.ErrNotFound) {
		return caps, err
	}
	return caps, nil
}

// knock reads as often as it takes to close a breaker that is half open.
func (p *prober) knock(ctx context.Context) error {
	for range breakerProbes {
		if _, err := p.get(ctx); err != nil && !errors.Is(err, object.ErrNotFound) {
			return err
		}
	}
	return nil
}

// race lets many writes with one condition race and returns how many
// succeeded, and the ETag of what is there now.
func (p *prober) race(ctx context.Context, cond condition) (won int, etag string, err error) {
	var mu sync.Mutex
	var racers sync.WaitGroup
	for range probeRacers {
		racers.Go(func() {
			_, e := p.put(ctx, rand.Text(), cond)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case e == nil:
				won++
			case !isRefusal(e):
				err = e
			}
		})
	}
	racers.Wait()
	if err != nil {
		return 0, "", err
	}
	out, err := p.get(ctx)
	return won, out.etag, err
}

// replace overwrites the object, reports whether that is what a read returns,
// and its ETag.
func (p *prober) replace(ctx context.Context, body, etag string) (fresh bool, now string, err error) {
	if now, err = p.put(ctx, body, condition{}); err != nil {
		return false, etag, err
	}
	got, err := p.get(ctx)
	return got.body == body && got.etag == now, now, err
}

// isRefusal reports whether a service refused a request for its condition, or
// because it knows no such conditions.
func isRefusal(err error) bool {
	r := replyOf(err)
	return err != nil && (r.status == http.StatusPreconditionFailed || r.status == http.StatusConflict ||
		r.status == http.StatusNotImplemented || r.code == "NotImplemented")
}

func (p *prober) put(ctx context.Context, body string, cond condition) (etag string, err error) {
	size := int64(len(body))
	var out *s3.PutObjectOutput
	r, err := p.s.attempt(ctx, func(ctx context.Context) (err error) {
		out, err = p.s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &p.s.cfg.Bucket, Key: p.name, Body: bytes.NewReader([]byte(body)), ContentLength: &size,
			IfMatch: cond.ifMatch, IfNoneMatch: cond.ifNoneMatch,
		})
		return err
	})
	if err == nil && r.err != nil {
		err = r.err
		if !isRefusal(err) {
			err = p.s.storeError(ctx, r)
		}
	}
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

type probed struct{ body, etag string }

func (p *prober) get(ctx context.Context) (got probed, err error) {
	err = p.s.read(ctx, func(ctx context.Context) error {
		out, err := p.s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &p.s.cfg.Bucket, Key: p.name})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		body, err := io.ReadAll(io.LimitReader(out.Body, 1<<10))
		got = probed{string(body), aws.ToString(out.ETag)}
		return err
	})
	return got, err
}

func (p *prober) delete(ctx context.Context, etag *string) error {
	r, err := p.s.attempt(ctx, func(ctx context.Context) error {
		_, err := p.s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.s.cfg.Bucket, Key: p.name, IfMatch: etag})
		return err
	})
	if err == nil && r.err != nil {
		err = r.err
		if !isRefusal(err) {
			err = p.s.storeError(ctx, r)
		}
	}
	return err
}

// refusesInBatch reports whether a delete in a batch is refused that names an
// older version. A service that does not know batches, or not this in them,
// refuses the whole request or deletes the object.
func (p *prober) refusesInBatch(ctx context.Context, old *string) (bool, error) {
	var out *s3.DeleteObjectsOutput
	r, err := p.s.attempt(ctx, func(ctx context.Context) (err error) {
		out, err = p.s.deleteObjects(ctx, []types.ObjectIdentifier{{Key: p.name, ETag: old}})
		return err
	})
	switch {
	case err != nil:
		return false, err
	case r.unknownThere(), r.status >= 400 && r.status < 500 && !r.throttled():
		return false, nil
	case r.err != nil:
		return false, p.s.storeError(ctx, r)
	}
	for _, e := range out.Errors {
		if aws.ToString(e.Code) == "PreconditionFailed" {
			return true, nil
		}
	}
	return false, nil
}

// remove cleans up, also when the caller has left. What it leaves is small and
// hidden.
func (p *prober) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.s.cfg.Timeout)
	defer cancel()
	if err := p.delete(ctx, nil); err != nil {
		p.s.log.Debug("could not remove the object of a probe", "name", *p.name, "err", err)
	}
}

const (
	// probeEvery is how often a bucket is probed: a service may be upgraded, or
	// replaced behind its address.
	probeEvery = time.Hour

	// probeAgain is the longest pause after a probe that failed. Mutable keys
	// wait for the first that does not. It is as long as the breaker stays
	// open, so that half of them at most are refused by ourselves.
	probeAgain = breakerOpenFor
)

// Run probes the bucket, until that succeeds and then every hour, removes the
// uploads that a crash left behind, and finds out whether a service that failed is
// back, until ctx ends. It returns nil.
func (s *S3) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { s.watchBreaker(ctx) })
	pause := time.Second
	if _, known := s.Capabilities(); known {
		s.sweep(ctx)
		pause = probeEvery
	}
	for {
		if !sleep(ctx, pause) {
			return nil
		}
		before, known := s.Capabilities()
		caps, err := s.Probe(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.log.Warn("the S3 origin could not be checked", "err", err)
			pause = min(2*pause, probeAgain)
		default:
			if !caps.Strong() && (!known || caps != before) {
				s.log.Warn("the S3 origin is weak: it does not keep conditional writes apart", "found", caps)
			}
			s.sweep(ctx)
			pause = probeEvery
		}
	}
}

// watchBreaker asks a service for which the breaker is not closed whether it is
// back. A node that nobody asks for anything would else say for an hour that its
// origin is gone.
func (s *S3) watchBreaker(ctx context.Context) {
	p := &prober{s: s, name: aws.String(s.cfg.Prefix + internalPrefix + rand.Text())}
	for sleep(ctx, breakerOpenFor) {
		if s.pace.breaker.State() == pace.Closed {
			continue
		}
		if err := p.knock(ctx); err != nil {
			s.log.DebugContext(ctx, "the S3 origin is not back", "err", err)
		}
	}
}

// sleep waits and reports whether the context is still good.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
