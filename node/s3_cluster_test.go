package node

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin/s3test"
)

// startOverS3 runs a cluster over a bucket of versitygw.
func startOverS3(t *testing.T, n int) ([]*running, *s3test.Server) {
	t.Helper()
	server := s3test.VersityGW(t)
	return startCluster(t, n, over(server, server.Endpoint)), server
}

// The same suite with S3 below: what a service of S3 promises is enough for
// what a cluster promises.
func TestAClusterOverS3Conforms(t *testing.T) {
	t.Parallel()
	nodes, _ := startOverS3(t, 3)
	objecttest.TestFileTree(t, parts(inTurns(nodes)))
}

// Twenty writers replace one version through three nodes, over and over. One
// gets a 200 each time, whatever it wrote is what all nodes read, and the others
// are told that they lost.
func TestOfRacingWritersThroughAClusterOverS3OneWins(t *testing.T) {
	t.Parallel()
	const rounds, writers, key = 6, 20, "projects/1/head"
	nodes, _ := startOverS3(t, 3)
	client := newClient(t)
	first, _, err := dialect(t.Context(), client, nodes[0], http.MethodPut, key, strings.NewReader("round 0"), "If-None-Match", "*")
	if err != nil || first.StatusCode != http.StatusOK {
		t.Fatalf("%+v, %v", first, err)
	}
	etag := first.Header.Get("ETag")
	for round := 1; round <= rounds; round++ {
		var mu sync.Mutex
		statuses, winner, next := map[int]int{}, "", ""
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				body := fmt.Sprintf("round %d, writer %d", round, w)
				resp, said, err := dialect(context.Background(), client, nodes[w%3], http.MethodPut, key, strings.NewReader(body), "If-Match", etag)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				statuses[resp.StatusCode]++
				switch resp.StatusCode {
				case http.StatusOK:
					winner, next = body, resp.Header.Get("ETag")
				case http.StatusPreconditionFailed, http.StatusConflict:
				default:
					t.Errorf("writer %d: %s: %s", w, resp.Status, said)
				}
			})
		}
		all.Wait()
		lost := statuses[http.StatusPreconditionFailed] + statuses[http.StatusConflict]
		if statuses[http.StatusOK] != 1 || lost != writers-1 {
			t.Fatalf("round %d: answers %v, want one 200 and %d of 412 or 409", round, statuses, writers-1)
		}
		for _, n := range nodes {
			resp, got, err := dialect(t.Context(), client, n, http.MethodGet, key, nil)
			if err != nil || string(got) != winner || resp.Header.Get("ETag") != next {
				t.Fatalf("round %d through %s: %q, %v; want %q with ETag %s", round, n.ID(), got, err, winner, next)
			}
		}
		etag = next
	}
}

// Counters that many clients increment by compare and swap, each time through
// another node, lose nothing.
func TestCountersInAClusterOverS3LoseNoUpdate(t *testing.T) {
	t.Parallel()
	const counters, workers, increments = 3, 9, 8
	nodes, _ := startOverS3(t, 3)
	client := newClient(t)
	name := func(i int) string { return "sessions/count/" + strconv.Itoa(i%counters) }
	for i := range counters {
		if resp, _, err := dialect(t.Context(), client, nodes[0], http.MethodPut, name(i), strings.NewReader("0")); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", resp, err)
		}
	}
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for done, step := 0, w; done < increments && !t.Failed(); step++ {
				ok, err := increment(client, nodes[step%3], nodes[(step+1)%3], name(w))
				if err != nil {
					t.Errorf("worker %d: %v", w, err)
				}
				if ok {
					done++
				}
			}
		})
	}
	all.Wait()
	for i := range counters {
		for _, n := range nodes {
			_, got, err := dialect(t.Context(), client, n, http.MethodGet, name(i), nil)
			if want := strconv.Itoa(workers / counters * increments); err != nil || string(got) != want {
				t.Errorf("counter %d through %s: %s, %v; want %s", i, n.ID(), got, err, want)
			}
		}
	}
}

// increment reads through one node and writes through another, and reports
// whether nobody came between.
func increment(client *http.Client, from, to *running, key string) (bool, error) {
	resp, got, err := dialect(context.Background(), client, from, http.MethodGet, key, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("read: %d %.200s, %v", status(resp), got, err)
	}
	n, err := strconv.Atoi(string(got))
	if err != nil {
		return false, err
	}
	resp, got, err = dialect(context.Background(), client, to, http.MethodPut, key, strings.NewReader(strconv.Itoa(n+1)), "If-Match", resp.Header.Get("ETag"))
	switch status(resp) {
	case http.StatusOK:
		return true, nil
	case http.StatusPreconditionFailed, http.StatusConflict:
		return false, nil
	}
	return false, fmt.Errorf("write: %d %.200s, %v", status(resp), got, err)
}

// status is 0 without an answer.
func status(resp *http.Response) int {
	if resp == nil {
		return 0
	}
	return resp.StatusCode
}
