package migrate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
)

// A migration that is cut anywhere, again and again, ends with two equal trees,
// and no object that was known to be there is written again.
func TestAMigrationThatIsCutAnywhereGoesOn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) { cutAnywhere(t, seed) })
	}
}

func cutAnywhere(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	from := new(objecttest.Memory)
	randomTree(t, from, seed, 50)
	n := count(t, from)
	inner := new(objecttest.Memory)
	journal := filepath.Join(t.TempDir(), "journal")
	cfg := Config{From: from, Parallel: 1 + rnd.IntN(8), Journal: journal, FromName: "a", ToName: "b"}
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		at := 1 + rnd.Int64N(n)
		mode := rnd.IntN(4)
		to := &spy{Store: inner}
		end := func(k int64) error {
			if k < at {
				return nil
			}
			if mode == 1 {
				return object.ErrUnavailable // until it gives up
			}
			cancel()
			return context.Canceled
		}
		switch mode {
		case 0, 1:
			to.beforePut = func(k int64, _ object.Key) error { return end(k) }
		case 2:
			to.afterPut = func(k int64, _ object.Key) error { return end(k) }
		case 3:
			to.beforeGet = func(k int64, _ object.Key) error { return end(k) }
		}
		cfg.To = to
		result, err := Run(ctx, cfg)
		cancel()
		if err == nil && result.Identical(false) && mode != 3 && to.puts.Load() >= at {
			t.Errorf("seed %d: it ended well although it was cut", seed)
		}
		tear(t, journal, rnd)
	}
	last := &spy{Store: inner}
	already := count(t, inner)
	cfg.To, cfg.Parallel = last, 1
	r := migrateAll(t, cfg)
	if last.puts.Load() != n-already || r.Verified != n || r.Copied+r.Skipped != n {
		t.Errorf("seed %d: %d of %d objects were there, %d were written: %+v", seed, already, n, last.puts.Load(), r.Progress)
	}
	wantSame(t, inner, from)
}

// tear cuts some bytes off the journal, as a crash in the middle of a line does.
func tear(t *testing.T, path string, rnd *rand.Rand) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.Truncate(path, max(info.Size()-rnd.Int64N(200), 0)))
}

func TestATransientErrorIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(from, to *spy, err error){
		"get":  func(from, _ *spy, err error) { from.beforeGet = twice[object.Key](err) },
		"put":  func(_, to *spy, err error) { to.beforePut = twice[object.Key](err) },
		"back": func(_, to *spy, err error) { to.beforeGet = twice[object.Key](err) },
		"list from": func(from, _ *spy, err error) {
			from.beforeList = func(n int64) error { return twice[int](err)(n, 0) }
		},
		"list to": func(_, to *spy, err error) {
			to.beforeList = func(n int64) error { return twice[int](err)(n, 0) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				from, to := &spy{Store: memory(t, map[string]string{"a": "1", "b": "2"})}, &spy{Store: new(objecttest.Memory)}
				fail(from, to, fmt.Errorf("%w: busy", object.ErrUnavailable))
				began := time.Now()
				migrateAll(t, Config{From: from, To: to, Parallel: 1})
				if waited := time.Since(began); waited < firstPause {
					t.Errorf("it waited %v", waited)
				}
				wantSame(t, to.Store, from.Store)
			})
		})
	}
}

// twice fails the first two calls.
func twice[K any](err error) func(n int64, _ K) error {
	return func(n int64, _ K) error {
		if n <= 2 {
			return err
		}
		return nil
	}
}

func TestAnUnknownOutcomeIsSettledByComparing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := memory(t, map[string]string{"applied": "1", "lost": "2", "c": "3"})
		to := &spy{Store: new(objecttest.Memory)}
		lost := false
		to.beforePut = func(_ int64, key object.Key) error {
			if key == "lost" && !lost {
				lost = true
				return object.ErrUnknownOutcome
			}
			return nil
		}
		to.afterPut = func(_ int64, key object.Key) error {
			if key == "applied" {
				return object.ErrUnknownOutcome
			}
			return nil
		}
		r := migrateAll(t, Config{From: from, To: to, Parallel: 1})
		if to.puts.Load() != 4 || r.Copied != 3 || r.CopiedBytes != 3 || r.Skipped != 0 {
			t.Errorf("got %d puts and %+v", to.puts.Load(), r.Progress)
		}
	})
}

func TestAStoreThatSaysWhenIsAskedThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &spy{Store: new(objecttest.Memory)}
		to.beforePut = func(n int64, _ object.Key) error {
			if n == 1 {
				return &object.RetryLaterError{After: 7 * time.Second, Err: errBroken}
			}
			return nil
		}
		began := time.Now()
		migrateAll(t, Config{From: memory(t, map[string]string{"a": "1"}), To: to})
		if waited := time.Since(began); waited != 7*time.Second {
			t.Errorf("it waited %v", waited)
		}
	})
}

