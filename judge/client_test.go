package judge_test

import (
	"context"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// An opened is the driver.Bucket that a blob.Bucket is made of: drivers do not
// give theirs away, and the suite tests nothing else. Keys go to parse
// first: what the server would refuse is refused for the same reason.
type opened struct {
	*blob.Bucket
	parse func(name string) error
}

var _ driver.Bucket = (*opened)(nil)

func (b *opened) As(any) bool             { return false }
func (b *opened) ErrorAs(error, any) bool { return false }

// ErrorCode returns the code that the driver gave, or that of a refusal of parse.
func (b *opened) ErrorCode(err error) gcerrors.ErrorCode {
	if code := gcerrors.Code(err); code != gcerrors.Unknown {
		return code
	}
	return errorCode(err)
}

func (b *opened) Attributes(ctx context.Context, name string) (*driver.Attributes, error) {
	if err := b.parse(name); err != nil {
		return nil, err
	}
	a, err := b.Bucket.Attributes(ctx, name)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{
		CacheControl: a.CacheControl, ContentDisposition: a.ContentDisposition, ContentEncoding: a.ContentEncoding,
		ContentLanguage: a.ContentLanguage, ContentType: a.ContentType, Metadata: a.Metadata,
		CreateTime: a.CreateTime, ModTime: a.ModTime, Size: a.Size, MD5: a.MD5, ETag: a.ETag,
	}, nil
}

func (b *opened) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	token, size := opts.PageToken, opts.PageSize
	if len(token) == 0 {
		token = blob.FirstPageToken
	}
	if size == 0 {
		size = pageSize
	}
	objects, next, err := b.ListPage(ctx, token, size, &blob.ListOptions{
		Prefix: opts.Prefix, Delimiter: opts.Delimiter, BeforeList: opts.BeforeList,
	})
	if err != nil {
		return nil, err
	}
	page := &driver.ListPage{NextPageToken: next}
	for _, o := range objects {
		page.Objects = append(page.Objects, &driver.ListObject{Key: o.Key, ModTime: o.ModTime, Size: o.Size, MD5: o.MD5, IsDir: o.IsDir})
	}
	return page, nil
}

func (b *opened) NewRangeReader(ctx context.Context, name string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	if err := b.parse(name); err != nil {
		return nil, err
	}
	r, err := b.Bucket.NewRangeReader(ctx, name, offset, length, &blob.ReaderOptions{BeforeRead: opts.BeforeRead})
	if err != nil {
		return nil, err
	}
	return &openedReader{r, driver.ReaderAttributes{ContentType: r.ContentType(), ModTime: r.ModTime(), Size: r.Size()}}, nil
}

// An openedReader hides the other methods of a blob.Reader: it reads again, by
// ranges, where one is sought.
type openedReader struct {
	io.ReadCloser
	attributes driver.ReaderAttributes
}

func (r *openedReader) As(any) bool                          { return false }
func (r *openedReader) Attributes() *driver.ReaderAttributes { return &r.attributes }

func (b *opened) NewTypedWriter(ctx context.Context, name, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	if err := b.parse(name); err != nil {
		return nil, err
	}
	return b.NewWriter(ctx, name, &blob.WriterOptions{
		ContentType: contentType, DisableContentTypeDetection: true,
		BufferSize: opts.BufferSize, MaxConcurrency: opts.MaxConcurrency,
		CacheControl: opts.CacheControl, ContentDisposition: opts.ContentDisposition, ContentEncoding: opts.ContentEncoding,
		ContentLanguage: opts.ContentLanguage, ContentMD5: opts.ContentMD5, Metadata: opts.Metadata,
		BeforeWrite: opts.BeforeWrite, IfNotExist: opts.IfNotExist,
	})
}

func (b *opened) Copy(ctx context.Context, dst, src string, opts *driver.CopyOptions) error {
	return b.Bucket.Copy(ctx, dst, src, &blob.CopyOptions{BeforeCopy: opts.BeforeCopy})
}

func (b *opened) Delete(ctx context.Context, name string, opts *driver.DeleteOptions) error {
	if err := b.parse(name); err != nil {
		return err
	}
	return b.DeleteWithOptions(ctx, name, &blob.DeleteOptions{BeforeDelete: opts.BeforeDelete})
}

func (b *opened) SignedURL(ctx context.Context, name string, opts *driver.SignedURLOptions) (string, error) {
	return b.Bucket.SignedURL(ctx, name, &blob.SignedURLOptions{
		Expiry: opts.Expiry, Method: opts.Method, ContentType: opts.ContentType,
		EnforceAbsentContentType: opts.EnforceAbsentContentType, BeforeSign: opts.BeforeSign,
	})
}
