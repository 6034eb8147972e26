package objecttest

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/micelio/micelio/object"
)

// Under returns the part of store whose keys begin with prefix, which ends in a
// slash, as a Store of its own: it is empty while nothing in store begins so.
// The suite can then run on one Store that is slow to start, each claim under
// another prefix. Keys have less room by the length of prefix; the claims know.
// What a Store does with names at its root is not tested that way.
func Under(store object.Store, prefix string) object.Store { return &under{store, prefix} }

type under struct {
	store  object.Store
	prefix string
}

// inner returns the key of store for key. A fault of key is found before the
// prefix can hide it.
func (u *under) inner(key object.Key) (object.Key, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return "", err
	}
	return object.ParseKey(u.prefix + string(key))
}

// outer is the way back.
func (u *under) outer(info object.Info) object.Info {
	info.Key = object.Key(strings.TrimPrefix(string(info.Key), u.prefix))
	return info
}

// failure is what err says about the keys of u.
func (u *under) failure(err error) error {
	if same := (*object.NotModifiedError)(nil); errors.As(err, &same) {
		return &object.NotModifiedError{Info: u.outer(same.Info)}
	}
	return err
}

func (u *under) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	key, err := u.inner(key)
	if err != nil {
		return nil, err
	}
	obj, err := u.store.Get(ctx, key, opt)
	if err != nil {
		return nil, u.failure(err)
	}
	obj.Info = u.outer(obj.Info)
	return obj, nil
}

func (u *under) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	key, err := u.inner(key)
	if err != nil {
		return object.Info{}, err
	}
	info, err := u.store.Head(ctx, key, opt)
	return u.outer(info), u.failure(err)
}

func (u *under) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	key, err := u.inner(key)
	if err != nil {
		return object.Info{}, err
	}
	info, err := u.store.Put(ctx, key, src, opt)
	return u.outer(info), err
}

func (u *under) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	key, err := u.inner(key)
	if err != nil {
		return err
	}
	return u.store.Delete(ctx, key, opt)
}

func (u *under) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	opt.Prefix = u.prefix + opt.Prefix
	if opt.After != "" {
		opt.After = u.prefix + opt.After
	}
	return func(yield func(object.Entry, error) bool) {
		for e, err := range u.store.List(ctx, opt) {
			if e.CommonPrefix != "" {
				e.CommonPrefix = strings.TrimPrefix(e.CommonPrefix, u.prefix)
			} else {
				e.Info = u.outer(e.Info)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
