package seglog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	manifestName  = "manifest"
	manifestMagic = "MICLOG02"
)

// load finds out what an earlier process left, and builds the index.
func (s *Store) load() error {
	names, err := s.fs.Names()
	if err != nil {
		return err
	}
	fresh, err := s.loadManifest(names)
	if err != nil {
		return err
	}
	count := int((s.capacity - page) / s.segSize)
	s.maxBatch = min(maxBatch, s.segSize/2)
	s.reserve = 2
	var lived []*segment
	if fresh {
		for _, name := range names {
			if strings.HasPrefix(name, "segment-") {
				if err := s.fs.Remove(name); err != nil {
					return err
				}
			}
		}
	} else {
		if lived, err = s.openSegments(names); err != nil {
			return err
		}
	}
	s.segs = lived // for Close, should the next step fail
	if lived, err = s.shrink(lived, count); err != nil {
		return err
	}
	s.number(lived, count)
	s.index(lived)
	return nil
}

// loadManifest reads the geometry of the store, or decides it. It reports
// whether the store begins anew.
func (s *Store) loadManifest(names []string) (fresh bool, err error) {
	f, err := s.fs.Open(manifestName)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if slices.Contains(names, manifestName) {
		b := make([]byte, page)
		switch _, err := f.ReadAt(b, 0); {
		case err == nil && s.parseManifest(b):
			return false, nil
		case err != nil && err != io.EOF:
			return false, err // the disk fails: that is no reason to begin anew
		}
		if !intactManifest(b) {
			s.count.damaged.Add(1)
		}
		s.log.Warn("the cache on disk is of another version or size, or damaged: it begins anew")
	}
	s.id = randomWord()
	s.segSize, s.chunkSize = geometry(s.capacity)
	b := make([]byte, page)
	le := binary.LittleEndian
	copy(b, manifestMagic)
	le.PutUint64(b[8:], s.id)
	le.PutUint64(b[16:], uint64(s.segSize))
	le.PutUint64(b[24:], uint64(s.chunkSize))
	le.PutUint32(b[32:], checksum(b[:32]))
	if err := f.Allocate(page); err != nil {
		return false, err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return false, err
	}
	return true, f.Sync()
}

// intactManifest reports whether a manifest is what some process wrote.
func intactManifest(b []byte) bool {
	return binary.LittleEndian.Uint32(b[32:]) == checksum(b[:32])
}

// parseManifest reports whether a manifest is one that this store can live
// with: sizes that it could have chosen, and not too few or many segments for
// the present capacity.
func (s *Store) parseManifest(b []byte) bool {
	le := binary.LittleEndian
	if string(b[:8]) != manifestMagic || !intactManifest(b) {
		return false
	}
	segSize, chunkSize := int64(le.Uint64(b[16:])), int64(le.Uint64(b[24:]))
	if segSize < minSegment || segSize%page != 0 || segSize > min(s.capacity/minSegments, hugeSegment) {
		return false
	}
	if n := s.capacity / segSize; n < minSegments || n > 2*maxSegments {
		return false
	}
	if chunkSize < BlockSize || chunkSize > maxChunk || chunkSize%BlockSize != 0 || chunkSize > segSize/8 {
		return false
	}
	if segSize*minSegments+page > s.capacity {
		return false
	}
	s.id, s.segSize, s.chunkSize = le.Uint64(b[8:]), segSize, chunkSize
	return true
}

// openSegments opens the segments that have a life of this store, in the order
// in which they were begun. Others are left to be prepared again.
func (s *Store) openSegments(names []string) (lived []*segment, err error) {
	defer func() {
		for _, seg := range lived {
			if err != nil {
				seg.file.Close()
			}
		}
	}()
	for _, name := range names {
		var n uint32
		if _, err := fmt.Sscanf(name, "segment-%05d", &n); err != nil || name != segmentName(n) || n >= slotSegments {
			continue
		}
		seg, err := s.openSegment(n)
		switch {
		case errors.Is(err, errErased):
			continue // it had been emptied
		case errors.Is(err, ErrDamaged):
			s.count.damaged.Add(1)
			s.log.Warn("a segment of the cache begins anew", "file", name, "err", err)
			if err := s.fs.Remove(name); err != nil {
				return lived, err
			}
			continue
		case err != nil: // the disk fails: that is no reason to forget anything
			return lived, err
		}
		lived = append(lived, seg)
	}
	slices.SortFunc(lived, func(a, b *segment) int { return cmp.Compare(a.seq, b.seq) })
	return lived, nil
}

