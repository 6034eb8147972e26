package peer

import (
	"fmt"
	"io"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// BenchmarkGet measures client and handler together, in one process.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{4 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			c := clientOf(b, new(objecttest.Memory))
			put(b, c, "artifacts/key", string(make([]byte, size)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				buffer := make([]byte, bufferSize)
				for pb.Next() {
					obj, err := c.Get(b.Context(), "artifacts/key", object.GetOptions{})
					if err != nil {
						b.Error(err)
						return
					}
					n, err := io.CopyBuffer(discard{}, obj.Body, buffer)
					if obj.Body.Close(); err != nil || n != int64(size) {
						b.Errorf("%d bytes, %v", n, err)
						return
					}
				}
			})
		})
	}
}

// discard is io.Discard without its ReadFrom, so that the buffer is the
// benchmark's.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkInfo(b *testing.B) {
	info := fullInfo()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encodeInfo(info)
		}
	})
	line := string(encodeInfo(info))
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeInfo(line); err != nil {
				b.Fatal(err)
			}
		}
	})
}
