package migrate

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/micelio/micelio/object"
)

// formatVersion is the number of the journal's format.
const formatVersion = 1

// A header is the first line of a journal: what it is bound to.
type header struct {
	Format int    `json:"micelio-migrate"`
	From   string `json:"from"`
	To     string `json:"to"`
	Prefix string `json:"prefix"`
}

// A journal is an append-only file of records, the last one of a key counts, and
// an index of it. Nothing is synced: what the power takes is compared again.
type journal struct {
	file    *os.File
	seed    maphash.Seed
	damaged int // lines that could not be read

	mu    sync.Mutex // guards the following; held over the write of a line, which keeps lines apart
	end   int64
	index map[uint64]span // by the hash of the key; of two keys with one hash the first is forgotten
}

// A span is where a line is in the file.
type span struct {
	at  int64
	len int32
}

// openJournal opens the journal at path and makes it if it is missing. With an
// empty path it is a file without a name, which is gone at the end.
func openJournal(path string, bound header) (*journal, error) {
	bound.Format = formatVersion
	for _, text := range []*string{&bound.From, &bound.To, &bound.Prefix} {
		*text = strings.ToValidUTF8(*text, "\uFFFD") // as JSON will give it back
	}
	j := &journal{seed: maphash.MakeSeed(), index: map[uint64]span{}}
	var err error
	if path == "" {
		if j.file, err = os.CreateTemp("", "micelio-migrate-*"); err == nil {
			err = os.Remove(j.file.Name())
		}
	} else {
		j.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // it holds all names of the source
	}
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	if err = j.load(bound); err != nil {
		j.file.Close()
		return nil, fmt.Errorf("journal %s: %w", j.file.Name(), err)
	}
	return j, nil
}

func (j *journal) close() { j.file.Close() }

var (
	errBusy       = errors.New("another migration is writing it")
	errNoJournal  = errors.New("this is no journal of a migration: name another file")
	errOtherPlace = errors.New("it belongs to another migration")
)

// load reads what is there. The lock goes with the file's descriptor, so it ends
// with the process, however that ends.
func (j *journal) load(bound header) error {
	if err := syscall.Flock(int(j.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errBusy
	}
	first, err := seal(bound)
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(j.file, maxLine)
	line, err := readLine(r)
	switch {
	case err != nil && err != io.EOF:
		return err
	case len(line) == 0 || err == io.EOF && strings.HasPrefix(string(first), string(line)):
		return j.write(first) // new, or killed while it was
	}
	var h header
	if err := unseal(line, &h); err != nil || h.Format == 0 {
		return errNoJournal
	}
	if h.Format != bound.Format {
		return fmt.Errorf("%w (format %d)", errNoJournal, h.Format)
	}
	if h != bound {
		return fmt.Errorf("%w, of %s to %s with the prefix %q: name another file", errOtherPlace, h.From, h.To, h.Prefix)
	}
	j.end = int64(len(line))
	return j.read(r)
}

// read indexes the records. A torn last line gets its end, so that the next one
// begins a line of its own.
func (j *journal) read(r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if err != nil && err != io.EOF {
			return err
		}
		at := j.end
		j.end += int64(len(line))
		if err == io.EOF {
			if len(line) == 0 {
				return nil
			}
			j.damaged++
			return j.write([]byte("\n"))
		}
		rec, e := parseRecord(line)
		if e != nil {
			j.damaged++
			continue
		}
		j.index[maphash.String(j.seed, string(rec.Key))] = span{at, int32(len(line))}
	}
}

// readLine returns a line with its end; the last one, which has none, with
// io.EOF. A line that is too long comes in pieces, of which none is a record.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		err = nil
	}
	return line, err
}

// write puts a line behind the last one. After an error the next line is written
// to the same place.
func (j *journal) write(line []byte) error {
	if _, err := j.file.WriteAt(line, j.end); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	j.end += int64(len(line))
	return nil
}

// add appends a record. Records whose line would be too long are left out.
func (j *journal) add(rec record) error {
	line, err := rec.line()
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if len(line) > maxLine {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.end
	if err := j.write(line); err != nil {
		return err
	}
	j.index[maphash.String(j.seed, string(rec.Key))] = span{at, int32(len(line))}
	return nil
}

// find returns the last record of a key.
func (j *journal) find(key object.Key) (record, bool) {
	j.mu.Lock()
	s, found := j.index[maphash.String(j.seed, string(key))]
	j.mu.Unlock()
	if !found {
		return record{}, false
	}
	line := make([]byte, s.len)
	if _, err := j.file.ReadAt(line, s.at); err != nil {
		return record{}, false
	}
	rec, err := parseRecord(line)
	return rec, err == nil && rec.Key == key
}
