package tiers

import (
	"time"

	"github.com/micelio/micelio/object"
)

// GetAtOnce returns the bytes that a Get of all of key is answered with, and sets
// info, which is zero, to what it says of them, if that is in memory and needs no
// question to anybody: the key is of a class that is never validated, and the RAM
// tier has it. Nobody may change the bytes. It neither waits nor allocates, and keeps
// nothing of the key, which need not have been checked. If it reports false it has
// counted nothing, and the key has to be asked for with Get.
func (c *Cache) GetAtOnce(key object.Key, info *object.Info) (bytes []byte, ok bool) {
	bytes, born, ok := c.ram.GetLasting(key, info)
	if ok {
		info.Tier, info.Age = object.TierRAM, max(time.Since(born), 0)
	}
	return bytes, ok
}
