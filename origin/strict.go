package origin

import (
	"context"
	"iter"

	"github.com/micelio/micelio/object"
)

// Strict returns store without its mutable keys while weak returns an error,
// which says why the store cannot keep what is promised of them. Keys of the
// other classes pass: their bytes never change. Listings do too.
func Strict(store object.Store, classes *object.Classes, weak func() error) object.Store {
	return &strict{store, classes, weak}
}

type strict struct {
	store   object.Store
	classes *object.Classes
	weak    func() error
}

func (s *strict) admit(op string, key object.Key) error {
	if class, _ := s.classes.Of(key); class != object.Mutable {
		return nil
	}
	return wrap(op, key, s.weak())
}

// Get implements object.Store.
func (s *strict) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if err := s.admit("get", key); err != nil {
		return nil, err
	}
	return s.store.Get(ctx, key, opt)
}

// Head implements object.Store.
func (s *strict) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	if err := s.admit("head", key); err != nil {
		return object.Info{}, err
	}
	return s.store.Head(ctx, key, opt)
}

// Put implements object.Store.
func (s *strict) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if err := s.admit("put", key); err != nil {
		return object.Info{}, err
	}
	return s.store.Put(ctx, key, src, opt)
}

// Delete implements object.Store.
func (s *strict) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if err := s.admit("delete", key); err != nil {
		return err
	}
	return s.store.Delete(ctx, key, opt)
}

// List implements object.Store.
func (s *strict) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return s.store.List(ctx, opt)
}
