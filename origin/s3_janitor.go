package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"
)

// An upload in parts that is neither put together nor aborted stays in the
// bucket, unseen and paid for. So each is noted in a file while it is under way,
// which its process keeps locked. A file that nobody locks is of a process that
// died, and its upload is aborted. (What a machine leaves that never comes back
// is for a lifecycle rule of the bucket.)
type uploadNote struct {
	Endpoint string `json:"endpoint"`
	Region   string `json:"region"`
	Bucket   string `json:"bucket"`
	Key      string `json:"key"`
	Upload   string `json:"upload"`

	file *os.File
}

// notesPattern is the name of such files.
const notesPattern = "micelio-s3-*.upload"

// note records an upload. Not being able to is no reason not to upload.
func (s *S3) note(key, upload string) *uploadNote {
	n := &uploadNote{Endpoint: s.cfg.Endpoint, Region: s.cfg.Region, Bucket: s.cfg.Bucket, Key: key, Upload: upload}
	if err := n.write(s.cfg.SpoolDir); err != nil {
		s.log.Warn("could not note an upload: if this process dies its parts stay in the bucket", "err", err)
	}
	return n
}

func (n *uploadNote) write(dir string) error {
	f, err := os.CreateTemp(dir, notesPattern)
	if err != nil {
		return err
	}
	n.file = f
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return json.NewEncoder(f).Encode(n)
}

// done forgets an upload that has ended; kept leaves it to the janitor.
func (n *uploadNote) done(kept bool) {
	if n == nil || n.file == nil {
		return
	}
	if !kept {
		os.Remove(n.file.Name())
	}
	n.file.Close()
}

// sweep aborts the uploads to this bucket that died with their process.
func (s *S3) sweep(ctx context.Context) {
	names, err := filepath.Glob(filepath.Join(s.cfg.SpoolDir, notesPattern))
	if err != nil {
		return // the pattern is malformed only if the name of the folder makes it so
	}
	for _, name := range names {
		if err := s.sweepOne(ctx, name); err != nil && ctx.Err() == nil {
			s.log.Warn("could not abort an upload that was left behind", "note", name, "err", err)
		}
	}
}

func (s *S3) sweepOne(ctx context.Context, name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // its process lives
	}
	raw, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return err
	}
	var n uploadNote
	if err := json.Unmarshal(raw, &n); err != nil {
		return os.Remove(name) // cut by the crash: it names no upload
	}
	if n.Endpoint != s.cfg.Endpoint || n.Region != s.cfg.Region || n.Bucket != s.cfg.Bucket {
		return nil
	}
	r, err := s.attempt(ctx, func(ctx context.Context) error {
		_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &n.Bucket, Key: &n.Key, UploadId: &n.Upload})
		return err
	})
	switch {
	case err != nil:
		return err
	case r.err != nil && r.code != "NoSuchUpload":
		return r.err
	}
	s.log.Info("aborted an upload that was left behind", "key", n.Key)
	return os.Remove(name)
}
