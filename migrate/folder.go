package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/micelio/micelio/object"
)

// ownDir is where a directory that was opened for writing has the metadata of
// its objects, and no object has its plain file.
const ownDir = ".micelio"

// A Folder is a Store of the plain files in a directory, the object "a/b" being
// the file a/b, which is only read: Put and Delete fail. It needs no right to
// write and leaves no trace. It knows no attributes, so it is for directories
// that other programs filled. Symbolic links, devices, sockets and pipes are no
// objects.
//
// ETag and Version name the state of a file: inode, size and modification time.
// A file that changes while it is read ends the body with
// io.ErrUnexpectedEOF.
type Folder struct {
	root *os.Root
}

var _ object.Store = (*Folder)(nil)

// OpenFolder opens the directory dir, which must exist. Nothing outside of it is
// read, whatever symbolic links are in there. The caller closes it.
func OpenFolder(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("migrate: open %s: %w", dir, err)
	}
	return &Folder{root}, nil
}

// Close releases the directory. Bodies stay readable.
func (f *Folder) Close() error { return f.root.Close() }

// Get implements object.Store.
func (f *Folder) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	file, info, err := f.open(ctx, key)
	if err != nil {
		return nil, err
	}
	err = object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch)
	var offset, length int64
	if err == nil {
		offset, length, err = opt.Range.Resolve(info.Size)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	body := &folderBody{ctx: ctx, file: file, etag: info.ETag, part: io.NewSectionReader(file, offset, length), left: length}
	return &object.Object{Info: info, Offset: offset, Length: length, Body: body}, nil
}

// Head implements object.Store.
func (f *Folder) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	file, info, err := f.open(ctx, key)
	if err != nil {
		return object.Info{}, err
	}
	defer file.Close()
	return info, object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch)
}

var errReadOnly = errors.New("the folder is only read")

// Put fails: a Folder is only read.
func (f *Folder) Put(context.Context, object.Key, object.Source, object.PutOptions) (object.Info, error) {
	return object.Info{}, errReadOnly
}

// Delete fails: a Folder is only read.
func (f *Folder) Delete(context.Context, object.Key, object.DeleteOptions) error { return errReadOnly }

// open opens the file of a key.
func (f *Folder) open(ctx context.Context, key object.Key) (*os.File, object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, object.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, object.Info{}, err
	}
	// The name may become a pipe between the two calls, hence O_NONBLOCK.
	before, err := f.root.Lstat(string(key))
	if err == nil && !before.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	var file *os.File
	if err == nil {
		file, err = f.root.OpenFile(string(key), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, object.Info{}, f.fault(err)
	}
	now, err := file.Stat()
	if err == nil && !os.SameFile(before, now) {
		err = errors.New("the file was replaced")
	}
	if err != nil {
		file.Close()
		return nil, object.Info{}, f.fault(err)
	}
	return file, describe(key, now), nil
}

// fault tells a missing file from one that cannot be read. A directory that is
// gone as a whole has no missing files.
func (f *Folder) fault(err error) error {
	if isAbsent(err) {
		if _, gone := f.root.Stat("."); gone == nil {
			return object.ErrNotFound
		}
	}
	return fmt.Errorf("%w: %w", object.ErrUnavailable, err)
}

func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

func describe(key object.Key, fi fs.FileInfo) object.Info {
	var inode uint64
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		inode = uint64(st.Ino)
	}
	name := fmt.Sprintf("%x-%x-%x", inode, fi.Size(), fi.ModTime().UnixNano())
	return object.Info{Key: key, Size: fi.Size(), ETag: object.ETag(name), Version: name, Modified: fi.ModTime(), Tier: object.TierOrigin}
}

// A folderBody reads a part of a file that must stay as it is.
type folderBody struct {
	ctx  context.Context
	file *os.File
	etag object.ETag
	part *io.SectionReader
	left int64
}

// Read looks at the file once more before it hands out the last bytes.
func (b *folderBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.part.Read(p)
	b.left -= int64(n)
	switch {
	case err == io.EOF && b.left > 0:
		return n, io.ErrUnexpectedEOF
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("%w: %w", object.ErrUnavailable, err)
	case b.left == 0:
		if now, e := b.file.Stat(); e != nil || describe("", now).ETag != b.etag {
			return 0, fmt.Errorf("%w: the file is being changed", io.ErrUnexpectedEOF)
		}
	}
	return n, err
}

