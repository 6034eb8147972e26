package main

import (
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/micelio/micelio/object"
)

// A way brings an object from the disk to a connection.
type way struct {
	name   string
	buffer int // that it wants, in bytes
	send   func(to *net.TCPConn, key string, buf []byte) error
}

// ways are over an engine of ours and one of files that hold the same objects.
func ways(o *ours, f files) []way {
	var all []way
	for _, size := range []int{64 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20} {
		all = append(all, way{fmt.Sprintf("micelio: verified, through a buffer of %d KiB", size>>10), size, o.sendThrough(size)})
	}
	mapped := func(send func(to *net.TCPConn, file *os.File, p []byte) error) func(*net.TCPConn, string, []byte) error {
		return func(to *net.TCPConn, key string, _ []byte) error {
			return withFile(f.path(key), func(file *os.File, size int64) error { return sendMapped(to, file, size, send) })
		}
	}
	return append(all,
		way{"file, through a buffer of 1024 KiB", 1 << 20, func(to *net.TCPConn, key string, buf []byte) error {
			return withFile(f.path(key), func(file *os.File, size int64) error {
				return copyThrough(to, file.ReadAt, size, buf[:1<<20])
			})
		}},
		way{"file, summed up in a mapping and written from it, 1 MiB at a time", 0, mapped(
			func(to *net.TCPConn, _ *os.File, p []byte) error {
				_, err := to.Write(p)
				return err
			})},
		way{"file, summed up in a mapping, then sendfile, 1 MiB at a time", 0, mapped(
			func(to *net.TCPConn, file *os.File, p []byte) error { return sendFile(to, file, int64(len(p))) })},
		way{"file, sendfile, 1 MiB at a time", 0, func(to *net.TCPConn, key string, _ []byte) error {
			return withFile(f.path(key), func(file *os.File, size int64) error {
				for left := size; left > 0; left -= min(left, mappedPiece) {
					if err := sendFile(to, file, min(left, mappedPiece)); err != nil {
						return err
					}
				}
				return nil
			})
		}},
	)
}

// sendThrough sends an object of ours as the gateway does, through a buffer of
// size bytes.
func (o *ours) sendThrough(size int) func(*net.TCPConn, string, []byte) error {
	return func(to *net.TCPConn, key string, buf []byte) error {
		s, ok := o.Log.Get(object.Key(key))
		if !ok {
			return os.ErrNotExist
		}
		defer s.Close()
		return copyThrough(to, s.ReadAt, s.Info().Size, buf[:size])
	}
}

func withFile(name string, do func(file *os.File, size int64) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return do(file, info.Size())
}

// writePiece is the most that is written at once: a client has its time for
// each piece (gateway.StallTimeout).
const writePiece = 256 << 10

func copyThrough(to io.Writer, readAt func(p []byte, off int64) (int, error), size int64, buf []byte) error {
	for at := int64(0); at < size; {
		n, err := readAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && (err != io.EOF || int64(n) < size-at) {
			return err
		}
		for p := buf[:n]; len(p) > 0; p = p[min(len(p), writePiece):] {
			if _, err := to.Write(p[:min(len(p), writePiece)]); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	return nil
}

// mappedPiece is how much is summed up and sent at once where nothing is copied,
// and blockSize what has a checksum of its own, in bytes.
const (
	mappedPiece = 1 << 20
	blockSize   = 64 << 10
)

// sendMapped sums up a file where it lies in the page cache, and sends each piece
// after that. The sums are compared with nothing, which would cost nothing.
func sendMapped(to *net.TCPConn, file *os.File, size int64, send func(to *net.TCPConn, file *os.File, p []byte) error) error {
	b, err := syscall.Mmap(int(file.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	defer syscall.Munmap(b)
	table := crc32.MakeTable(crc32.Castagnoli)
	for at := int64(0); at < size; at += mappedPiece {
		p := b[at:min(at+mappedPiece, size)]
		for q := p; len(q) > 0; q = q[min(len(q), blockSize):] {
			block := q[:min(len(q), blockSize)]
			fetch(block)
			crc32.Checksum(block, table)
		}
		if err := send(to, file, p); err != nil {
			return err
		}
	}
	return nil
}

// fetch brings a block from memory into the processor's cache. A checksum reads
// in three places at once, which memory is half as fast at.
//
//go:noinline
func fetch(block []byte) (sum byte) {
	const line = 64
	for i := 0; i < len(block); i += line {
		sum += block[i]
	}
	return sum
}

// sendFile sends the next n bytes of a file without a copy.
func sendFile(to *net.TCPConn, file *os.File, n int64) error {
	sent, err := to.ReadFrom(&io.LimitedReader{R: file, N: n})
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}
