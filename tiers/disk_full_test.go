package tiers_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/object"
)

// mounted mounts a file system of so many bytes.
func mounted(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mounting a small file system is not permitted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A readership reads objects of all sizes through a cache, some again and again.
type readership struct {
	*rig
	keys   []object.Key
	bodies map[object.Key][]byte
	visits uint64
}

// newReadership makes up some 90 MB.
func newReadership(r *rig) *readership {
	c := &readership{rig: r, bodies: map[object.Key][]byte{}}
	for i := range 120 {
		key, body := blob(uint64(i), []int{300, 5000, 200_000, 700_000, 1_000_000, 3_000_000}[i%6])
		c.keys = append(c.keys, key)
		c.bodies[key] = body
		c.put(key, body)
	}
	return c
}

// read reads so many objects, four at a time. Not one may fail.
func (c *readership) read(n int) {
	c.Helper()
	var readers sync.WaitGroup
	for range 4 {
		c.visits++
		rnd := rand.New(rand.NewPCG(3, c.visits))
		readers.Go(func() {
			for range n / 4 {
				key := c.keys[int(float64(len(c.keys))*rnd.Float64()*rnd.Float64())]
				if body, _, err := c.get(key); err != nil || !bytes.Equal(body, c.bodies[key]) {
					c.Errorf("%s: %d bytes of %d, %v", key, len(body), len(c.bodies[key]), err)
				}
			}
		})
	}
	readers.Wait()
	c.settle()
}

// takeDisk writes files until the disk is full, beside whoever else does, and
// returns how much it got.
func takeDisk(t testing.TB, name string) (taken int) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	for piece := make([]byte, 256<<10); ; {
		n, err := f.Write(piece)
		taken += n
		if errors.Is(err, unix.ENOSPC) {
			return taken
		}
		if err != nil {
			t.Error(err)
			return taken
		}
	}
}

// A disk that is smaller than the budget, and that others fill and leave while
// the cache is in use, fails no read. When it has room again the tier takes it.
func TestATierSharesAFullDiskAndComesBack(t *testing.T) {
	t.Parallel()
	dir := mounted(t, 64*mib)
	synctest.Test(t, func(t *testing.T) {
		const pause = 31 * time.Second // a little more than the tier leaves a full disk alone
		tier := filepath.Join(dir, "tier")
		c := newReadership(newRigIn(t, new(authority), tier, 0, 256*mib))
		others := filepath.Join(dir, "others")
		grown := func() int64 { return c.ssd.Stats().Bytes }

		begun := grown()
		if taken := takeDisk(t, others); taken < 32*mib {
			t.Fatalf("the disk had only %d bytes left", taken)
		}
		c.read(200)
		if s := c.ssd.Stats(); s.Errors == 0 || s.Bytes > begun {
			t.Errorf("a disk without room was not noticed: %+v", s)
		}

		if err := os.Remove(others); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			time.Sleep(pause)
			c.read(60)
		}
		full := grown()
		if full < 48*mib || full > 64*mib {
			t.Errorf("the tier takes %d bytes of 64 MiB that it could have", full)
		}
		before := c.ssd.Stats().Hits
		if c.read(200); c.ssd.Stats().Hits == before {
			t.Error("nothing is read from the tier")
		}
	})
}

// The disk is full at any moment, and is not.
func TestADiskThatIsFullNowAndThenFailsNoRead(t *testing.T) {
	t.Parallel()
	dir := mounted(t, 64*mib)
	synctest.Test(t, func(t *testing.T) {
		c := newReadership(newRigIn(t, new(authority), filepath.Join(dir, "tier"), 0, 256*mib))
		others := filepath.Join(dir, "others")
		rounds := 0
		for range 8 {
			var over atomic.Bool
			var busy sync.WaitGroup
			busy.Go(func() {
				for ; !over.Load(); rounds++ {
					takeDisk(t, others)
					os.Remove(others)
				}
			})
			c.read(40)
			over.Store(true)
			busy.Wait()
			time.Sleep(10 * time.Second) // the tier tries again at every third round
		}
		if s := c.ssd.Stats(); s.Errors == 0 || s.Hits == 0 || rounds == 0 {
			t.Errorf("nothing was put to the test in %d rounds: %+v", rounds, s)
		}
	})
}

// needTool skips the test if a program is missing, or fails it where the tools of
// all tests must be there.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
		t.Fatalf("%s is not installed; scripts/install-test-tools.sh does it", name)
	}
	t.Skipf("%s is not installed; make test installs it", name)
}

// ext4 mounts a file system of ext4. A file system in memory cannot become read-only
// while files are open for writing, but this is what ext4 does when its disk
// fails.
func ext4(t *testing.T, size int64) (dir, image string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	needTool(t, "mkfs.ext4")
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a file system in a file is not permitted here: %v: %s", err, out)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, image
}

// A disk that turns read-only is read, costs nothing but copies, and has them
// all when it is mounted again.
func TestADiskThatTurnsReadOnlyStillServes(t *testing.T) {
	t.Parallel()
	dir, image := ext4(t, 64*mib)
	r := newRigIn(t, new(authority), filepath.Join(dir, "tier"), 0, 32*mib)
	bodies := map[object.Key][]byte{}
	for i := range 20 {
		key, body := blob(uint64(i), 1+i*20_000)
		bodies[key] = body
		r.put(key, body)
		r.want(key, body, object.TierOrigin)
		r.settle() // one after the other: a busy disk may decline what comes at once
	}
	if out, err := exec.Command("sync", "-f", dir).CombinedOutput(); err != nil { // what is not on the disk now will never be
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "remount,abort", dir).CombinedOutput(); err != nil {
		t.Skipf("a file system cannot be made to fail here: %v: %s", err, out)
	}
	for range 2 {
		for key, body := range bodies {
			r.want(key, body, object.TierSSD)
		}
		for i := range 40 {
			other, otherBody := blob(uint64(100+i), 1+i*20_000)
			r.put(other, otherBody)
			r.want(other, otherBody, object.TierOrigin)
			r.settle()
		}
	}
	if e := r.ssd.Stats().Errors; e == 0 || e > 20 {
		t.Errorf("the disk was asked %d times that it cannot be written, want a few", e)
	}

	r.stop()
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	// A copy, because the kernel keeps a file system that somebody else still
	// sees, and gives it back as it was: read-only.
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image+"-2", b, 0o600); err != nil {
		t.Fatal(err)
	}
	exec.Command("e2fsck", "-fy", image+"-2").Run() // its status says that there was something to mend
	if out, err := exec.Command("mount", "-o", "loop", image+"-2", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	*r = *newRigIn(t, r.origin, r.dir, 0, 32*mib)
	for key, body := range bodies {
		r.want(key, body, object.TierSSD)
	}
	key, body := blob(200, 100_000)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	r.want(key, body, object.TierSSD)
}
