package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/micelio/micelio/object"
)

// verify proves that the destination has what the source has, or reports what
// differs.
func (r *run) verify(ctx context.Context, p pair) {
	switch {
	case r.isTroubled(p.key):
		return
	case p.from == nil:
		r.differ(Extra, string(p.key), sizeOf(p.to))
		return
	case p.to == nil:
		r.differ(Missing, string(p.key), sizeOf(p.from))
		return
	}
	rec, found := r.journal.find(p.key)
	known := found && rec.From.isRead(p.from)
	if known && rec.Verified && rec.isOf(p) {
		r.verified.Add(1)
		r.verifiedBytes.Add(rec.Size)
		return
	}
	kind, differs := Different, ""
	err := r.persist(ctx, "verify "+string(p.key), func(int) (err error) {
		if known {
			differs, err = r.readBack(ctx, &rec)
			return err
		}
		kind = Changed
		rec, differs, err = r.compare(ctx, p.key)
		if err == nil && differs == "" {
			r.verifiedBytes.Add(rec.Size)
		}
		return err
	})
	switch {
	case errors.Is(err, errSourceGone):
		r.differ(Extra, string(p.key), "it was deleted at the source meanwhile")
	case err != nil:
		r.fail(ctx, p.key, err)
	case differs != "":
		r.differ(kind, string(p.key), differs)
		r.succeeded()
	default:
		r.verified.Add(1)
		r.succeeded()
		_ = r.note(rec) // it ends the Run if it fails
	}
}

// readBack reads what was copied from the destination and returns what differs
// from the record. Without a difference the record then says so.
func (r *run) readBack(ctx context.Context, rec *record) (differs string, err error) {
	to, sum, err := read(ctx, r.cfg.To, rec.Key, &r.verifiedBytes)
	if errors.Is(err, object.ErrNotFound) {
		return "it is gone from the destination", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the destination: %w", err)
	}
	if differs := rec.differs(to, sum); differs != "" {
		r.verifiedBytes.Add(-to.Size)
		return differs, nil
	}
	rec.To, rec.Verified = stateOf(&to), true
	return "", nil
}
