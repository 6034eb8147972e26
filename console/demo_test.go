package console

import (
	"context"
	"flag"
	"net"
	"net/http"
	"os"
	"os/signal"
	"testing"
	"time"
)

var demo = flag.String("demo", "", "serve the page of a made-up node on this address until interrupted, for those who draw it")

// TestServeDemo is no test: go test ./console -run TestServeDemo -timeout 0 -demo 127.0.0.1:8099
func TestServeDemo(t *testing.T) {
	if *demo == "" {
		t.Skip("serves with -demo only")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", *demo)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := played(time.Hour)
	server := &http.Server{Handler: c}
	go func() {
		c.Run(ctx)
		_ = server.Close()
	}()
	t.Logf("http://%s/", listener.Addr())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		t.Error(err)
	}
}