// Attributes that change under the same bytes are told by the time alone, and not
// believed to be what the journal has proven.
func TestAJournalDoesNotHideOtherAttributes(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"source", "destination"} {
		synctest.Test(t, func(t *testing.T) {
			inner := map[string]*objecttest.Memory{"source": memory(t, map[string]string{"k": "1", "l": "2"}), "destination": new(objecttest.Memory)}
			to := &spy{Store: versionless{inner["destination"]}}
			cfg := Config{From: versionless{inner["source"]}, To: to, Journal: filepath.Join(t.TempDir(), "journal")}
			migrateAll(t, cfg)
			read := to.gets.Load()
			migrateAll(t, cfg)
			if again := to.gets.Load() - read; again != 0 {
				t.Errorf("%s: %d objects were read again", side, again)
			}
			time.Sleep(time.Second)
			put(t, inner[side], "k", "1", object.Attrs{ContentType: "text/html"})
			r, err := Run(t.Context(), cfg)
			must(t, err)
			if len(r.Differences) != 1 || r.Differences[0].Name != "k" || r.Verified != 1 {
				t.Errorf("%s: got %v, %+v", side, r.Differences, r.Progress)
			}
		})
	}
}

func TestAnOutageEndsTheRunInsteadOfFailingEachObject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := new(objecttest.Memory)
		randomTree(t, from, 1, 400)
		to := &spy{Store: new(objecttest.Memory), beforePut: func(int64, object.Key) error { return object.ErrUnavailable }}
		r, err := Run(t.Context(), Config{From: from, To: to, Parallel: 2})
		if !errors.Is(err, errGivenUp) || !errors.Is(err, object.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if n := r.Counts[Failed]; n < patience*2 || n > patience*2+2 {
			t.Errorf("%d objects failed", n)
		}
	})
}

func TestADestinationThatCannotBeListedIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := &spy{Store: memory(t, map[string]string{"a": "1"})}
		to := &spy{Store: new(objecttest.Memory), beforeList: func(int64) error { return fmt.Errorf("%w: %w", object.ErrUnavailable, errBroken) }}
		_, err := Run(t.Context(), Config{From: from, To: to})
		if !errors.Is(err, errBroken) || to.lists.Load() != maxAttempts || from.lists.Load() != 0 {
			t.Errorf("got %v after %d and %d lists", err, to.lists.Load(), from.lists.Load())
		}
	})
}

func TestARunReportsItsPhases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all reports
		slow := func(int64, object.Key) error { time.Sleep(1500 * time.Millisecond); return nil }
		from := memory(t, map[string]string{"a": "1", "b": "22"})
		to := &spy{Store: new(objecttest.Memory), beforePut: slow, beforeGet: slow}
		r := migrateAll(t, Config{From: from, To: to, Parallel: 1, Report: all.add})
		phases := map[Phase]bool{}
		for i, p := range all.all {
			phases[p.Phase] = true
			if p.Done != (i == len(all.all)-1) {
				t.Errorf("report %d of %d: %+v", i, len(all.all), p)
			}
		}
		if last := all.all[len(all.all)-1]; last != r.Progress || !phases[Copying] || !phases[Verifying] {
			t.Errorf("got %+v, %v, want %+v", last, phases, r.Progress)
		}
	})
}

// A Run of a few thousand small objects on a fast machine had copied them before
// the first report was due, so that nobody saw it copy.
func TestAPhaseThatTakesNoTimeIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // where nothing takes time but sleep
		var all reports
		migrateAll(t, Config{From: memory(t, map[string]string{"a": "1"}), To: new(objecttest.Memory), Report: all.add})
		var phases []Phase
		for _, p := range all.all {
			phases = append(phases, p.Phase)
		}
		if want := []Phase{Listing, Copying, Verifying, Verifying}; !slices.Equal(phases, want) {
			t.Errorf("got %q, want %q", phases, want)
		}
	})
}

// childVar names the folder in which a process of the test migrates.
const childVar = "MICELIO_TEST_MIGRATE"

// child migrates from one folder to another until it is killed.
func child(dir string) int {
	from, err := OpenFolder(filepath.Join(dir, "from"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	to, err := origin.OpenLocal(filepath.Join(dir, "to"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	slow := &spy{Store: to, afterPut: func(n int64, _ object.Key) error {
		fmt.Println(n)
		return nil
	}}
	_, err = Run(context.Background(), Config{From: from, To: slow, Journal: filepath.Join(dir, "journal")})
	fmt.Println("end:", err)
	return 0
}

func TestAKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 400 {
		name := filepath.Join(dir, "from", fmt.Sprintf("d%d", i%7), itoa(i))
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(strings.Repeat(itoa(i), i)), 0o644))
	}
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVar+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		for range 40 {
			var line string
			if _, err := fmt.Fscanln(out, &line); err != nil || line == "end:" {
				t.Fatalf("the process ended too early: %q, %v", line, err)
			}
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	from, err := OpenFolder(filepath.Join(dir, "from"))
	must(t, err)
	defer from.Close()
	to := &spy{Store: openLocal(t, filepath.Join(dir, "to"))}
	already := count(t, to)
	r := migrateAll(t, Config{From: from, To: to, Journal: filepath.Join(dir, "journal")})
	if already < 120 || r.Verified != 400 || to.puts.Load() != 400-already {
		t.Errorf("%d were there, %d were written: %+v", already, to.puts.Load(), r.Progress)
	}
	wantSame(t, to, from)
}