func (b *folderBody) Close() error { return b.file.Close() }

// List implements object.Store. It holds the names of one directory at each
// level and keeps none open.
func (f *Folder) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		l := &folderListing{f: f, ctx: ctx, opt: opt, yield: yield}
		if err := l.walk(""); err != nil && !errors.Is(err, errListed) {
			yield(object.Entry{}, err)
		}
	}
}

// errListed ends a walk: the caller has what it wanted.
var errListed = errors.New("listed")

type folderListing struct {
	f       *Folder
	ctx     context.Context
	opt     object.ListOptions
	yield   func(object.Entry, error) bool
	yielded int
	folded  string // the last common prefix
}

// walk lists a directory, given as "" or with its slash.
func (l *folderListing) walk(dir string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	names, err := l.names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			err = l.walk(name)
		} else {
			err = l.offer(object.Key(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names returns the keys and the directories in dir in the order of keys: a
// directory sorts by its slash.
func (l *folderListing) names(dir string) ([]string, error) {
	d, err := l.f.root.Open(path.Join(".", dir))
	var entries []fs.DirEntry
	if err == nil {
		entries, err = d.ReadDir(-1)
		d.Close()
	}
	if err != nil {
		if isAbsent(err) && dir != "" {
			return nil, nil // removed since its name was read
		}
		return nil, fmt.Errorf("%w: %w", object.ErrUnavailable, err)
	}
	var names []string
	for _, e := range entries {
		name := dir + e.Name()
		if _, err := object.ParseKey(name); err != nil || name == ownDir {
			continue
		}
		if e.IsDir() && l.mayHold(name+"/") {
			names = append(names, name+"/")
		} else if e.Type().IsRegular() && name > l.opt.After && strings.HasPrefix(name, l.opt.Prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// mayHold reports whether a key in dir can be selected.
func (l *folderListing) mayHold(dir string) bool {
	return (strings.HasPrefix(dir, l.opt.Prefix) || strings.HasPrefix(l.opt.Prefix, dir)) &&
		(dir > l.opt.After || strings.HasPrefix(l.opt.After, dir))
}

// offer yields a selected key, or its common prefix.
func (l *folderListing) offer(key object.Key) error {
	rest := strings.TrimPrefix(string(key), l.opt.Prefix)
	if name, _, inside := strings.Cut(rest, l.opt.Delimiter); inside && l.opt.Delimiter != "" {
		prefix := l.opt.Prefix + name + l.opt.Delimiter
		if prefix == l.folded || prefix == l.opt.After {
			return nil
		}
		l.folded = prefix
		return l.emit(object.Entry{CommonPrefix: prefix})
	}
	fi, err := l.f.root.Lstat(string(key))
	if err != nil {
		if err = l.f.fault(err); errors.Is(err, object.ErrNotFound) {
			return nil // deleted since its name was read
		}
		return err
	}
	return l.emit(object.Entry{Info: describe(key, fi)})
}

func (l *folderListing) emit(e object.Entry) error {
	l.yielded++
	if !l.yield(e, nil) || l.yielded == l.opt.Limit {
		return errListed
	}
	return nil
}

// Unkept yields what is in a directory and starts with prefix but is no object
// of any Store over it, with the reason: names that no key can have, symbolic
// links, devices, sockets and pipes. It is a Config.Unlisted.
func Unkept(dir, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, name)
			if err != nil || rel == "." {
				return err
			}
			if rel == ownDir {
				return fs.SkipDir
			}
			if why := whyUnkept(rel, e); why != nil && strings.HasPrefix(rel, prefix) && !yield(rel, why) {
				return fs.SkipAll
			}
			if _, err := object.ParseKey(rel); err != nil && e.IsDir() {
				return fs.SkipDir // it is reported as a whole
			}
			return nil
		})
		if err != nil {
			yield("", err)
		}
	}
}

var (
	errLink   = errors.New("a symbolic link, which is not followed")
	errNoFile = errors.New("neither file nor directory")
)

func whyUnkept(name string, e fs.DirEntry) error {
	_, err := object.ParseKey(name)
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		return errLink
	case !e.IsDir() && !e.Type().IsRegular():
		return errNoFile
	}
	return err
}
