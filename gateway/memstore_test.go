package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// A memStore is a Store in memory, the simplest that is correct.
type memStore struct {
	calls atomic.Int64

	mu      sync.Mutex
	objects map[object.Key]memObject
}

type memObject struct {
	info object.Info
	body []byte
}

func newMemStore() *memStore { return &memStore{objects: map[object.Key]memObject{}} }

func TestTheMemoryStoreIsAStore(t *testing.T) {
	objecttest.Test(t, func(*testing.T) object.Store { return newMemStore() })
}

// find begins a read or delete: it returns nil for the info of a missing object.
func (m *memStore) find(ctx context.Context, key object.Key) (*object.Info, []byte, error) {
	m.calls.Add(1)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.objects[key]; ok {
		return &o.info, o.body, nil
	}
	return nil, nil, nil
}

func (m *memStore) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	info, _, err := m.find(ctx, key)
	switch {
	case err != nil:
		return object.Info{}, err
	case info == nil:
		return object.Info{}, object.ErrNotFound
	}
	return *info, object.CheckRead(*info, opt.IfMatch, opt.IfNoneMatch)
}

func (m *memStore) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	info, body, err := m.find(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case info == nil:
		return nil, object.ErrNotFound
	}
	if err := object.CheckRead(*info, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return nil, err
	}
	offset, length, err := opt.Range.Resolve(info.Size)
	if err != nil {
		return nil, err
	}
	return &object.Object{Info: *info, Offset: offset, Length: length,
		Body: io.NopCloser(bytes.NewReader(body[offset : offset+length]))}, nil
}

func (m *memStore) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if _, _, err := m.find(ctx, key); err != nil {
		return object.Info{}, err
	}
	r, err := object.OpenExact(src)
	if err != nil {
		return object.Info{}, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		return object.Info{}, err
	}
	sum, sha := md5.Sum(body), object.Digest(sha256.Sum256(body))
	if (opt.MD5 != nil && !bytes.Equal(opt.MD5, sum[:])) || (!opt.SHA256.IsZero() && opt.SHA256 != sha) {
		return object.Info{}, object.ErrDigest
	}
	info := object.Info{
		Key: key, Size: int64(len(body)), ETag: object.ETag(hex.EncodeToString(sum[:])), SHA256: sha,
		Modified: time.Now(), Attrs: opt.Attrs, Tier: object.TierRAM, Age: 90 * time.Second,
	}
	return info, m.store(info, body, opt)
}

func (m *memStore) store(info object.Info, body []byte, opt object.PutOptions) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var current *object.Info
	if o, ok := m.objects[info.Key]; ok {
		current = &o.info
	}
	if err := object.CheckWrite(current, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return err
	}
	m.objects[info.Key] = memObject{info, body}
	return nil
}

func (m *memStore) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if _, _, err := m.find(ctx, key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.objects[key]; ok || opt.IfMatch.IsSet() {
		current := &o.info
		if !ok {
			current = nil
		}
		if err := object.CheckWrite(current, opt.IfMatch, object.Match{}); err != nil {
			return err
		}
	}
	delete(m.objects, key)
	return nil
}

func (m *memStore) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	m.calls.Add(1)
	entries := m.entries(opt)
	return func(yield func(object.Entry, error) bool) {
		for i, e := range entries {
			if err := ctx.Err(); err != nil {
				yield(object.Entry{}, err)
				return
			}
			if (opt.Limit > 0 && i == opt.Limit) || !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memStore) entries(opt object.ListOptions) []object.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var entries []object.Entry
	folded := map[string]bool{}
	for key, o := range m.objects {
		rest, ok := strings.CutPrefix(string(key), opt.Prefix)
		if !ok {
			continue
		}
		e := object.Entry{Info: o.info}
		if head, _, found := strings.Cut(rest, opt.Delimiter); opt.Delimiter != "" && found {
			e = object.Entry{CommonPrefix: opt.Prefix + head + opt.Delimiter}
			// A prefix is listed for the keys below it that are behind After.
			if string(key) <= opt.After || e.CommonPrefix == opt.After || folded[e.CommonPrefix] {
				continue
			}
			folded[e.CommonPrefix] = true
		} else if e.Name() <= opt.After {
			continue
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b object.Entry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries
}

// A brokenList fails after the first entry.
type brokenList struct{ *memStore }

func (b brokenList) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		for e := range b.memStore.List(ctx, opt) {
			if yield(e, nil) {
				yield(object.Entry{}, object.ErrUnavailable)
			}
			return
		}
	}
}
