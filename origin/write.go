package origin

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/micelio/micelio/object"
)

// Put implements object.Store. The body is received without any lock; the lock
// of the key is held while the conditions are tested and the object is
// published, for one or two syncs. What a writer believes to be current
// (PutOptions.Base) is of no use here: the lock makes every write atomic.
func (l *Local) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	info, err := l.put(ctx, key, src, opt)
	return info, wrap("put", key, err)
}

func (l *Local) put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return object.Info{}, err
	}
	if err := checkAttrs(key, opt); err != nil {
		return object.Info{}, err
	}
	arrived := arrive()
	// Not to receive a body that is not wanted. It is tested again under the lock.
	if err := l.checkWrite(ctx, key, opt.IfMatch, opt.IfNoneMatch, false); err != nil {
		return object.Info{}, err
	}
	u, err := l.receive(ctx, key, src, opt)
	if err != nil {
		return object.Info{}, err
	}
	defer u.discard()
	unlock, err := l.lock(ctx, key)
	if err != nil {
		return object.Info{}, err
	}
	defer unlock()
	if err := l.checkWrite(ctx, key, opt.IfMatch, opt.IfNoneMatch, true); err != nil {
		return object.Info{}, err
	}
	if err := arrived.wanted(ctx, l, key); err != nil {
		return object.Info{}, err
	}
	if err := u.publish(opt.IfNoneMatch.IsAny()); err != nil {
		return object.Info{}, err
	}
	return u.record.info(key), nil
}

// checkWrite tests the conditions of a write against the object as it is.
func (l *Local) checkWrite(ctx context.Context, key object.Key, ifMatch, ifNoneMatch object.Match, locked bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !ifMatch.IsSet() && !ifNoneMatch.IsSet() {
		return nil
	}
	var err error
	current := &object.Info{}
	if (!ifMatch.IsSet() || ifMatch.IsAny()) && (!ifNoneMatch.IsSet() || ifNoneMatch.IsAny()) {
		_, _, err = find(l, key, l.stat) // whether it exists is all that matters
	} else {
		var f *os.File
		var r *record
		if f, r, err = l.open(ctx, key, locked); err == nil {
			f.Close()
			*current = r.info(key)
		}
	}
	if errors.Is(err, object.ErrNotFound) {
		current, err = nil, nil
	}
	if err != nil {
		return err
	}
	return object.CheckWrite(current, ifMatch, ifNoneMatch)
}

// An upload is an object that was received and is not published yet.
type upload struct {
	local  *Local
	key    object.Key
	record *record

	// file and meta are the paths in tmp of the bytes and of the record, "" once
	// they are elsewhere.
	file, meta string

	// precious says that the record carries what the bytes cannot tell and
	// readers need, so that it must survive whatever they survive. The version
	// is not of that kind, see object.PutOptions: syncing it would cost each
	// write two syncs more.
	precious bool

	// made are the directories that did not exist before.
	made []string
}

// discard removes what is left in tmp, which is nothing after a success.
func (u *upload) discard() {
	for _, name := range []string{u.file, u.meta} {
		if name != "" {
			u.local.root.Remove(name)
		}
	}
}

// receive stores the bytes of src in tmp, durable but without a name, together
// with their record.
func (l *Local) receive(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (*upload, error) {
	r, err := object.OpenExact(src)
	if err != nil {
		return nil, fmt.Errorf("open the source: %w", err)
	}
	defer r.Close()
	u := &upload{local: l, key: key, file: tmpDir + "/" + randomName(), record: &record{version: opt.Version, attrs: opt.Attrs}}
	u.record.attrs.User = maps.Clone(opt.Attrs.User)
	u.precious = len(opt.Attrs.User) > 0 ||
		slices.ContainsFunc(attrFields(&opt.Attrs), func(s *string) bool { return *s != "" })
	if opt.Version == "" {
		u.record.version = randomName()
	}
	f, err := l.root.OpenFile(u.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return nil, ioError(err)
	}
	err = u.fill(ctx, f, r)
	if err == nil {
		err = u.checkDigests(opt)
	}
	if err == nil {
		err = u.settle(f)
	}
	if e := f.Close(); err == nil && e != nil {
		err = ioError(e)
	}
	if err == nil {
		u.meta, err = l.stageRecord(key, u.record, u.precious)
	}
	if err != nil {
		u.discard()
		return nil, err
	}
	return u, nil
}

// fill copies the source into f and digests it on the way.
func (u *upload) fill(ctx context.Context, f *os.File, r io.Reader) error {
	buf := u.local.buffers.Get().(*[copySize]byte)
	defer u.local.buffers.Put(buf)
	md, sha := md5.New(), sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf[:])
		if n > 0 {
			md.Write(buf[:n])
			sha.Write(buf[:n])
			if _, err := f.Write(buf[:n]); err != nil {
				return ioError(err)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read the source: %w", err)
		}
	}
	md.Sum(u.record.md5[:0])
	sha.Sum(u.record.sha256[:0])
	return nil
}

