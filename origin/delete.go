package origin

import (
	"context"
	"errors"

	"github.com/micelio/micelio/object"
)

// Delete implements object.Store. Directories that it leaves empty are removed,
// so that their names can be objects again.
func (l *Local) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	return wrap("delete", key, l.delete(ctx, key, opt))
}

func (l *Local) delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if _, err := object.ParseKey(string(key)); err != nil {
		return err
	}
	arrived := arrive()
	unlock, err := l.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.checkWrite(ctx, key, opt.IfMatch, object.Match{}, true); err != nil {
		return err
	}
	if err := arrived.wanted(ctx, l, key); err != nil {
		return err
	}
	// The odd file first: if both exist it is the older one, and must not be
	// uncovered.
	if err := l.removeFile(oddPlace(key)); err != nil {
		return err
	}
	if plain, ok := plainPlace(key); ok {
		if err := l.removeFile(plain); err != nil {
			return err
		}
	}
	for slot := range slots {
		l.dropRecord(key, slot)
	}
	return nil
}

// removeFile removes the object's file at p, if there is one, durably, and the
// directories that this leaves empty. The caller holds the key's lock.
func (l *Local) removeFile(p place) error {
	_, err := l.stat(p)
	if err == nil {
		err = l.unlink(p.path, 0, true)
	}
	switch {
	case err == nil:
		l.prune(p.dir(), p.base)
		return nil
	case errors.Is(err, object.ErrUnknownOutcome):
		return err
	case isAbsent(err):
		return nil
	}
	return ioError(err)
}
