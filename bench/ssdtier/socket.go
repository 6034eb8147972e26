package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/report"
)

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

// A sending is what it took to send objects: all of the process, and of that
// the thread that sends.
type sending struct {
	measure.Cost
	sender time.Duration
}

// senderPerGiB returns the sender's processor time for a GiB, in seconds.
func (s sending) senderPerGiB() float64 { return s.sender.Seconds() / float64(s.Bytes) * (1 << 30) }

// serve sends objects n times over a connection whose other end reads them.
func (w way) serve(l load, n int) (cost sending, err error) {
	server, client, err := connection()
	if err != nil {
		return cost, err
	}
	defer client.Close()
	defer server.Close()
	total, buf := l.size*int64(n), make([]byte, max(w.buffer, readSize))
	read := make(chan error, 1)
	cost.Cost = measure.Of(int64(n), total, func() {
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
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before := threadTime()
		for i := range n {
			if err = w.send(server.(*net.TCPConn), key(i%l.objects), buf); err != nil {
				server.Close() // which ends the reader
				break
			}
		}
		cost.sender = threadTime() - before
		err = errors.Join(err, <-read)
	})
	return cost, err
}

// threadTime returns the processor time of this thread so far.
func threadTime() time.Duration {
	const rusageThread = 1 // of Linux; syscall has no name for it
	var u syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &u); err != nil {
		panic(err) // it fails for wrong arguments only
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compareServing returns the table of ways to a connection.
func compareServing(dir string, loads []load, rounds int) (string, error) {
	table := report.Table{
		Title:   "**To a TCP connection** on this machine, all from the page cache:",
		Columns: []string{"object", "how", "sender's CPU s/GiB", "with the reader's", "CPU µs", "MB/s"},
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
	costs := make([][]sending, len(all))
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
		median := func(figure func(sending) float64) string { return report.Number(measure.Median(costs[i], figure)) }
		rows = append(rows, []string{
			l.title, w.name, median(sending.senderPerGiB),
			median(func(s sending) float64 { return s.PerGiB() }),
			median(func(s sending) float64 { return s.PerOp() / 1e3 }),
			median(func(s sending) float64 { return s.MBps() }),
		})
	}
	return rows, nil
}
