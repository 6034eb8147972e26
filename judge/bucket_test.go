// Package judge_test holds our Stores against a conformance suite that others
// wrote: drivertest of gocloud.dev, which its drivers for the large object
// stores pass too. It is a module of its own so that what the suite needs stays
// out of go.mod of the product, and it holds nothing but tests.
//
// Cases that cannot apply are skipped one by one, each with its reason: see
// keyRefusals, and the tables of the tests. A refusal that no longer happens fails
// its case.
package judge_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/micelio/micelio/object"
)

// pageSize is that of listings that ask for none: S3's.
const pageSize = 1000

// notFieldNames is why metadata with any names at all cannot pass through HTTP.
const notFieldNames = "names of metadata travel as field names of HTTP, which have none of these characters (RFC 9110, 5.1)"

var errUnimplemented = errors.New("not implemented")

// A presigner makes URLs that work without credentials.
type presigner interface {
	Presign(ctx context.Context, method string, key object.Key, expires time.Duration) (string, error)
}

// A bucket is a driver.Bucket over a Store. It translates and repairs nothing:
// keys and metadata are handed on as they come, not escaped.
type bucket struct {
	store object.Store
	whole bool // collects what is written and sends it with its size, instead of streaming it

	parse func(name string) (object.Key, error) // object.ParseKey, and what the case is to make of a refusal
}

var _ driver.Bucket = (*bucket)(nil)

func (b *bucket) As(any) bool             { return false }
func (b *bucket) ErrorAs(error, any) bool { return false }
func (b *bucket) Close() error            { return nil }

// ErrorCode implements driver.Bucket.
func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode { return errorCode(err) }

// errorCode translates the sentinels of package object.
func errorCode(err error) gcerrors.ErrorCode {
	for _, row := range []struct {
		is   error
		code gcerrors.ErrorCode
	}{
		{context.Canceled, gcerrors.Canceled},
		{context.DeadlineExceeded, gcerrors.DeadlineExceeded},
		{object.ErrNotFound, gcerrors.NotFound},
		{object.ErrPrecondition, gcerrors.FailedPrecondition},
		{object.ErrConflict, gcerrors.FailedPrecondition},
		{object.ErrDigest, gcerrors.FailedPrecondition},
		{object.ErrInvalidKey, gcerrors.InvalidArgument},
		{object.ErrRange, gcerrors.InvalidArgument},
		{object.ErrTooLarge, gcerrors.InvalidArgument},
		{object.ErrUnavailable, gcerrors.Internal},
		{errUnimplemented, gcerrors.Unimplemented},
	} {
		if errors.Is(err, row.is) {
			return row.code
		}
	}
	return gcerrors.Unknown
}

// before calls a hook of the caller. It offers nothing of ours to change.
func before(hook func(func(any) bool) error) error {
	if hook == nil {
		return nil
	}
	return hook(func(any) bool { return false })
}

func (b *bucket) Attributes(ctx context.Context, name string) (*driver.Attributes, error) {
	key, err := b.parse(name)
	if err != nil {
		return nil, err
	}
	info, err := b.store.Head(ctx, key, object.HeadOptions{})
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{
		CacheControl: info.CacheControl, ContentDisposition: info.ContentDisposition, ContentEncoding: info.ContentEncoding,
		ContentLanguage: info.ContentLanguage, ContentType: info.ContentType, Metadata: info.User,
		ModTime: info.Modified, Size: info.Size, MD5: md5Of(info.ETag), ETag: info.ETag.Quoted(),
	}, nil
}

// md5Of returns the MD5 that an ETag is, nil if it is none.
func md5Of(etag object.ETag) []byte {
	sum, err := hex.DecodeString(string(etag))
	if err != nil || len(sum) != 16 {
		return nil
	}
	return sum
}

// ListPaged lists one page. The token of the next one is the name of the last
// entry, which is what a listing of ours goes on behind.
func (b *bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if err := before(opts.BeforeList); err != nil {
		return nil, err
	}
	size := opts.PageSize
	if size == 0 {
		size = pageSize
	}
	page := &driver.ListPage{}
	list := b.store.List(ctx, object.ListOptions{
		Prefix: opts.Prefix, Delimiter: opts.Delimiter, After: string(opts.PageToken), Limit: size + 1,
	})
	for entry, err := range list {
		if err != nil {
			return nil, err
		}
		if len(page.Objects) == size { // there is one more
			page.NextPageToken = []byte(page.Objects[size-1].Key)
			break
		}
		page.Objects = append(page.Objects, &driver.ListObject{
			Key: entry.Name(), IsDir: entry.CommonPrefix != "", ModTime: entry.Modified, Size: entry.Size, MD5: md5Of(entry.ETag),
		})
	}
	return page, nil
}

