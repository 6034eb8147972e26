package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// A tally is what a load brought.
type tally struct {
	requests int64
	failed   int64            // not 200, or cut
	tiers    map[string]int64 // answers by X-Cache
	first    error            // the first failure
}

// load reads a path n times from each address, over so many connections to each,
// one request after the other on each of them.
func load(addrs []string, path string, n int64, conns int) *tally {
	var mu sync.Mutex
	sum := &tally{tiers: map[string]int64{}}
	var clients sync.WaitGroup
	for _, addr := range addrs {
		var left atomic.Int64
		left.Store(n)
		for range conns {
			clients.Go(func() {
				one := &tally{tiers: map[string]int64{}}
				if err := one.read(addr, path, &left); err != nil {
					one.failed, one.first = one.failed+1, err
				}
				mu.Lock()
				defer mu.Unlock()
				sum.add(one)
			})
		}
	}
	clients.Wait()
	return sum
}

func (t *tally) add(o *tally) {
	t.requests += o.requests
	t.failed += o.failed
	if t.first == nil {
		t.first = o.first
	}
	for tier, n := range o.tiers {
		t.tiers[tier] += n
	}
}

// read is one connection. It does the least that a client has to: what it takes
// of the machine the nodes do not have.
func (t *tally) read(addr, path string, left *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, addr)
	in := bufio.NewReaderSize(conn, 16<<10)
	for left.Add(-1) >= 0 {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		tier, err := answer(in)
		if err != nil {
			return err
		}
		t.requests++
		t.tiers[tier]++
	}
	return nil
}

// answer reads one answer and returns its X-Cache.
func answer(in *bufio.Reader) (tier string, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return "", fmt.Errorf("answer %q", line)
	}
	length := int64(-1)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return "", err
			}
		} else if value, ok := bytes.CutPrefix(line, []byte("X-Cache: ")); ok {
			tier = string(value)
		}
	}
	if length < 0 {
		return "", fmt.Errorf("an answer without a length")
	}
	_, err = io.CopyN(io.Discard, in, length)
	return tier, err
}
