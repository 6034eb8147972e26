package tiers

import (
	"errors"

	"github.com/micelio/micelio/object"
)

// An SSD is the disk tier. It is safe for concurrent use. Whatever goes wrong
// on the disk is a miss: no method fails a request.
type SSD interface {
	// Get opens the copy of key, to be closed by the caller, or reports that
	// there is none.
	Get(key object.Key) (Stored, bool)

	// Has reports whether Get would look at a copy, without any I/O.
	Has(key object.Key) bool

	// Create makes room for an object and returns where to write it. It
	// returns false if the tier does not want the object, or cannot.
	Create(info object.Info) (Spool, bool)

	// Delete drops the copy of key. Open copies stay readable.
	Delete(key object.Key)

	// Stats returns what the tier holds and has done.
	Stats() TierStats

	// Close gives the directory free. Open copies stay readable.
	Close() error
}

// A Stored is a copy on disk, open for reading. It is safe for concurrent use.
type Stored interface {
	// Info describes the object; its Age is that of the copy.
	Info() object.Info

	// ReadAt fills p from offset off, at most to the end of the object, with
	// bytes whose checksums were right, and returns how many: whole blocks, or
	// all up to the end of the object. off must be a multiple of BlockSize, and
	// p hold at least a block or the rest of the object. The error matches
	// ErrDamaged if a checksum was wrong, and then the copy is gone.
	ReadAt(p []byte, off int64) (int, error)

	// Proven reports whether this process has seen the whole object match its
	// digest.
	Proven() bool

	// Prove says that it just did.
	Prove()

	// Drop removes the copy because its content is wrong.
	Drop()

	// Close gives the file free. What was dropped or evicted goes with it.
	Close() error
}

// A Spool is a copy on disk that is being written, by one writer from the first
// byte to the last, and that may be read by others up to what was written.
type Spool interface {
	Stored

	// Write appends p. Every call but the last brings a multiple of BlockSize
	// bytes.
	Write(p []byte) error

	// Commit makes the copy visible to Get under info, which must describe
	// exactly the bytes that were written.
	Commit(info object.Info) error

	// Abort gives the copy up. The Spool must still be closed.
	Abort()
}

// BlockSize is the unit of checksums on disk, in bytes: small enough that a
// damaged sector costs little, large enough that checksums are 0.006 % of the
// data.
const BlockSize = 64 << 10

// ErrDamaged means that a copy on disk was not what had been written.
var ErrDamaged = errors.New("damaged copy")

// Off is a disk tier that holds nothing.
type Off struct{}

// Get reports a miss.
func (Off) Get(object.Key) (Stored, bool) { return nil, false }

// Has reports a miss.
func (Off) Has(object.Key) bool { return false }

// Create declines.
func (Off) Create(object.Info) (Spool, bool) { return nil, false }

// Delete does nothing.
func (Off) Delete(object.Key) {}

// Stats returns zeros.
func (Off) Stats() TierStats { return TierStats{} }

// Close does nothing.
func (Off) Close() error { return nil }

var _ SSD = Off{}