func (b *bucket) NewRangeReader(ctx context.Context, name string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	key, err := b.parse(name)
	if err != nil {
		return nil, err
	}
	if err := before(opts.BeforeRead); err != nil {
		return nil, err
	}
	var r object.Range
	switch {
	case length == 0: // HTTP has no empty range, and neither have we: what remains is to say what is there
		info, err := b.store.Head(ctx, key, object.HeadOptions{})
		if err != nil {
			return nil, err
		}
		return &reader{http.NoBody, info}, nil
	case length > 0:
		r = object.Bytes(offset, length)
	case offset > 0:
		r = object.From(offset)
	}
	obj, err := b.store.Get(ctx, key, object.GetOptions{Range: r})
	if err != nil {
		return nil, err
	}
	return &reader{obj.Body, obj.Info}, nil
}

type reader struct {
	io.ReadCloser
	info object.Info
}

func (r *reader) As(any) bool { return false }
func (r *reader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{ContentType: r.info.ContentType, ModTime: r.info.Modified, Size: r.info.Size}
}

func (b *bucket) NewTypedWriter(ctx context.Context, name, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	key, err := b.parse(name)
	if err != nil {
		return nil, err
	}
	if err := before(opts.BeforeWrite); err != nil {
		return nil, err
	}
	put := object.PutOptions{MD5: opts.ContentMD5, Attrs: object.Attrs{
		ContentType: contentType, ContentEncoding: opts.ContentEncoding, ContentLanguage: opts.ContentLanguage,
		ContentDisposition: opts.ContentDisposition, CacheControl: opts.CacheControl, User: opts.Metadata,
	}}
	if len(opts.ContentMD5) == 0 {
		put.MD5 = nil
	}
	if opts.IfNotExist {
		put.IfNoneMatch = object.MatchAny()
	}
	if b.whole {
		return &wholeWriter{put: func(body []byte) error {
			_, err := b.store.Put(ctx, key, object.BytesSource(body), put)
			return err
		}}, nil
	}
	pr, pw := io.Pipe()
	w := &streamWriter{PipeWriter: pw, done: make(chan error, 1)}
	go func() { // joined by Close
		_, err := b.store.Put(ctx, key, object.ReaderSource(pr, -1), put)
		pr.CloseWithError(err) // a Put that failed early must not leave Write waiting
		w.done <- err
	}()
	return w, nil
}

// A wholeWriter sends everything at the end.
type wholeWriter struct {
	bytes.Buffer
	put func(body []byte) error
}

func (w *wholeWriter) Close() error { return w.put(w.Bytes()) }

// A streamWriter feeds a Put that is already running. Close does not look at
// the context: that a Put whose context has ended stores nothing is the Store's
// promise.
type streamWriter struct {
	*io.PipeWriter
	done chan error
}

func (w *streamWriter) Close() error {
	w.PipeWriter.Close()
	return <-w.done
}

// Copy reads and writes: a Store has no operation for it.
func (b *bucket) Copy(ctx context.Context, dstName, srcName string, opts *driver.CopyOptions) error {
	src, err := b.parse(srcName)
	if err != nil {
		return err
	}
	dst, err := b.parse(dstName)
	if err != nil {
		return err
	}
	if err := before(opts.BeforeCopy); err != nil {
		return err
	}
	obj, err := b.store.Get(ctx, src, object.GetOptions{})
	if err != nil {
		return err
	}
	defer obj.Body.Close()
	_, err = b.store.Put(ctx, dst, object.ReaderSource(obj.Body, obj.Size), object.PutOptions{Attrs: obj.Attrs, SHA256: obj.SHA256})
	return err
}

// Delete removes an object on the condition that there is one: the suite wants
// to be told of a missing object, and If-Match "*" is how a Store is asked.
func (b *bucket) Delete(ctx context.Context, name string, opts *driver.DeleteOptions) error {
	key, err := b.parse(name)
	if err != nil {
		return err
	}
	if err := before(opts.BeforeDelete); err != nil {
		return err
	}
	return b.store.Delete(ctx, key, object.DeleteOptions{IfMatch: object.MatchAny()})
}

// SignedURL presigns where the Store can. A content type cannot be signed: what
// Presign signs is the host alone.
func (b *bucket) SignedURL(ctx context.Context, name string, opts *driver.SignedURLOptions) (string, error) {
	signer, ok := b.store.(presigner)
	if !ok || opts.Method == http.MethodDelete || opts.ContentType != "" || opts.EnforceAbsentContentType {
		return "", fmt.Errorf("signing %s with these options: %w", opts.Method, errUnimplemented)
	}
	key, err := b.parse(name)
	if err != nil {
		return "", err
	}
	if err := before(opts.BeforeSign); err != nil {
		return "", err
	}
	return signer.Presign(ctx, opts.Method, key, opts.Expiry)
}
