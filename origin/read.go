package origin

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/micelio/micelio/object"
)

// racyWindow is how old the modification time of a file from outside must be
// before its digests are kept. A file that is written again within one tick of
// its file system's clock keeps its time, and then a record of the first state
// would fit the second. The coarsest clock in use is FAT's with 2 s. (git has
// the same rule for its index.) Our own files need no window: they get their
// time set in nanoseconds, which no later tick of the kernel's clock equals.
const racyWindow = 2 * time.Second

// changeAttempts bounds how often a file is read again because it was written to
// while it was being digested. A file that keeps changing has no content that
// could be answered, and each turn reads all of it.
const changeAttempts = 3

var (
	// errChanging says that a file was written to while it was being read.
	errChanging = errors.New("the file is being changed")

	// errReplaced says that a file is no longer the object.
	errReplaced = errors.New("the file was replaced")
)

// Get implements object.Store.
func (l *Local) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	f, r, err := l.open(ctx, key, false)
	if err != nil {
		return nil, wrap("get", key, err)
	}
	info := r.info(key)
	err = object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch)
	var offset, length int64
	if err == nil {
		offset, length, err = opt.Range.Resolve(info.Size)
	}
	if err != nil {
		f.Close()
		return nil, wrap("get", key, err)
	}
	return &object.Object{
		Info: info, Offset: offset, Length: length,
		Body: &body{ctx: ctx, file: f, id: r.id, offset: offset, left: length},
	}, nil
}

// Head implements object.Store.
func (l *Local) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	f, r, err := l.open(ctx, key, false)
	if err != nil {
		return object.Info{}, wrap("head", key, err)
	}
	f.Close()
	info := r.info(key)
	if err := object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return object.Info{}, wrap("head", key, err)
	}
	return info, nil
}

// open opens the object and returns what is known about exactly this file;
// locked says that the caller holds the key's lock.
func (l *Local) open(ctx context.Context, key object.Key, locked bool) (*os.File, *record, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, nil, err
	}
	changes := 0
	for range raceAttempts {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		f, _, err := find(l, key, l.openFile)
		if err != nil {
			return nil, nil, err
		}
		r, err := l.describe(ctx, key, f, locked)
		if err == nil {
			return f, r, nil
		}
		f.Close()
		if errors.Is(err, errChanging) {
			if changes++; changes == changeAttempts {
				return nil, nil, ioError(err)
			}
		} else if !errors.Is(err, errReplaced) {
			return nil, nil, err
		}
	}
	return nil, nil, ioError(errContended)
}

// describe returns the record of an open file, or errReplaced or errChanging if
// the caller should open it again.
func (l *Local) describe(ctx context.Context, key object.Key, f *os.File, locked bool) (*record, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, ioError(err)
	}
	id := identify(fi)
	r, _, err := l.load(key, id)
	if r != nil || err != nil {
		return r, err
	}
	// A writer may have published another file since this one was opened, and
	// reused the slot. Digesting the old file would answer right, but without
	// its attributes.
	current, _, err := find(l, key, l.stat)
	if err != nil {
		return nil, err
	}
	if identify(current) != id {
		return nil, errReplaced
	}
	return l.examine(ctx, key, f, id, locked)
}

// examine reads a file that has no record, and keeps what it learns if the
// state of the file can be trusted to be seen changing.
func (l *Local) examine(ctx context.Context, key object.Key, f *os.File, id identity, locked bool) (*record, error) {
	stripe := stripeOf(key)
	if err := l.hashing.lock(ctx, stripe); err != nil {
		return nil, err
	}
	defer l.hashing.unlock(stripe)
	if r, _, err := l.load(key, id); r != nil || err != nil {
		return r, err // somebody else did it while this one waited
	}
	r, err := l.digest(ctx, f, id)
	if err != nil {
		return nil, err
	}
	if time.Since(time.Unix(0, id.mtime)) < racyWindow {
		return r, nil
	}
	if !locked {
		unlock, ok := l.tryLock(key)
		if !ok {
			return r, nil // waiting could deadlock; the next reader keeps it
		}
		defer unlock()
	}
	l.remember(key, r)
	return r, nil
}

// remember stores a recomputed record if its file is still the object. The
// caller holds the key's lock. The record is a shortcut, so failing is no
// matter.
func (l *Local) remember(key object.Key, r *record) {
	current, _, err := find(l, key, l.stat)
	if err != nil || identify(current) != r.id {
		return
	}
	staged, err := l.stageRecord(key, r, false)
	if err != nil {
		return
	}
	// No slot fits the current file, so both are free.
	if l.placeRecord(staged, key, 0, false) != nil {
		l.root.Remove(staged)
		return
	}
	l.dropRecord(key, 1)
}

// digest hashes the whole file.
func (l *Local) digest(ctx context.Context, f *os.File, id identity) (*record, error) {
	buf := l.buffers.Get().(*[copySize]byte)
	defer l.buffers.Put(buf)
	md, sha := md5.New(), sha256.New()
	for offset := int64(0); offset < id.size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := f.ReadAt(buf[:min(copySize, id.size-offset)], offset)
		md.Write(buf[:n])
		sha.Write(buf[:n])
		offset += int64(n)
		switch {
		case err == io.EOF && offset < id.size:
			return nil, errChanging
		case err != nil && err != io.EOF:
			return nil, ioError(err)
		}
	}
	if err := unchanged(f, id); err != nil {
		return nil, err
	}
	r := &record{id: id, version: id.version()}
	md.Sum(r.md5[:0])
	sha.Sum(r.sha256[:0])
	return r, nil
}

// unchanged reports with errChanging that an open file is no longer in the state
// id.
func unchanged(f *os.File, id identity) error {
	fi, err := f.Stat()
	if err != nil {
		return ioError(err)
	}
	if identify(fi) != id {
		return errChanging
	}
	return nil
}

// A body reads a part of one file. A file that changes under it, which only
// programs outside can do, ends it with io.ErrUnexpectedEOF: before the last
// bytes are handed out the file is looked at once more.
type body struct {
	ctx          context.Context
	file         *os.File
	id           identity
	offset, left int64
	checked      bool
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left == 0 {
		if !b.checked { // reached first only by an empty object
			return 0, b.check()
		}
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.left)]
	n, err := b.file.ReadAt(p, b.offset)
	if err != nil && err != io.EOF {
		return 0, fmt.Errorf("origin: read: %w", ioError(err))
	}
	if n == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if int64(n) == b.left {
		if err := b.check(); err != io.EOF {
			return 0, err
		}
	}
	b.offset += int64(n)
	b.left -= int64(n)
	return n, nil
}

// check returns io.EOF if the bytes that were read are those of the version
// that was promised.
func (b *body) check() error {
	err := unchanged(b.file, b.id)
	switch {
	case errors.Is(err, errChanging):
		return io.ErrUnexpectedEOF
	case err != nil:
		return fmt.Errorf("origin: read: %w", err)
	}
	b.checked = true
	return io.EOF
}

func (b *body) Close() error { return b.file.Close() }
