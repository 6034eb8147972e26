package gateway

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// A memStore is a Store in memory that counts its calls and says of its
// objects what a test wants it to.
type memStore struct {
	objecttest.Memory
	calls    atomic.Int64
	describe func(*object.Info) // set before the first call
}

// newMemStore returns a Store whose objects come from RAM, 90 seconds old.
func newMemStore() *memStore {
	return &memStore{describe: func(info *object.Info) { info.Tier, info.Age = object.TierRAM, 90*time.Second }}
}

// modified makes every object one that was modified at that time.
func (m *memStore) modified(at time.Time) {
	describe := m.describe
	m.describe = func(info *object.Info) {
		describe(info)
		info.Modified = at
	}
}

// described makes an answer of the memory one of the test's.
func (m *memStore) described(info *object.Info, err error) error {
	m.describe(info)
	if unmodified, ok := errors.AsType[*object.NotModifiedError](err); ok {
		m.describe(&unmodified.Info)
	}
	return err
}

func (m *memStore) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	m.calls.Add(1)
	info, err := m.Memory.Head(ctx, key, opt)
	return info, m.described(&info, err)
}

func (m *memStore) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	m.calls.Add(1)
	obj, err := m.Memory.Get(ctx, key, opt)
	if err != nil {
		return nil, m.described(&object.Info{}, err)
	}
	m.describe(&obj.Info)
	return obj, nil
}

func (m *memStore) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	m.calls.Add(1)
	return m.Memory.Put(ctx, key, src, opt)
}

func (m *memStore) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	m.calls.Add(1)
	return m.Memory.Delete(ctx, key, opt)
}

func (m *memStore) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	m.calls.Add(1)
	return func(yield func(object.Entry, error) bool) {
		for e, err := range m.Memory.List(ctx, opt) {
			if e.CommonPrefix == "" {
				m.describe(&e.Info)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// keys returns the keys of all objects.
func (m *memStore) keys(t *testing.T) []object.Key {
	t.Helper()
	var keys []object.Key
	for e, err := range m.Memory.List(t.Context(), object.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
	}
	return keys
}

// stored returns what is stored under a key, nothing if there is no object.
func (m *memStore) stored(t *testing.T, key object.Key) (object.Info, string) {
	t.Helper()
	obj, err := m.Memory.Get(t.Context(), key, object.GetOptions{})
	if errors.Is(err, object.ErrNotFound) {
		return object.Info{}, ""
	}
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(obj.Body)
	if err != nil {
		t.Fatal(err)
	}
	return obj.Info, string(body)
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
