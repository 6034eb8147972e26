package objecttest

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
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

// Memory is a Store of objects in memory: the shortest correct one, for tests
// that need an authority to put something in front of. The zero Memory is
// empty and ready.
type Memory struct {
	mu      sync.Mutex // guards the following
	objects map[object.Key]memoryObject
	writes  int
}

type memoryObject struct {
	info  object.Info
	bytes []byte
}

var _ object.Store = (*Memory)(nil)

// Get returns an object or a part of it.
func (m *Memory) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	o, err := m.read(ctx, key, opt.IfMatch, opt.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	offset, length, err := opt.Range.Resolve(o.info.Size)
	if err != nil {
		return nil, err
	}
	body := io.NopCloser(bytes.NewReader(o.bytes[offset : offset+length]))
	return &object.Object{Info: o.info, Offset: offset, Length: length, Body: body}, nil
}

// Head describes an object.
func (m *Memory) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	o, err := m.read(ctx, key, opt.IfMatch, opt.IfNoneMatch)
	return o.info, err
}

func (m *Memory) read(ctx context.Context, key object.Key, ifMatch, ifNoneMatch object.Match) (memoryObject, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return memoryObject{}, err
	}
	if err := ctx.Err(); err != nil {
		return memoryObject{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return memoryObject{}, object.ErrNotFound
	}
	return o, object.CheckRead(o.info, ifMatch, ifNoneMatch)
}

// Put stores an object.
func (m *Memory) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return object.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return object.Info{}, err
	}
	if err := m.check(key, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return object.Info{}, err
	}
	r, err := object.OpenExact(src)
	if err != nil {
		return object.Info{}, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return object.Info{}, fmt.Errorf("memory: %w", err)
	}
	sum, digest := md5.Sum(b), object.Digest(sha256.Sum256(b))
	if (opt.MD5 != nil && !bytes.Equal(opt.MD5, sum[:])) || (!opt.SHA256.IsZero() && opt.SHA256 != digest) {
		return object.Info{}, object.ErrDigest
	}
	attrs := opt.Attrs
	attrs.User = maps.Clone(attrs.User)
	info := object.Info{
		Key: key, Size: int64(len(b)), ETag: object.ETag(hex.EncodeToString(sum[:])), Version: opt.Version,
		SHA256: digest, Modified: time.Now(), Attrs: attrs, Tier: object.TierOrigin,
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLocked(key, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return object.Info{}, err
	}
	if m.writes++; info.Version == "" {
		info.Version = fmt.Sprintf("write-%d", m.writes)
	}
	if m.objects == nil {
		m.objects = make(map[object.Key]memoryObject)
	}
	m.objects[key] = memoryObject{info, b}
	return info, nil
}

func (m *Memory) check(key object.Key, ifMatch, ifNoneMatch object.Match) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.checkLocked(key, ifMatch, ifNoneMatch)
}

func (m *Memory) checkLocked(key object.Key, ifMatch, ifNoneMatch object.Match) error {
	var current *object.Info
	if o, ok := m.objects[key]; ok {
		current = &o.info
	}
	return object.CheckWrite(current, ifMatch, ifNoneMatch)
}

// Delete removes an object.
func (m *Memory) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if _, err := object.ParseKey(string(key)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLocked(key, opt.IfMatch, object.Match{}); err != nil {
		return err
	}
	delete(m.objects, key)
	return nil
}

// List yields the objects that opt selects.
func (m *Memory) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	m.mu.Lock()
	all := maps.Clone(m.objects)
	m.mu.Unlock()
	return func(yield func(object.Entry, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(object.Entry{}, err)
			return
		}
		last, n := "", 0
		for _, key := range slices.Sorted(maps.Keys(all)) {
			e := object.Entry{Info: all[key].info}
			tail, ok := strings.CutPrefix(string(key), opt.Prefix)
			if !ok || string(key) <= opt.After {
				continue
			}
			if i := strings.Index(tail, opt.Delimiter); opt.Delimiter != "" && i >= 0 {
				e = object.Entry{CommonPrefix: opt.Prefix + tail[:i+len(opt.Delimiter)]}
				if e.CommonPrefix == last || e.CommonPrefix == opt.After {
					continue
				}
				last = e.CommonPrefix
			}
			if n++; !yield(e, nil) || n == opt.Limit {
				return
			}
		}
	}
}
