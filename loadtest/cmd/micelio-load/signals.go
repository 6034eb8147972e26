package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// endings are the signals that end a run. That of a terminal that is closed is not
// among them if whoever started the program wants it to go on (nohup).
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// untilSignal returns a context that ends with the first signal, for a run to end
// cleanly. The second ends the program, unless somebody waits for it.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(context.Background(), endings()...)
	context.AfterFunc(ctx, cancel)
	return ctx, cancel
}

// secondSignal returns a channel that is closed with the second signal, which then
// does not end the program: it would leave processes frozen. Call stop to give the
// signals back.
func secondSignal() (second <-chan struct{}, stop func()) {
	signals, closed := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, endings()...)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // until stop, which waits for it
		defer close(ended)
		for range 2 {
			select {
			case <-signals:
			case <-done:
				return
			}
		}
		close(closed)
	}()
	return closed, func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}