// checkDigests holds what was received to what the writer announced.
func (u *upload) checkDigests(opt object.PutOptions) error {
	if !opt.SHA256.IsZero() && u.record.sha256 != opt.SHA256 {
		return fmt.Errorf("%w: the bytes hash to %s, not to %s", object.ErrDigest, u.record.sha256, opt.SHA256)
	}
	if opt.MD5 != nil && !bytes.Equal(u.record.md5[:], opt.MD5) {
		return fmt.Errorf("%w: the MD5 is %x, not %x", object.ErrDigest, u.record.md5, opt.MD5)
	}
	return nil
}

// settle fixes the identity of the file and makes it durable. The time is set
// before the sync, because a record is worthless when the power takes it back.
func (u *upload) settle(f *os.File) error {
	now := time.Now()
	err := u.local.root.Chtimes(u.file, now, now)
	if err != nil {
		return ioError(err)
	}
	fi, err := f.Stat()
	if err != nil {
		return ioError(err)
	}
	u.record.id = identify(fi)
	// After a failed sync the kernel may have dropped the dirty pages, so there
	// is no second try: the upload failed.
	if err := f.Sync(); err != nil {
		return ioError(err)
	}
	return nil
}

// publish makes the upload the object: first its record, beside the one of the
// current file, then the file itself. The caller holds the key's lock. On any
// error but object.ErrUnknownOutcome nothing has changed.
func (u *upload) publish(exclusive bool) error {
	l := u.local
	slot, err := l.freeSlot(u.key)
	if err != nil {
		return err
	}
	if err := l.placeRecord(u.meta, u.key, slot, u.precious); err != nil {
		return err
	}
	u.meta = ""
	at, err := u.name(exclusive)
	if err != nil {
		l.dropRecord(u.key, slot)
		for _, dir := range slices.Backward(u.made) {
			l.prune(dir, parentDir(dir))
		}
		return err
	}
	if err := u.sync(at); err != nil {
		return notDurable(err)
	}
	l.dropRecord(u.key, 1-slot)
	if at.base == "" {
		// An odd file is covered now, and a Delete takes it first, so failing is
		// no matter.
		_ = l.removeFile(oddPlace(u.key))
	}
	return nil
}

// name gives the upload its name. Directories come and go while other objects
// are written and deleted, and a name can turn from one into the other kind, so
// what the file system answers counts, not what was seen before.
func (u *upload) name(exclusive bool) (place, error) {
	for range raceAttempts {
		at, err := u.choosePlace()
		if err == nil && exclusive {
			// Only link fails if somebody outside created the name meanwhile.
			if err = u.local.root.Link(u.file, at.path); errors.Is(err, fs.ErrExist) {
				if _, err := u.local.stat(at); err == nil {
					return place{}, object.ErrPrecondition
				}
			}
		} else if err == nil {
			if err = u.local.root.Rename(u.file, at.path); err == nil {
				u.file = ""
			}
		}
		switch {
		case err == nil:
			return at, nil
		case !isAbsent(err) && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EISDIR):
			return place{}, ioError(err)
		}
	}
	return place{}, ioError(errContended)
}

// choosePlace returns where the object can be now and makes the directories for
// it.
func (u *upload) choosePlace() (place, error) {
	if plain, ok := plainPlace(u.key); ok {
		err := u.local.prepare(plain, &u.made)
		if !errors.Is(err, errNoObject) && !errors.Is(err, syscall.ENAMETOOLONG) {
			return plain, err
		}
	}
	odd := oddPlace(u.key)
	return odd, u.local.prepare(odd, &u.made)
}

// sync makes the name durable, and the names of the directories made for it. A
// directory that another writer has only just made is durable with ours on every
// file system that keeps its journal in order.
func (u *upload) sync(at place) error {
	dirs := []string{at.dir()}
	for _, dir := range u.made {
		dirs = append(dirs, parentDir(dir))
	}
	slices.SortFunc(dirs, func(a, b string) int { return strings.Compare(b, a) }) // deepest first
	for _, dir := range slices.Compact(dirs) {
		if err := u.local.syncDir(dir); err != nil && !(dir != at.dir() && isAbsent(err)) {
			return err
		}
	}
	return nil
}
