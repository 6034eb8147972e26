package seglog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate puts disk space behind a file's first size bytes. A file system that
// cannot is taken as it is: its writes may then fail for want of space, which
// costs the copy that is being written.
func allocate(f *os.File, size int64) error {
	for {
		switch err := unix.Fallocate(int(f.Fd()), 0, 0, size); {
		case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		case errors.Is(err, unix.EINTR):
		default:
			return os.NewSyscallError("fallocate", err)
		}
	}
}
