package origin

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/micelio/micelio/object"
)

// maxPage is the most entries that S3 lists at once.
const maxPage = 1000

// List implements object.Store. Names that are no keys are passed over: nothing
// could read them. An entry says no more than S3 does: no attributes, no
// version.
func (s *S3) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		l := &s3Listing{s: s, opt: opt}
		first, err := l.begin(ctx)
		if err != nil {
			yield(object.Entry{}, wrapList(opt.Prefix, err))
			return
		}
		yielded := 0
		if first.CommonPrefix != "" {
			if yielded++; !yield(first, nil) || yielded == opt.Limit {
				return
			}
		}
		for {
			page, more, err := l.page(ctx, yielded)
			if err != nil {
				yield(object.Entry{}, wrapList(opt.Prefix, err))
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				if yielded++; yielded == opt.Limit {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

func wrapList(prefix string, err error) error {
	return fmt.Errorf("origin: list %q: %w", prefix, err)
}

// An s3Listing walks over the pages of a listing.
type s3Listing struct {
	s     *S3
	opt   object.ListOptions
	after string  // where the first page begins
	token *string // where the next one does
	last  string  // name of the last entry
}

// begin finds out where in the bucket the listing begins. Services differ in
// what they make of a start inside a common prefix, so that is looked at here:
// the prefix is the first entry if any of its keys is left.
func (l *s3Listing) begin(ctx context.Context) (first object.Entry, err error) {
	if l.opt.After == "" {
		return first, nil
	}
	l.after = l.s.cfg.Prefix + l.opt.After
	rest, below := strings.CutPrefix(l.opt.After, l.opt.Prefix)
	name, _, inside := strings.Cut(rest, l.opt.Delimiter)
	if l.opt.Delimiter == "" || !below || !inside {
		return first, nil
	}
	folded := l.opt.Prefix + name + l.opt.Delimiter
	if folded != l.opt.After {
		for _, err := range l.s.List(ctx, object.ListOptions{Prefix: folded, After: l.opt.After, Limit: 1}) {
			if err != nil {
				return first, err
			}
			first = object.Entry{CommonPrefix: folded}
		}
	}
	l.after, l.last = l.s.cfg.Prefix+folded+string(utf8.MaxRune), folded // no key is greater than all of a prefix; what is left is passed over
	return first, nil
}

// page returns the next page in the order of names, and whether there are more.
func (l *s3Listing) page(ctx context.Context, yielded int) ([]object.Entry, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	size := int32(maxPage)
	if left := l.opt.Limit - yielded; l.opt.Limit > 0 && left < maxPage {
		size = int32(left + 1) // one may have to be passed over
	}
	in := &s3.ListObjectsV2Input{
		Bucket: &l.s.cfg.Bucket, Prefix: optional(l.s.cfg.Prefix + l.opt.Prefix), Delimiter: optional(l.opt.Delimiter),
		MaxKeys: aws.Int32(size), ContinuationToken: l.token, EncodingType: types.EncodingTypeUrl,
	}
	if l.token == nil {
		in.StartAfter = optional(l.after)
	}
	var out *s3.ListObjectsV2Output
	err := l.s.read(ctx, func(ctx context.Context) (err error) {
		out, err = l.s.client.ListObjectsV2(ctx, in)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	l.s.sawBucket()
	entries, err := l.entries(out)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", object.ErrUnavailable, err)
	}
	l.token = out.NextContinuationToken
	more := aws.ToBool(out.IsTruncated)
	if more && l.token == nil {
		return nil, false, fmt.Errorf("%w: S3 says that there is more and not where", object.ErrUnavailable)
	}
	return entries, more, nil
}

// entries reads one answer.
func (l *s3Listing) entries(out *s3.ListObjectsV2Output) ([]object.Entry, error) {
	// Not every service does as it is asked, but one that does says so.
	decode := func(name string) (string, error) { return name, nil }
	if out.EncodingType == types.EncodingTypeUrl {
		decode = url.QueryUnescape
	}
	var entries []object.Entry
	add := func(encoded *string, e func(name string) object.Entry) error {
		name, err := decode(aws.ToString(encoded))
		if err != nil {
			return fmt.Errorf("S3 lists a name in an unknown encoding: %w", err)
		}
		name, ok := strings.CutPrefix(name, l.s.cfg.Prefix)
		if !ok || !strings.HasPrefix(name, l.opt.Prefix) {
			return fmt.Errorf("S3 lists %q, which nobody asked for", name)
		}
		if name > l.opt.After && name != l.last && !isInternal(name) {
			entries = append(entries, e(name))
		}
		return nil
	}
	for _, o := range out.Contents {
		err := add(o.Key, func(name string) object.Entry {
			return object.Entry{Info: object.Info{
				Key: object.Key(name), Size: aws.ToInt64(o.Size), ETag: etagOf(o.ETag), Modified: aws.ToTime(o.LastModified), Tier: object.TierOrigin,
			}}
		})
		if err != nil {
			return nil, err
		}
	}
	for _, p := range out.CommonPrefixes {
		if err := add(p.Prefix, func(name string) object.Entry { return object.Entry{CommonPrefix: name} }); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		if p := e.CommonPrefix; p != "" && (l.opt.Delimiter == "" || !strings.HasSuffix(p, l.opt.Delimiter)) {
			return nil, fmt.Errorf("S3 lists the common prefix %q, which nobody asked for", p)
		}
	}
	slices.SortFunc(entries, func(a, b object.Entry) int { return strings.Compare(a.Name(), b.Name()) })
	if len(entries) > 0 {
		if first := entries[0].Name(); first <= l.last && l.last != "" {
			return nil, fmt.Errorf("S3 lists %q after %q: the service does not order names", first, l.last)
		}
		l.last = entries[len(entries)-1].Name()
	}
	return slices.DeleteFunc(entries, func(e object.Entry) bool {
		_, err := object.ParseKey(string(e.Key))
		return e.CommonPrefix == "" && err != nil
	}), nil
}