var errErased = errors.New("seglog: erased")

func (s *Store) openSegment(n uint32) (*segment, error) {
	f, err := s.fs.Open(segmentName(n))
	if err != nil {
		return nil, err
	}
	h, err := func() (h segmentHeader, err error) {
		size, err := f.Size()
		if err != nil {
			return h, err
		}
		b := make([]byte, page)
		if size != s.segSize {
			return h, fmt.Errorf("%w: size of %d bytes", ErrDamaged, size)
		}
		if _, err := f.ReadAt(b, 0); err != nil {
			return h, err
		}
		if !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
			return h, errErased
		}
		if h, err = parseSegmentHeader(b); err != nil {
			return h, err
		}
		if h.store != s.id || h.number != n || h.size != s.segSize || h.nonce == 0 {
			return h, fmt.Errorf("%w: another store's or number's", ErrDamaged)
		}
		return h, nil
	}()
	if err != nil {
		f.Close()
		return nil, err
	}
	seg := &segment{n: n, file: f, seq: h.seq, head: s.segSize}
	seg.life.Store(h.nonce)
	return seg, nil
}

// shrink removes the oldest segments of a store that has become smaller.
func (s *Store) shrink(lived []*segment, count int) ([]*segment, error) {
	for len(lived) > count {
		seg := lived[0]
		seg.file.Close()
		if err := s.fs.Remove(segmentName(seg.n)); err != nil {
			return lived, err
		}
		lived = lived[1:]
	}
	return lived, nil
}

// number gives numbers to the segments that there are to be besides.
func (s *Store) number(lived []*segment, count int) {
	last := count
	for _, seg := range lived {
		last = max(last, int(seg.n)+1)
	}
	s.segs = make([]*segment, last)
	for _, seg := range lived {
		s.segs[seg.n] = seg
		s.seq = max(s.seq, seg.seq)
		s.countSpace(seg, true)
	}
	missing := count - len(lived)
	for n := 0; missing > 0; n++ {
		if s.segs[n] == nil {
			s.segs[n] = &segment{n: uint32(n)}
			s.unborn = append(s.unborn, s.segs[n])
			missing--
		}
	}
}

// index reads what is in the segments, the oldest first.
func (s *Store) index(lived []*segment) {
	buried := make(map[ID]uint64)
	s.makeRoom(lived)
	for _, seg := range lived {
		entries, err := readFooter(seg.file, seg.life.Load(), s.segSize)
		seg.sealed = err == nil
		if err != nil {
			entries = s.search(seg)
			seg.entries = entries
		}
		if len(entries) == 0 {
			// Nothing is lost by giving it a new life when one is needed. It
			// keeps its number and its space.
			s.unborn = append([]*segment{seg}, s.unborn...)
			continue
		}
		if seg == lived[len(lived)-1] {
			s.goOn(seg, entries)
		}
		if s.active == nil {
			s.filled = append(s.filled, seg)
		}
		for i := range entries {
			s.learn(seg, &entries[i], buried)
		}
	}
	for id, lsn := range buried {
		if sh := s.shard(id); sh.lsnLocked(id) <= lsn {
			sh.forgetLocked(id)
		}
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.building = make(map[uint64]*large) // what is left are chunks whose objects were never finished
		sh.inline.fit()
	}
}

