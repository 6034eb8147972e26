package pace_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/pace"
)

func TestCloseWaitsForADoThatIsUnderWay(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := pace.NewHedger(pace.NewBudget(1, 1), func() (time.Duration, bool) { return time.Hour, known })
			returned := false
			go func() {
				_, _, _ = pace.Do(t.Context(), h, func(context.Context, int) (int, error) {
					time.Sleep(time.Minute)
					return 0, errors.New("the request failed")
				}, func(int) {})
				returned = true
			}()
			synctest.Wait()
			h.Close()
			if synctest.Wait(); !returned {
				t.Errorf("latency known: %v: Close returned while a Do was under way", known)
			}
		})
	}
}

// A node that closes may still get requests.
func TestCloseMayRunBesideDo(t *testing.T) {
	h := pace.NewHedger(pace.NewBudget(1, 1), func() (time.Duration, bool) { return time.Minute, true })
	var callers sync.WaitGroup
	for c := range 6 {
		callers.Go(func() {
			for range 30_000 {
				if c < 2 {
					h.Close()
					continue
				}
				_, release, err := pace.Do(t.Context(), h, func(context.Context, int) (int, error) { return 0, nil }, func(int) {})
				if err != nil {
					t.Error(err)
					return
				}
				release()
			}
		})
	}
	callers.Wait()
}

// The reason why the winner's context outlives Do: with net/http it governs the
// body. The body comes after Do has returned, from a server that holds it back.
func TestABodyIsReadAfterDo(t *testing.T) {
	const size = 1 << 20
	first := make(chan struct{}) // closed when the first request is there
	loser := make(chan struct{}) // closed when the server sees it end
	held := make(chan struct{})  // closed when Do has returned
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Attempt") == "0" {
			close(first)
			<-r.Context().Done()
			close(loser)
			return
		}
		<-first
		w.WriteHeader(http.StatusOK)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-held
		_, _ = io.WriteString(w, strings.Repeat("x", size)) // the reader says if it failed
	}))
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()

	h := pace.NewHedger(pace.NewBudget(1, 1), func() (time.Duration, bool) { return time.Millisecond, true })
	resp, release, err := pace.Do(t.Context(), h, func(ctx context.Context, attempt int) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Attempt", strconv.Itoa(attempt))
		return client.Do(req)
	}, func(late *http.Response) { late.Body.Close() })
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	defer resp.Body.Close()
	h.Close()
	<-loser // nobody pays for the loser any more
	close(held)
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("read %d of %d bytes of the winner: %v", n, size, err)
	}
	if s := h.Stats(); s.Sent != 1 || s.Won != 1 {
		t.Errorf("stats are %+v, want a twin that won", s)
	}
}
