package peer

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

// A memory is a Store in a map, for the handler to serve.
type memory struct {
	mu      sync.Mutex
	writes  int
	objects map[object.Key]stored
}

type stored struct {
	object.Info
	bytes []byte
}

func newMemory() *memory { return &memory{objects: map[object.Key]stored{}} }

func (m *memory) lookup(ctx context.Context, key object.Key, ifMatch, ifNoneMatch object.Match) (stored, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return stored{}, err
	}
	if err := ctx.Err(); err != nil {
		return stored{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.objects[key]
	if !ok {
		return stored{}, object.ErrNotFound
	}
	return s, object.CheckRead(s.Info, ifMatch, ifNoneMatch)
}

func (m *memory) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	s, err := m.lookup(ctx, key, opt.IfMatch, opt.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	offset, length, err := opt.Range.Resolve(s.Size)
	if err != nil {
		return nil, err
	}
	part := s.bytes[offset : offset+length]
	return &object.Object{Info: s.Info, Offset: offset, Length: length, Body: io.NopCloser(bytes.NewReader(part))}, nil
}

func (m *memory) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	s, err := m.lookup(ctx, key, opt.IfMatch, opt.IfNoneMatch)
	return s.Info, err
}

// check tests the conditions of a write; the caller holds the lock.
func (m *memory) check(key object.Key, ifMatch, ifNoneMatch object.Match) error {
	var current *object.Info
	if s, ok := m.objects[key]; ok {
		current = &s.Info
	}
	return object.CheckWrite(current, ifMatch, ifNoneMatch)
}

func (m *memory) checkBefore(ctx context.Context, key object.Key, ifMatch, ifNoneMatch object.Match) error {
	if _, err := object.ParseKey(string(key)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.check(key, ifMatch, ifNoneMatch)
}

func (m *memory) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if err := m.checkBefore(ctx, key, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return object.Info{}, err
	}
	r, err := object.OpenExact(src)
	if err != nil {
		return object.Info{}, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return object.Info{}, fmt.Errorf("reading the source: %w", err)
	}
	sum, sha := md5.Sum(b), object.Digest(sha256.Sum256(b))
	if (opt.MD5 != nil && !bytes.Equal(opt.MD5, sum[:])) || (!opt.SHA256.IsZero() && opt.SHA256 != sha) {
		return object.Info{}, object.ErrDigest
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(key, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return object.Info{}, err
	}
	m.writes++
	info := object.Info{
		Key: key, Size: int64(len(b)), ETag: object.ETag(hex.EncodeToString(sum[:])), Version: opt.Version,
		SHA256: sha, Modified: time.Now(), Attrs: opt.Attrs, Tier: object.TierRAM, Age: 3*time.Second + 7,
	}
	if info.Version == "" {
		info.Version = "v" + strconv.Itoa(m.writes)
	}
	m.objects[key] = stored{info, b}
	return info, nil
}

func (m *memory) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if err := m.checkBefore(ctx, key, object.Match{}, object.Match{}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(key, opt.IfMatch, object.Match{}); err != nil {
		return err
	}
	delete(m.objects, key)
	return nil
}

func (m *memory) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		m.mu.Lock()
		all := maps.Clone(m.objects)
		m.mu.Unlock()
		last, n := "", 0
		for _, key := range slices.Sorted(maps.Keys(all)) {
			e := object.Entry{Info: all[key].Info}
			rest, ok := strings.CutPrefix(string(key), opt.Prefix)
			if !ok || string(key) <= opt.After {
				continue
			}
			if before, _, found := strings.Cut(rest, opt.Delimiter); opt.Delimiter != "" && found {
				e = object.Entry{CommonPrefix: opt.Prefix + before + opt.Delimiter}
				if e.CommonPrefix == opt.After {
					continue
				}
			}
			if e.Name() == last {
				continue
			}
			last = e.Name()
			if n++; !yield(e, ctx.Err()) || n == opt.Limit {
				return
			}
		}
	}
}
