package origin

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// What the file system answers names a part of the key's path, which a log that hides
// the key does not recognize. It is left out, and what it was stays known.
func TestWhatTheFileSystemAnswersNamesNoKey(t *testing.T) {
	const hidden = "s3cr3t"
	path := &fs.PathError{Op: "sync", Path: hidden, Err: syscall.EIO}
	for name, err := range map[string]error{
		"a path":         path,
		"a link":         &os.LinkError{Op: "renameat", Old: hidden, New: hidden, Err: syscall.EIO},
		"one in another": &fs.PathError{Op: "open", Path: hidden, Err: path},
		"a link to one":  &os.LinkError{Op: "renameat", Old: hidden, New: hidden, Err: path},
	} {
		for _, told := range []error{ioError(err), notDurable(err)} {
			if strings.Contains(told.Error(), hidden) || !errors.Is(told, syscall.EIO) {
				t.Errorf("%s is told as %q", name, told)
			}
		}
	}
}
