package tiers

import (
	"context"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers/seglog"
)

// An SSD is the disk tier. It is safe for concurrent use. Whatever goes wrong
// on the disk is a miss: no method fails a request.
type SSD interface {
	// Get opens the copy of key, or of a part of it, to be closed by the
	// caller, or reports that there is none.
	Get(key object.Key) (Stored, bool)

	// Peek is Get for those who only want to know what there is. It counts as no
	// use of the copy.
	Peek(key object.Key) (Stored, bool)

	// Has reports whether the tier has all of the object, without any I/O.
	Has(key object.Key) bool

	// Put stores a small object, of at most MaxPut bytes, in place of what
	// there is. It reports false if the tier did not take it; then it holds
	// nothing under the key. It keeps no reference to the entry.
	Put(e *Entry) bool

	// Create returns where to write an object in order, to be seen when it is
	// whole. It returns false if the tier does not want the object.
	Create(info object.Info) (Spool, bool)

	// Begin opens the copy of a large object of which parts may be missing. If
	// there is none, it begins one that has no part yet. It returns false if
	// the tier does not want the object.
	Begin(info object.Info) (Stored, bool)

	// PartSize returns the unit in which objects can be there in part, in bytes:
	// a power of two, and a multiple of BlockSize.
	PartSize() int64

	// Delete drops the copy of key. Open copies may lose their bytes.
	Delete(key object.Key)

	// Stats returns what the tier holds and has done.
	Stats() TierStats

	// Run does the tier's housekeeping until ctx ends. It is called once.
	Run(ctx context.Context) error

	// Close gives the directory free. Nobody may use the tier any more.
	Close() error
}

// A Stored is a copy on disk, open for reading. It is safe for concurrent use.
type Stored interface {
	// Info describes the object; its Age is that of the copy.
	Info() object.Info

	// ReadAt fills p from offset off with bytes whose checksums were right, and
	// returns how many: whole blocks, or all up to the end of the object. off
	// must be a multiple of BlockSize, and p hold at least a block or the rest
	// of the object. The error matches ErrAbsent if that part is not there, or
	// not any more, or the disk fails to read it, and ErrDamaged if a checksum
	// was wrong; then it is gone.
	ReadAt(p []byte, off int64) (int, error)

	// Complete reports whether all of the object is there at this moment.
	Complete() bool

	// Present returns how far what is there reaches from off on, and how far
	// what is missing reaches, both as offsets in the object; one of them is
	// off itself.
	Present(off int64) (present, missing int64)

	// Fill returns where to write what is missing from offset from on, a
	// multiple of PartSize, up to n bytes. Each part is seen when it is whole,
	// whether the Spool is aborted or not. It returns false if the tier does
	// not want them.
	Fill(from, n int64) (Spool, bool)

	// Proven reports whether this process has seen the whole object match its
	// digest.
	Proven() bool

	// Prove says that it just did.
	Prove()

	// Generation returns a number that no other copy of the tier has or had, of
	// this object or another, 0 if it has none.
	Generation() uint64

	// Touch says that somebody reads bytes from offset off on that he has from an
	// earlier ReadAt, so that they count as read. It reports false if that part,
	// or the copy, is not in the tier any more.
	Touch(off int64) bool

	// Drop removes the copy because its content is wrong.
	Drop()

	// Close gives its memory free.
	Close() error
}

// A Spool is a copy on disk that is being written, by one writer in order, and
// that others may read up to what was written.
type Spool interface {
	// Write appends p. Every call but the last brings a multiple of BlockSize
	// bytes. After an error p must not be changed any more: a disk that hangs
	// may still be reading it.
	Write(p []byte) error

	// ReadAt reads what was written, as Stored.ReadAt does.
	ReadAt(p []byte, off int64) (int, error)

	// Commit makes the copy visible to Get under info, which must describe
	// exactly the bytes that were written.
	Commit(info object.Info) error

	// Abort gives up what is not visible yet. It does nothing after Commit.
	// What was written stays readable for a while.
	Abort()
}

const (
	// BlockSize is the unit of checksums on disk, in bytes.
	BlockSize = seglog.BlockSize

	// MaxPut is the size up to which an object is stored by Put, in bytes.
	MaxPut = seglog.MaxInline
)

var (
	// ErrDamaged means that a copy on disk was not what had been written.
	ErrDamaged = seglog.ErrDamaged

	// ErrAbsent means that a part of an object is not on the disk.
	ErrAbsent = seglog.ErrAbsent
)

// Off is a disk tier that holds nothing.
type Off struct{}

// Get reports a miss.
func (Off) Get(object.Key) (Stored, bool) { return nil, false }

// Peek finds nothing.
func (Off) Peek(object.Key) (Stored, bool) { return nil, false }

// Has reports a miss.
func (Off) Has(object.Key) bool { return false }

// Put declines.
func (Off) Put(*Entry) bool { return false }

// Create declines.
func (Off) Create(object.Info) (Spool, bool) { return nil, false }

// Begin declines.
func (Off) Begin(object.Info) (Stored, bool) { return nil, false }

// PartSize returns one block.
func (Off) PartSize() int64 { return BlockSize }

// Delete does nothing.
func (Off) Delete(object.Key) {}

// Stats returns zeros.
func (Off) Stats() TierStats { return TierStats{} }

// Run waits until ctx ends.
func (Off) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close does nothing.
func (Off) Close() error { return nil }

var _ SSD = Off{}
