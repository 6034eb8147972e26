package origin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/micelio/micelio/object"
)

// slots is how many records a key can have: that of the file which is the
// object, and that of the file which is about to be.
const slots = 2

// recordPath names one slot of a key.
func recordPath(key object.Key, slot int) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:16])
	return fmt.Sprintf("%s/%s/%s.%d", metaDir, name[:2], name, slot)
}

func randomName() string {
	var b [versionLen]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// load returns the record that fits the file id of key, and its slot; nil if
// there is none. A damaged record does not fit, one that cannot be read at the
// moment is an error: taking it for missing would forget attributes.
func (l *Local) load(key object.Key, id identity) (*record, int, error) {
	for slot := range slots {
		b, err := l.readRecord(recordPath(key, slot))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, ioError(err)
		}
		if k, r, err := decodeRecord(b); err == nil && k == key && r.id == id {
			return r, slot, nil
		}
	}
	return nil, 0, nil
}

func (l *Local) readRecord(name string) ([]byte, error) {
	f, err := l.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRecord+1))
}

// freeSlot returns the slot that the current file of key does not need. The
// caller holds the key's lock.
func (l *Local) freeSlot(key object.Key) (int, error) {
	fi, _, err := find(l, key, l.stat)
	if errors.Is(err, object.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	r, slot, err := l.load(key, identify(fi))
	if err != nil || r == nil {
		return 0, err
	}
	return 1 - slot, nil
}

// stageRecord writes r into tmp and returns the path. Only with durable does it
// survive the power.
func (l *Local) stageRecord(key object.Key, r *record, durable bool) (string, error) {
	name := tmpDir + "/" + randomName()
	f, err := l.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return "", ioError(err)
	}
	_, err = f.Write(r.encode(key))
	if err == nil && durable {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		l.root.Remove(name)
		return "", ioError(err)
	}
	return name, nil
}

// placeRecord moves a staged record into a slot of key. The caller holds the
// key's lock. If it fails nothing is changed but the staged record still there.
func (l *Local) placeRecord(staged string, key object.Key, slot int, durable bool) error {
	name := recordPath(key, slot)
	dir := parentDir(name)
	err := l.root.Rename(staged, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := l.root.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return ioError(err)
		}
		if err := l.syncDir(metaDir); err != nil { // once for each of 256
			return ioError(err)
		}
		err = l.root.Rename(staged, name)
	}
	if err == nil && durable {
		if err = l.syncDir(dir); err != nil {
			l.root.Remove(name)
		}
	}
	if err != nil {
		return ioError(err)
	}
	return nil
}

// dropRecord empties a slot. A record that stays behind fits no file and is
// overwritten one day, so failing is no matter.
func (l *Local) dropRecord(key object.Key, slot int) { l.root.Remove(recordPath(key, slot)) }