// makeRoom gives the index its size at once: to grow it costs as much as to fill
// it.
func (s *Store) makeRoom(lived []*segment) {
	records := 0
	tail := make([]byte, tailSize)
	for _, seg := range lived {
		if _, err := seg.file.ReadAt(tail, s.segSize-tailSize); err != nil {
			continue // whoever needs it will say so
		}
		if n, _, err := parseTail(tail, seg.life.Load(), s.segSize); err == nil {
			records += n
		}
	}
	for i := range s.shards {
		s.shards[i].inline.reserve(records / shardCount)
	}
}

// goOn makes the segment that was begun last the active one, if it has room:
// a process that is restarted often would otherwise use up a segment each time.
// Its footer, which will not have what is appended, is wiped out first.
func (s *Store) goOn(seg *segment, entries []entry) {
	head := int64(page)
	for i := range entries {
		head = max(head, int64(entries[i].off)*unit+int64(entries[i].len))
	}
	if head+footerLen(len(entries)) > s.segSize/2 {
		return
	}
	if seg.sealed {
		_, err := seg.file.WriteAt(make([]byte, tailSize), s.segSize-tailSize)
		if err = cmp.Or(err, seg.file.Sync()); err != nil {
			s.count.errors.Add(1)
			return
		}
	}
	seg.entries, seg.sealed = entries, false
	seg.head, seg.promised = head, len(entries)
	s.active = seg
}

// learn puts a record into the index, unless a later one is there.
func (s *Store) learn(seg *segment, e *entry, buried map[ID]uint64) {
	s.lsn.Store(max(s.lsn.Load(), e.lsn, e.gen))
	sh := s.shard(e.id)
	l := loc{lsn: e.lsn, seg: seg.n, off: e.off, len: e.len}
	switch e.kind {
	case kindTombstone:
		buried[e.id] = max(buried[e.id], e.lsn)
	case kindInline:
		if e.lsn >= sh.lsnLocked(e.id) {
			sh.setLocked(e.id, l)
		}
	case kindDesc:
		lg := s.learnLarge(sh, e)
		if lg != nil && e.lsn >= sh.lsnLocked(e.id) {
			sh.forgetLocked(e.id)
			lg.desc, lg.dead = l, false
			sh.large[e.id] = lg
		}
	case kindChunk:
		if lg := s.learnLarge(sh, e); lg != nil && int(e.chunk) < len(lg.chunks) {
			lg.setChunk(int(e.chunk), chunkLoc{seg: seg.n, off: e.off})
		}
	}
}

// learnLarge returns the large object that an entry belongs to, nil if it makes
// no sense. All are kept by their gen until everything has been read, because
// chunks come before and after their description.
func (s *Store) learnLarge(sh *shard, e *entry) *large {
	lg := sh.building[e.gen]
	if lg == nil {
		if e.size == 0 || int64(e.size) > s.capacity {
			return nil
		}
		lg = newLarge(e.id, e.gen, int64(e.size), s.chunkSize)
		sh.building[e.gen] = lg
	}
	if lg.id != e.id || lg.size != int64(e.size) {
		return nil
	}
	return lg
}

// search finds the records of a segment without a footer. It tries every place
// where one can begin: what a write left unfinished has no length to skip.
func (s *Store) search(seg *segment) []entry {
	var entries []entry
	nonce := seg.life.Load()
	window := make([]byte, 1<<20)
	var start, n int64 // what of the segment is in window
	for off := int64(page); off+headerSize+tailSize <= s.segSize; {
		if off < start || off+headerSize > start+n {
			start = off
			n = min(int64(len(window)), s.segSize-off)
			if _, err := seg.file.ReadAt(window[:n], off); err != nil {
				s.count.errors.Add(1)
				off += roundUp(n, unit) // what is behind may be tombstones
				continue
			}
		}
		if binary.LittleEndian.Uint32(window[off-start:]) != recordMagic {
			off += unit
			continue
		}
		h, err := parseHeader(window[off-start:n], nonce)
		if err == nil && off+h.recordLen() <= s.segSize {
			e := entryOf(&h, off)
			entries = append(entries, e)
			off += int64(e.len)
			continue
		}
		off += unit
	}
	return entries
}
