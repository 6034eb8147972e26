package tiers

import "github.com/micelio/micelio/object"

// Sizes that tests are cut to.
const (
	ChunkSize   = chunkSize
	WindowSize  = windowChunks * chunkSize
	FinishSmall = finishSmall
	FarAhead    = farAhead
	DiskFaults  = diskFaults
	DiskUnit    = diskUnit
)

// MemoryFree reports whether no fill and no write holds memory.
func (c *Cache) MemoryFree() bool {
	if !c.memory.TryAcquire(c.memorySize) {
		return false
	}
	c.memory.Release(c.memorySize)
	return true
}

// WriteRecords returns how many keys are being written.
func (c *Cache) WriteRecords() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.writes)
}

// EncodeCopy returns the file of a copy of body as the disk tier writes it,
// described by info, and its place below the tier's directory.
func EncodeCopy(info object.Info, body []byte) (file []byte, path string) {
	sums := make([]uint32, 0, blocks(int64(len(body))))
	for at := 0; at < len(body); at += BlockSize {
		sums = append(sums, checksum(body[at:min(at+BlockSize, len(body))]))
	}
	info.Size = int64(len(body))
	trailer, err := encodeTrailer(newCopyMeta(info, info.Modified), sums)
	if err != nil {
		panic(err)
	}
	id := idOf(info.Key)
	return append(append([]byte(nil), body...), trailer...), id.dir() + id.String() + ".crafted"
}
