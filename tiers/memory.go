package tiers

import (
	"io"
	"time"

	"github.com/micelio/micelio/object"
)

// info describes the object of an entry, as the RAM tier answers it.
func (e *Entry) info() object.Info {
	info := e.Info
	info.Tier, info.Age = object.TierRAM, max(time.Since(e.Born), 0)
	return info
}

// open makes an Object of the part of an entry that opt selects.
func (e *Entry) open(opt object.GetOptions) (*object.Object, error) {
	info := e.info()
	offset, length, err := selected(info, opt)
	if err != nil {
		return nil, err
	}
	return newMemoryObject(info, e.Bytes, offset, length), nil
}

// A memoryObject is an answer from memory: an Object and its Body in one
// allocation, which is all that a hit costs.
type memoryObject struct {
	object.Object
	body memoryBody
}

func newMemoryObject(info object.Info, whole []byte, offset, length int64) *object.Object {
	m := &memoryObject{
		Object: object.Object{Info: info, Offset: offset, Length: length},
		body:   memoryBody{whole[offset : offset+length]},
	}
	m.Body = &m.body
	return &m.Object
}

// A memoryBody is bytes in memory on their way to a reader.
type memoryBody struct{ bytes []byte }

func (m *memoryBody) Read(p []byte) (int, error) {
	if len(m.bytes) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.bytes)
	m.bytes = m.bytes[n:]
	return n, nil
}

// WriteTo writes all that is left in one call, without a copy.
func (m *memoryBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.bytes)
	m.bytes = m.bytes[n:]
	return int64(n), err
}

func (m *memoryBody) Close() error { return nil }
