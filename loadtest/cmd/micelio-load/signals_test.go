package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// hangUp sends this process the signal of a terminal that is closed.
func hangUp(t *testing.T) {
	t.Helper()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("SIGHUP is ignored")
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// A terminal that was closed killed the program: no result, and nodes that stayed frozen.
func TestAClosedTerminalEndsARunCleanly(t *testing.T) {
	ctx, cancel := untilSignal()
	defer cancel()
	keep, stop := secondSignal()
	defer stop()
	hangUp(t)
	<-ctx.Done()
	select {
	case <-keep:
		t.Error("the first signal is taken for the second")
	default:
	}
	hangUp(t) // which would end the test
	<-keep
}
