package object

import (
	"context"
	"io"
	"iter"
	"time"
)

// Attrs are what a writer says about an object besides its bytes. Stores keep
// them as they are and interpret none.
type Attrs struct {
	ContentType        string
	ContentEncoding    string
	ContentLanguage    string
	ContentDisposition string
	CacheControl       string

	// User is the writer's own metadata, names in lower case, at most
	// MaxUserMeta bytes of names and values together.
	User map[string]string
}

// MaxUserMeta is the most user metadata an object may carry, in bytes of names
// and values. It is S3's own limit.
const MaxUserMeta = 2 << 10

// Info describes one version of an object.
type Info struct {
	Key  Key
	Size int64 // of the whole object, in bytes
	ETag ETag  // names the bytes; empty in a listing that does not know it

	// Version names the write that made this version: two writes of the same
	// bytes share an ETag and differ here. It is opaque and empty where the
	// Store cannot tell writes apart.
	Version string

	SHA256   Digest // of the bytes, zero if not known
	Modified time.Time
	Attrs

	// The rest says how an answer went and is no property of the object.

	Tier Tier          // where the bytes came from
	Node string        // which node answered, "" if this one
	Age  time.Duration // since the bytes came from the authority
}

// A Tier is a place that can answer a read, as the X-Cache header names it.
type Tier string

// The tiers, nearest first.
const (
	TierHot    Tier = "hot"    // a copy of a hot key, in the memory of a node that does not own it
	TierRAM    Tier = "ram"    // the owner's memory
	TierSSD    Tier = "ssd"    // the owner's disk
	TierFill   Tier = "fill"   // a fill that was already running
	TierPeer   Tier = "peer"   // a fill from another node's tiers
	TierCDN    Tier = "cdn"    // a fill from the CDN
	TierOrigin Tier = "origin" // the authority
)

// An Object is one version of an object, or a part of it, on its way to a
// reader. Whoever gets an Object must Close its Body.
type Object struct {
	Info

	// Offset and Length say which bytes Body carries: 0 and Size for all.
	Offset, Length int64

	// Body yields exactly Length bytes and then io.EOF. If it cannot, it ends
	// with another error, never with io.EOF. It belongs to one reader.
	Body io.ReadCloser
}

// GetOptions narrow a Get.
type GetOptions struct {
	Range       Range // applied after the conditions
	IfMatch     Match // ErrPrecondition unless it names the version
	IfNoneMatch Match // ErrNotModified if it names the version
}

// HeadOptions narrow a Head.
type HeadOptions struct {
	IfMatch     Match
	IfNoneMatch Match
}

// PutOptions describe and condition a Put.
type PutOptions struct {
	IfMatch     Match // ErrPrecondition unless it names the current version, ErrNotFound if there is none
	IfNoneMatch Match // "*": ErrPrecondition if the object exists

	// Base is what the caller believes to be current: a hint that saves the
	// Store a question. A wrong one costs time only. It is ignored when a
	// condition is set, and does not travel between nodes.
	Base ETag

	Attrs Attrs

	// Version becomes Info.Version of what is written. The Store chooses a
	// unique one if it is empty. A writer that sets it can find out later
	// whether an attempt without an answer took effect. That is all it is for:
	// an object survives a loss of power with its bytes and its Attrs, but may
	// have another Version afterwards, so that copies of it are fetched again.
	Version string

	// SHA256 and MD5 are what the bytes must hash to, where that is known
	// beforehand; otherwise ErrDigest, and nothing is stored. MD5 is nil where
	// not known.
	SHA256 Digest
	MD5    []byte
}

// DeleteOptions condition a Delete.
type DeleteOptions struct {
	IfMatch Match // ErrPrecondition unless it names the current version, ErrNotFound if there is none

	// Base is what the caller believes to be current; see PutOptions.
	Base ETag
}

// ListOptions select what a List yields.
type ListOptions struct {
	Prefix string // keys that start with it; any string, not only whole segments

	// After selects keys greater than it, and common prefixes of such keys; a
	// common prefix that equals it is passed over whole. So a listing goes on
	// behind the name of its last entry, whichever that is.
	After string

	// Delimiter, if not empty, folds all keys that contain it behind Prefix
	// into one entry for the common prefix up to and including it.
	Delimiter string

	Limit int // at most so many entries; 0 for all
}

// An Entry is one line of a listing: an object or a common prefix.
type Entry struct {
	Info                // of an object; Attrs, Version and SHA256 may be missing, ETag too
	CommonPrefix string // otherwise, and then Info is zero
}

// Name is what entries are ordered by: the key or the common prefix.
func (e Entry) Name() string {
	if e.CommonPrefix != "" {
		return e.CommonPrefix
	}
	return string(e.Key)
}

// A Store holds objects by key. Every layer of a node is one.
//
// All methods are safe for concurrent use. Keys are valid (see ParseKey);
// implementations may answer ErrInvalidKey for others, and must never touch
// anything else because of them. Errors match one of this package's sentinels
// where one fits; an authority or tier that cannot be asked is ErrUnavailable,
// never ErrNotFound. An operation whose context ends early returns an error
// that matches the context's.
type Store interface {
	// Get returns an object, or the part of it that opt.Range selects. The
	// conditions are tested before the range. ctx governs the body too.
	Get(ctx context.Context, key Key, opt GetOptions) (*Object, error)

	// Head returns what Get would say about an object without its bytes.
	Head(ctx context.Context, key Key, opt HeadOptions) (Info, error)

	// Put stores the bytes of src under key and returns the Info of what it
	// wrote. When it returns nil the object is durable at the authority, and
	// every later Get of any Store over the same authority returns it or
	// something newer. On ErrUnknownOutcome it may or may not be stored; on
	// any other error nothing changed. An error of the source aborts the Put
	// and is returned wrapped.
	Put(ctx context.Context, key Key, src Source, opt PutOptions) (Info, error)

	// Delete removes an object. Without a condition a missing object is no
	// error.
	Delete(ctx context.Context, key Key, opt DeleteOptions) error

	// List yields the objects that opt selects, ordered by the bytes of their
	// names. An error ends the sequence. A listing is no snapshot: objects
	// written or removed while it runs may or may not appear.
	List(ctx context.Context, opt ListOptions) iter.Seq2[Entry, error]
}

// CheckRead tests the conditions of a read against the current version.
func CheckRead(info Info, ifMatch, ifNoneMatch Match) error {
	if ifMatch.IsSet() && !ifMatch.Strong(info.ETag) {
		return ErrPrecondition
	}
	if ifNoneMatch.IsSet() && ifNoneMatch.Weak(info.ETag) {
		return &NotModifiedError{Info: info}
	}
	return nil
}

// CheckWrite tests the conditions of a write against the current version, nil
// if there is none.
func CheckWrite(current *Info, ifMatch, ifNoneMatch Match) error {
	if current == nil {
		if ifMatch.IsSet() {
			return ErrNotFound
		}
		return nil
	}
	if ifMatch.IsSet() && !ifMatch.Strong(current.ETag) {
		return ErrPrecondition
	}
	if ifNoneMatch.IsSet() && ifNoneMatch.Strong(current.ETag) {
		return ErrPrecondition
	}
	return nil
}
