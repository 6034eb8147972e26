package s3test_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin/s3test"
)

// Who asks a service that is paused or killed must notice, and find everything as
// it was afterwards.
func TestAServiceIsPausedAndKilledAndKeepsItsObjects(t *testing.T) {
	addr := fmt.Sprintf("127.%d.%d.%d:7070", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)) // nobody else's, most likely
	server := s3test.VersityGW(t, s3test.At(addr, "env", "A=B"))
	s := openStore(t, storeConfig(t, server))
	if _, err := s.Put(t.Context(), "a", object.BytesSource([]byte("x")), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	head := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := s.Head(ctx, "a", object.HeadOptions{})
		return err
	}
	server.Pause(t)
	if err := head(); err == nil {
		t.Error("a paused service answers")
	}
	server.Resume(t)
	server.Kill()
	if err := head(); err == nil {
		t.Error("a killed service answers")
	}
	server.Restart(t)
	again := openStore(t, storeConfig(t, server)) // whose breaker knows nothing of that
	if _, err := again.Head(t.Context(), "a", object.HeadOptions{}); err != nil {
		t.Error(err)
	}
}
