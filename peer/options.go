package peer

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"

	"github.com/micelio/micelio/object"
)

// Names of the fields that only requests carry.
const (
	fieldAfter       = "after"
	fieldDelimiter   = "delimiter"
	fieldIfMatch     = "if-match"
	fieldIfNoneMatch = "if-none-match"
	fieldLimit       = "limit"
	fieldMD5         = "md5"
	fieldPrefix      = "prefix"
	fieldRange       = "range"
)

// The decoders refuse every field they do not know: to pass over a condition
// is to drop it.

func encodeGet(opt object.GetOptions) []byte {
	b := appendMatch(nil, fieldIfMatch, opt.IfMatch)
	b = appendMatch(b, fieldIfNoneMatch, opt.IfNoneMatch)
	r := opt.Range
	if same, ok := object.ParseRange(r.String()); r.IsSet() && (!ok || same != r) {
		// A range that the syntax cannot express selects no byte; it must not
		// be mistaken for one that was never set.
		r = object.Suffix(0)
	}
	return appendKnown(b, fieldRange, r.String())
}

func decodeGet(s string) (opt object.GetOptions, err error) {
	err = eachField(s, func(name, value string) (err error) {
		switch name {
		case fieldIfMatch:
			opt.IfMatch, err = parseMatch(value)
		case fieldIfNoneMatch:
			opt.IfNoneMatch, err = parseMatch(value)
		case fieldRange:
			var ok bool
			if opt.Range, ok = object.ParseRange(value); !ok {
				err = errField
			}
		default:
			err = errUnknown
		}
		return err
	})
	return opt, err
}

func encodeHead(opt object.HeadOptions) []byte {
	return encodeGet(object.GetOptions{IfMatch: opt.IfMatch, IfNoneMatch: opt.IfNoneMatch})
}

func decodeHead(s string) (object.HeadOptions, error) {
	opt, err := decodeGet(s)
	if err == nil && opt.Range.IsSet() {
		err = errUnknown
	}
	return object.HeadOptions{IfMatch: opt.IfMatch, IfNoneMatch: opt.IfNoneMatch}, err
}

// encodePut also carries the size of the source, -1 if it is not known.
func encodePut(opt object.PutOptions, size int64) []byte {
	b := appendContent(nil, opt.Attrs)
	b = appendMatch(b, fieldIfMatch, opt.IfMatch)
	b = appendMatch(b, fieldIfNoneMatch, opt.IfNoneMatch)
	if opt.MD5 != nil {
		b = appendField(b, fieldMD5, hex.EncodeToString(opt.MD5))
	}
	b = appendKnown(b, fieldSHA256, opt.SHA256.String())
	if size >= 0 {
		b = appendField(b, fieldSize, strconv.FormatInt(size, 10))
	}
	b = appendUser(b, opt.Attrs.User)
	return appendKnown(b, fieldVersion, opt.Version)
}

func decodePut(s string) (opt object.PutOptions, size int64, err error) {
	size = -1
	err = eachField(s, func(name, value string) (err error) {
		switch name {
		case fieldIfMatch:
			opt.IfMatch, err = parseMatch(value)
		case fieldIfNoneMatch:
			opt.IfNoneMatch, err = parseMatch(value)
		case fieldMD5:
			if opt.MD5, err = hex.DecodeString(value); err != nil || len(opt.MD5) != md5.Size {
				err = errField
			}
		case fieldSHA256:
			opt.SHA256, err = parseDigest(value)
		case fieldSize:
			size, err = parseCount(value)
		case fieldVersion:
			opt.Version = value
		default:
			var known bool
			if known, err = setAttr(&opt.Attrs, name, value); err == nil && !known {
				err = errUnknown
			}
		}
		return err
	})
	return opt, size, err
}

func encodeDelete(opt object.DeleteOptions) []byte {
	return appendMatch(nil, fieldIfMatch, opt.IfMatch)
}

func decodeDelete(s string) (opt object.DeleteOptions, err error) {
	err = eachField(s, func(name, value string) (err error) {
		if name != fieldIfMatch {
			return errUnknown
		}
		opt.IfMatch, err = parseMatch(value)
		return err
	})
	return opt, err
}

// encodeList cuts strings that are longer than any key by more than one byte:
// they compare with every legal name as their first MaxKeyLen+1 bytes do, and a
// selection of any length then fits the header budget.
func encodeList(opt object.ListOptions) []byte {
	cut := func(s string) string { return s[:min(len(s), object.MaxKeyLen+1)] }
	b := appendKnown(nil, fieldAfter, cut(opt.After))
	b = appendKnown(b, fieldDelimiter, cut(opt.Delimiter))
	b = appendField(b, fieldLimit, strconv.Itoa(opt.Limit))
	return appendKnown(b, fieldPrefix, cut(opt.Prefix))
}

func decodeList(s string) (opt object.ListOptions, err error) {
	err = eachField(s, func(name, value string) (err error) {
		switch name {
		case fieldAfter:
			opt.After = value
		case fieldDelimiter:
			opt.Delimiter = value
		case fieldLimit:
			var n int64
			n, err = parseCount(value)
			opt.Limit = int(n)
		case fieldPrefix:
			opt.Prefix = value
		default:
			err = errUnknown
		}
		return err
	})
	if err == nil && (opt.Limit < 1 || opt.Limit > pageLimit) {
		err = errField
	}
	return opt, err
}

// appendMatch appends a condition. One that is set but names no version is an
// empty field, not a missing one: nothing satisfies it.
func appendMatch(b []byte, name string, m object.Match) []byte {
	if !m.IsSet() {
		return b
	}
	return appendField(b, name, m.String())
}

func parseMatch(s string) (object.Match, error) {
	if s == "" {
		return object.MatchETag(), nil
	}
	m, err := object.ParseMatch(s)
	if err != nil || !m.IsSet() {
		return object.Match{}, errField
	}
	return m, nil
}
