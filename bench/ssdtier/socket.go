package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/report"
	"github.com/micelio/micelio/object"
)

// A way brings an object from the disk to a connection.
type way struct {
	name string
	send func(to net.Conn, key string, buf []byte) error
}

// ways are over an engine of ours and one of files that hold the same objects.
func ways(o *ours, f files) []way {
	return []way{
		{"micelio: verified, through a buffer of 256 KiB", func(to net.Conn, key string, buf []byte) error {
			s, ok := o.Log.Get(object.Key(key))
			if !ok {
				return os.ErrNotExist
			}
			defer s.Close()
			return copyThrough(to, s.ReadAt, s.Info().Size, buf)
		}},
		{"file, through a buffer of 256 KiB", func(to net.Conn, key string, buf []byte) error {
			return withFile(f.path(key), func(file *os.File, size int64) error {
				return copyThrough(to, file.ReadAt, size, buf)
			})
		}},
		{"file, sendfile", func(to net.Conn, key string, _ []byte) error {
			return withFile(f.path(key), func(file *os.File, _ int64) error {
				_, err := to.(*net.TCPConn).ReadFrom(file)
				return err
			})
		}},
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

func copyThrough(to io.Writer, readAt func(p []byte, off int64) (int, error), size int64, buf []byte) error {
	for at := int64(0); at < size; {
		n, err := readAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && (err != io.EOF || int64(n) < size-at) {
			return err
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// connection returns the two ends of one.
func connection() (server, client net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if server, err = l.Accept(); err != nil {
		client.Close()
	}
	return server, client, err
}

// serve sends objects n times over a connection whose other end reads them.
func (w way) serve(l load, n int) (cost measure.Cost, err error) {
	server, client, err := connection()
	if err != nil {
		return cost, err
	}
	defer client.Close()
	defer server.Close()
	total, buf := l.size*int64(n), make([]byte, readSize)
	read := make(chan error, 1)
	cost = measure.Of(int64(n), total, func() {
		go func() {
			sink := make([]byte, readSize)
			var err error
			for got := int64(0); got < total && err == nil; {
				var m int
				m, err = client.Read(sink)
				got += int64(m)
			}
			read <- err
		}()
		for i := range n {
			if err = w.send(server, key(i%l.objects), buf); err != nil {
				server.Close() // which ends the reader
				break
			}
		}
		err = errors.Join(err, <-read)
	})
	return cost, err
}

// compareServing returns the table of ways to a connection.
func compareServing(dir string, loads []load, rounds int) (string, error) {
	table := report.Table{
		Title:   "**To a TCP connection** on this machine, the reader's CPU time included, all from the page cache:",
		Columns: []string{"object", "how", "CPU µs", "CPU s/GiB", "MB/s"},
	}
	for _, l := range loads {
		if l.readers > 1 {
			continue
		}
		rows, err := l.serving(dir, rounds)
		if err != nil {
			return "", err
		}
		table.Rows = append(table.Rows, rows...)
	}
	return table.String(), nil
}

func (l load) serving(dir string, rounds int) (rows [][]string, err error) {
	dir, err = os.MkdirTemp(dir, "serve-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bytes := content()
	e, err := openOurs(dir+"/log", bytes)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	f := files{dir + "/files", bytes, false}
	for i := range l.objects {
		if err := errors.Join(e.Put(key(i), l.size), f.Put(key(i), l.size)); err != nil {
			return nil, err
		}
	}
	all := ways(e.(*ours), f)
	costs := make([][]measure.Cost, len(all))
	for range rounds {
		for i, w := range all {
			c, err := w.serve(l, 2*l.objects)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			costs[i] = append(costs[i], c)
		}
	}
	for i, w := range all {
		rows = append(rows, []string{
			l.title, w.name, report.Number(measure.Median(costs[i], measure.Cost.PerOp) / 1e3),
			report.Number(measure.Median(costs[i], measure.Cost.PerGiB)), report.Number(measure.Median(costs[i], measure.Cost.MBps)),
		})
	}
	return rows, nil
}
