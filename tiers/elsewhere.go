package tiers

import (
	"context"
	"fmt"

	"github.com/micelio/micelio/object"
)

// directly reads a part of one version from the upstream, past all tiers.
func (c *Cache) directly(ctx context.Context, info object.Info, from, to int64) (source, error) {
	obj, err := c.upstream.Get(ctx, info.Key, object.GetOptions{
		Range: object.Bytes(from, to-from), IfMatch: object.MatchETag(info.ETag),
	})
	if err != nil {
		return nil, fmt.Errorf("tiers: rest of %q from byte %d: %w", info.Key, from, err)
	}
	if obj.Offset != from || obj.Length != to-from || obj.Size != info.Size || obj.ETag != info.ETag {
		obj.Body.Close()
		return nil, fmt.Errorf("tiers: upstream answered another part of %q: %w", info.Key, object.ErrUnavailable)
	}
	return &streamSource{obj.Body}, nil
}

// privateFlight fetches a verified object again, for one reader who has the
// bytes before pos.
func (c *Cache) privateFlight(ctx context.Context, info object.Info, pos int64) (source, error) {
	f := c.newFlight(ctx, info.Key, object.GetOptions{IfMatch: object.MatchETag(info.ETag)})
	f.alone, f.forgotten, f.expect = true, true, info.SHA256
	f.enter()
	c.start(f)
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		return nil, ctx.Err()
	}
	if !f.begun {
		defer f.leave()
		return nil, fmt.Errorf("tiers: rest of %q from byte %d: %w", info.Key, pos, f.failure())
	}
	if f.info.Size != info.Size || f.info.ETag != info.ETag {
		f.leave()
		return nil, fmt.Errorf("tiers: upstream answered another version of %q: %w", info.Key, object.ErrUnavailable)
	}
	return f.follow(pos), nil
}
