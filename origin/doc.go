// Package origin is the authority: the Stores whose answer is final. [Local]
// keeps objects in a directory, and [Guard] holds the writers of any authority
// to the promise of the key classes. It caches nothing and knows no other node.
//
// # The directory of a Local
//
// The object "a/b" is the plain file a/b, so a tree that was copied in is
// served as it is, and what is written here can be read without this package.
// What the package itself needs is kept apart:
//
//	.micelio/tmp/                what is being received; removed at an open once it is old
//	.micelio/lock/<3 hex>        one file a lock stripe, locked with flock
//	.micelio/meta/<2 hex>/<hash of the key>.<0 or 1>
//	                             what is known about an object besides its bytes
//	.micelio/odd/                objects that cannot be the plain file of their name
//
// An object is odd when its name is also a directory ("a" beside "a/b"), when
// its directory is a file ("a/b" beside "a"), when one of its segments is longer
// than a file name may be, or when it would be inside .micelio. If both files
// exist the plain one is the object. Symbolic links, devices, sockets and pipes
// are no objects: they are neither served nor listed nor replaced.
//
// # Metadata
//
// A record holds the MD5, the SHA-256, the version and the attributes of one
// file, and the identity of that file: inode, size and modification time. A
// record that does not fit the file at hand does not exist, so whatever changes
// a file from outside gets its digests recomputed and its attributes forgotten.
// Each key has two slots. A writer puts the record of the new file into the slot
// that the current file does not need and then publishes the new file, which
// switches bytes and metadata in one atomic step. There are never more than two
// records of a key.
//
// A change from outside that keeps inode, size and modification time cannot be
// seen. Tools that replace files (cp to a new name, rsync, tar, git) never do
// that; one that rewrites in place and then resets the time does.
//
// # Durability
//
// A Put answers after the bytes, the name, and every directory that was made
// for it are on stable storage. A record is synced before its object is
// published if it carries attributes, which the bytes cannot tell; other records
// may be lost with the power and are recomputed. The object then has another
// version, also where the writer chose the first: versions tell writes apart
// while the machine runs, and copies made before are fetched again.
//
// Lock order: the lock of a key, then the in-process lock of hashing its file.
// Both exist to be held over I/O.
package origin
