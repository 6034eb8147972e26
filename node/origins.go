package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// An authority is an origin that is open.
type authority interface {
	object.Store
	Close() error
}

// openOrigin opens the authority that the configuration names.
func (n *Node) openOrigin() error {
	if n.cfg.Origin() == BackendS3 {
		s3, err := origin.OpenS3(context.Background(), n.cfg.S3Origin(n.log))
		if err != nil {
			return err
		}
		n.authority, n.s3 = s3, s3
		return nil
	}
	local, err := origin.OpenLocal(n.cfg.LocalPath)
	if err != nil {
		return err
	}
	n.authority = local
	return nil
}

// stackOrigin returns the authority as the tiers see it: with the promise of
// the key classes, and behind the CDN if there is one.
func (n *Node) stackOrigin() (object.Store, error) {
	var store object.Store = &counted{n.authority, n.meter.origin, n.meter.originIn}
	if n.s3 != nil {
		store = origin.Strict(store, n.classes, n.weakOrigin)
	}
	store = origin.Guard(store, n.classes, !n.cfg.Tiered())
	if !n.cfg.Tiered() || n.cfg.CDN.BaseURL == "" {
		return store, nil
	}
	cfg, err := n.cfg.CDNTier(n.log)
	if err == nil {
		n.cdn, err = origin.NewCDN(store, n.classes, cfg)
	}
	if err != nil {
		return nil, err
	}
	return n.cdn, nil
}

// weakOrigin returns why mutable keys cannot be kept at the S3 origin, nil if
// they can.
func (n *Node) weakOrigin() error {
	if n.cfg.AllowWeakOrigin {
		return nil
	}
	caps, known := n.s3.Capabilities()
	switch {
	case !known:
		return &object.RetryLaterError{After: time.Second, Err: errUnchecked}
	case !caps.Strong():
		return fmt.Errorf("%w: %w", object.ErrUnavailable, errWeak)
	}
	return nil
}

var (
	errUnchecked = errors.New("it is not known yet whether the S3 origin keeps conditional writes apart")
	errWeak      = errors.New("the S3 origin does not keep conditional writes apart, so writes of mutable keys could be lost: " +
		"use another service, or accept that with --allow-weak-origin")
)

// originCheckTimeout bounds the first look at an S3 origin. One that does not
// answer is no reason not to start: what the tiers hold can be served.
const originCheckTimeout = 10 * time.Second

// checkOrigin looks at an S3 origin before clients come. The error is an origin
// that answers and will not serve: somebody has to change the configuration.
func (n *Node) checkOrigin(ctx context.Context) error {
	if n.s3 == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, originCheckTimeout)
	defer cancel()
	caps, err := n.s3.Probe(ctx)
	switch {
	case errors.Is(err, origin.ErrRefused):
		return err
	case err != nil:
		return nil // Run of the origin tries again, and says what is wrong
	case !caps.Strong() && n.cfg.AllowWeakOrigin:
		n.log.Warn("the S3 origin does not keep conditional writes apart: writes of mutable keys can be lost, as --allow-weak-origin accepts", "found", caps)
	case !caps.Strong():
		n.log.Warn("mutable keys are refused", "err", errWeak, "found", caps)
	}
	return nil
}

// originCheck is the line of the S3 origin on /readyz?verbose. It makes no node
// unready: the origin is the same for all of them.
func (n *Node) originCheck() check {
	c := check{name: "origin", ok: true, says: true, say: "folder " + n.cfg.LocalPath}
	if n.s3 == nil {
		return c
	}
	caps, known := n.s3.Capabilities()
	c.ok = known && caps.Strong()
	found := "not checked yet, mutable keys wait for that"
	switch {
	case known && caps.Strong():
		found = "keeps conditional writes apart"
	case n.cfg.AllowWeakOrigin:
		found = "weak, and allowed to be: writes of mutable keys can be lost"
	case known:
		found = "weak: mutable keys are refused"
	}
	c.say = fmt.Sprintf("bucket %s, %s; breaker %s", n.cfg.S3.Bucket, found, n.s3.Stats().Breaker)
	return c
}

// originPlace says where the authority is, for the log.
func (n *Node) originPlace() string {
	if n.s3 == nil {
		return n.cfg.LocalPath
	}
	place := "s3://" + n.cfg.S3.Bucket + "/" + n.cfg.S3.Prefix
	if n.cfg.S3.Endpoint != "" {
		place += " at " + n.cfg.S3.Endpoint
	}
	return place
}
