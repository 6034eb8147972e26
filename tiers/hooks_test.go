package tiers_test

import (
	"crypto/sha256"
	"sync/atomic"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

func sum(b []byte) object.Digest { return sha256.Sum256(b) }

// A hookedSSD is a disk tier that tests reach into at the moments that matter.
type hookedSSD struct {
	tiers.SSD
	noFiles  atomic.Bool        // nothing can be opened
	onWrite  func([]byte) error // instead of a failing disk
	onCreate func()
	onRead   func() // before the bytes of a copy are read
}

func (h *hookedSSD) Get(key object.Key) (tiers.Stored, bool) {
	if h.noFiles.Load() {
		return nil, false
	}
	s, ok := h.SSD.Get(key)
	if ok && h.onRead != nil {
		s = &hookedStored{s, h.onRead}
	}
	return s, ok
}

type hookedStored struct {
	tiers.Stored
	onRead func()
}

func (h *hookedStored) ReadAt(p []byte, off int64) (int, error) {
	h.onRead()
	return h.Stored.ReadAt(p, off)
}

func (h *hookedSSD) Put(e *tiers.Entry) bool {
	if h.noFiles.Load() {
		return false
	}
	if h.onCreate != nil {
		h.onCreate()
	}
	if h.onWrite != nil && h.onWrite(e.Bytes) != nil {
		return false
	}
	return h.SSD.Put(e)
}

func (h *hookedSSD) Create(info object.Info) (tiers.Spool, bool) {
	if h.noFiles.Load() {
		return nil, false
	}
	if h.onCreate != nil {
		h.onCreate()
	}
	s, ok := h.SSD.Create(info)
	if ok && h.onWrite != nil {
		s = &hookedSpool{s, h.onWrite}
	}
	return s, ok
}

type hookedSpool struct {
	tiers.Spool
	onWrite func([]byte) error
}

func (h *hookedSpool) Write(p []byte) error {
	if err := h.onWrite(p); err != nil {
		return err
	}
	return h.Spool.Write(p)
}

// A hookedRAM is a memory tier with a moment before each Set.
type hookedRAM struct {
	tiers.RAM
	onSet func()
}

func (h *hookedRAM) Set(e *tiers.Entry) {
	if h.onSet != nil {
		h.onSet()
	}
	h.RAM.Set(e)
}
