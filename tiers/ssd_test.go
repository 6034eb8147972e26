package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// damage are the ways to spoil a file. Each returns what the file is then.
var damage = map[string]func(file []byte, size int) []byte{
	"first byte flipped":       flipAt(func(int, int) int { return 0 }),
	"middle byte flipped":      flipAt(func(size, _ int) int { return size / 2 }),
	"last byte flipped":        flipAt(func(size, _ int) int { return size - 1 }),
	"block checksum flipped":   flipAt(func(size, _ int) int { return size + 1 }),
	"description flipped":      flipAt(func(size, whole int) int { return size + (whole-size)/2 }),
	"magic flipped":            flipAt(func(_, whole int) int { return whole - 32 }),
	"description length":       flipAt(func(_, whole int) int { return whole - 24 }),
	"trailer checksum flipped": flipAt(func(_, whole int) int { return whole - 20 }),
	"size flipped":             flipAt(func(_, whole int) int { return whole - 16 }),
	"size flipped high":        flipAt(func(_, whole int) int { return whole - 9 }),
	"padding flipped":          flipAt(func(_, whole int) int { return whole - 1 }),
	"cut by one":               func(f []byte, _ int) []byte { return f[:len(f)-1] },
	"cut to the bytes":         func(f []byte, size int) []byte { return f[:size] },
	"cut in the bytes":         func(f []byte, size int) []byte { return f[:size/2] },
	"empty":                    func([]byte, int) []byte { return nil },
	"longer":                   func(f []byte, _ int) []byte { return append(f, 0) },
	"all zero":                 func(f []byte, _ int) []byte { return make([]byte, len(f)) },
	"bytes zero":               func(f []byte, size int) []byte { clear(f[:size]); return f },
	"trailer zero":             func(f []byte, size int) []byte { clear(f[size:]); return f },
	"a foreign file":           func([]byte, int) []byte { return bytes.Repeat([]byte("foreign "), 1000) },
}

func flipAt(where func(size, whole int) int) func([]byte, int) []byte {
	return func(f []byte, size int) []byte {
		f[where(size, len(f))] ^= 0x40
		return f
	}
}

func TestADamagedCopyIsAMissAndFetchedAgain(t *testing.T) {
	t.Parallel()
	for _, length := range []int{5000, 300_000} {
		for _, ram := range []int64{0, 64 * mib} {
			r := newRig(t, ram, 64*mib)
			for name, spoil := range damage {
				key, body := blob(uint64(length), length)
				r.put(key, body)
				r.want(key, body, "")
				r.settle()
				r.restart(ram, 64*mib)
				r.spoil(spoil, length)
				r.origin.gets.Store(0)
				r.want(key, body, "")
				r.settle()
				if n := r.origin.gets.Load(); n != 1 {
					t.Errorf("%s, %d bytes: %d reads of the authority, want 1", name, length, n)
				}
				if n := r.ssd.Stats().Damaged; n != 1 {
					t.Errorf("%s, %d bytes: %d damaged copies counted, want 1", name, length, n)
				}
				r.want(key, body, "") // a stream that was mended on its way is not kept
				r.settle()
				r.origin.gets.Store(0)
				r.want(key, body, "")
				r.wantGets(0)
			}
		}
	}
}

// spoil damages the one file of the tier in place, as a disk does.
func (r *rig) spoil(how func([]byte, int) []byte, size int) {
	r.Helper()
	files, _ := r.onDisk()
	if len(files) != 1 {
		r.Fatalf("%d files, want 1", len(files))
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(files[0], how(b, size), 0o644); err != nil {
		r.Fatal(err)
	}
}

// restart stops the cache and starts another one over the same directory.
func (r *rig) restart(ram, ssd int64) {
	r.Helper()
	r.stop()
	*r = *newRigIn(r.TB, r.origin, r.dir, ram, ssd)
}

func TestSwappedFilesAreNotEachOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, 64*mib)
	one, oneBody := derived(1, 70_000)
	two, twoBody := derived(2, 70_000)
	r.put(one, oneBody)
	r.put(two, twoBody)
	r.want(one, oneBody, object.TierOrigin)
	r.want(two, twoBody, object.TierOrigin)
	r.settle()
	files, _ := r.onDisk()
	for _, pair := range [][2]string{{files[0], "spare"}, {files[1], files[0]}, {"spare", files[1]}} {
		for i, name := range pair {
			pair[i] = filepath.Join(r.dir, trimDir(name, r.dir))
		}
		if err := os.Rename(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	r.want(one, oneBody, object.TierOrigin)
	r.want(two, twoBody, object.TierOrigin)
	if n := r.ssd.Stats().Damaged; n != 2 {
		t.Errorf("%d damaged copies counted, want 2", n)
	}
}

func trimDir(name, dir string) string {
	if rel, err := filepath.Rel(dir, name); err == nil {
		return rel
	}
	return name
}

func TestCopiesOfMutableObjectsMayBeDamagedToo(t *testing.T) {
	t.Parallel()
	for _, ram := range []int64{0, 64 * mib} {
		r := newRig(t, ram, 64*mib)
		body := random(3, 300_000)
		r.put("session", body)
		r.want("session", body, object.TierOrigin)
		r.settle()
		r.restart(ram, 64*mib)
		r.spoil(damage["first byte flipped"], len(body))
		r.want("session", body, "")
		if n := r.ssd.Stats().Damaged; n != 1 {
			t.Errorf("%d damaged copies counted, want 1", n)
		}
	}
}

// A large copy is read as it streams, so its damage is found when the reader
// has got its first part already.
func TestDamageInTheMiddleOfAStreamIsMended(t *testing.T) {
	t.Parallel()
	const length, wrong = mib, 700_000
	for class, make := range keyKinds {
		for _, proven := range []bool{false, true} {
			for _, part := range []object.Range{{}, object.From(100_000)} {
				r := newRig(t, mib, 64*mib)
				key, body := make(4, length)
				r.put(key, body)
				r.want(key, body, object.TierOrigin)
				r.settle()
				if !proven {
					r.restart(mib, 64*mib)
				}
				offset, _, _ := part.Resolve(length)
				obj := r.open(t.Context(), key, part)
				r.wantNext(obj, body[offset:offset+200_000])
				r.spoil(flipAt(func(int, int) int { return wrong }), length)
				r.wantNext(obj, body[offset+200_000:])
				r.wantEnd(obj)
				if s := r.cache.Stats(); s.Resumes != 1 || s.SSD.Damaged != 1 {
					t.Errorf("%s, proven %t, %v: %d resumes, %d damaged", class, proven, part, s.Resumes, s.SSD.Damaged)
				}
				r.want(key, body, object.TierOrigin)
			}
		}
	}
}

// The rest of a proven copy must be proven as well, wherever it comes from.
func TestAMendedStreamIsProvenToo(t *testing.T) {
	t.Parallel()
	const length, wrong = mib, 700_000
	r := newRig(t, mib, 64*mib)
	key, body := blob(5, length)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	obj := r.open(t.Context(), key, object.Range{})
	r.wantNext(obj, body[:200_000])
	r.spoil(flipAt(func(int, int) int { return wrong }), length)
	r.origin.wrapBodies(func(_ context.Context, o *object.Object) io.ReadCloser {
		b, _ := io.ReadAll(o.Body)
		b = bytes.Clone(b)
		b[len(b)-100_000] ^= 1
		return io.NopCloser(bytes.NewReader(b))
	})
	if n, err := io.Copy(io.Discard, obj.Body); !errors.Is(err, object.ErrDigest) {
		t.Errorf("%d bytes and %v, want a digest mismatch", n, err)
	}
}

// A copy with right checksums and wrong bytes: what a bug, another version of
// this program or a hand on the disk could leave.
func TestAVerifiedCopyIsProvenAfterARestart(t *testing.T) {
	t.Parallel()
	for _, length := range []int{5000, 300_000, mib + 300_000} {
		for _, part := range []object.Range{{}, object.Bytes(10, 100)} {
			for name, digest := range map[string]func(wrong []byte, right object.Digest) object.Digest{
				"right digest": func(_ []byte, right object.Digest) object.Digest { return right },
				"own digest":   func(wrong []byte, _ object.Digest) object.Digest { return sum(wrong) },
				"no digest":    func([]byte, object.Digest) object.Digest { return object.Digest{} },
			} {
				dir := t.TempDir()
				key, body := blob(6, length)
				wrong := bytes.Clone(body)
				wrong[length-1] ^= 1
				craft(t, dir, object.Info{Key: key, ETag: "x", SHA256: digest(wrong, sum(body))}, wrong)
				r := newRigIn(t, new(authority), dir, 64*mib, 64*mib)
				r.put(key, body)
				r.wantHeld(key, object.TierSSD)
				got, _, err := r.getPart(key, part)
				from, n, _ := part.Resolve(int64(length))
				large := length > mib && part == object.Range{}
				if large && !errors.Is(err, object.ErrDigest) {
					t.Errorf("%s, %d bytes: the stream of a false copy ends with %v", name, length, err)
				}
				if !large && (err != nil || !bytes.Equal(got, body[from:from+n])) {
					t.Errorf("%s, %d bytes, %v: %d bytes, %v", name, length, part, len(got), err)
				}
				r.want(key, body, "")
				if s := r.cache.Stats(); s.BadDigests != 1 || s.SSD.Damaged != 1 {
					t.Errorf("%s, %d bytes: %d bad digests, %d damaged", name, length, s.BadDigests, s.SSD.Damaged)
				}
			}
		}
	}
}

// craft writes a copy's file as if an earlier process had.
func craft(t *testing.T, dir string, info object.Info, body []byte) {
	t.Helper()
	file, path := tiers.EncodeCopy(info, body)
	path = filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestARestartKeepsCopiesAndDropsTheRest(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, 64*mib)
	bodies := map[object.Key][]byte{}
	for i := range 10 {
		key, body := blob(uint64(i), 5000*(i+1))
		bodies[key] = body
		r.put(key, body)
		r.want(key, body, object.TierOrigin)
	}
	r.settle()
	r.stop()
	kept, _ := r.onDisk()
	shard := filepath.Dir(kept[0])
	for name, content := range map[string]string{
		filepath.Join(r.dir, "v1/tmp/half"):               "unfinished",
		filepath.Join(shard, "README"):                    "foreign",
		filepath.Join(shard, filepath.Base(kept[0])+".x"): "too short",
		filepath.Join(shard, "sub/dir/file"):              "foreign",
	} {
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.restart(0, 64*mib)
	if files, _ := r.onDisk(); len(files) != len(kept) {
		t.Errorf("%d files after a restart, want the %d copies: %q", len(files), len(kept), files)
	}
	r.origin.down.Store(true)
	for key, body := range bodies {
		r.want(key, body, object.TierSSD)
	}
	r.origin.down.Store(false)

	const smaller = 100_000
	r.restart(0, smaller)
	if files, disk := r.onDisk(); disk > smaller || len(files) == 0 {
		t.Errorf("%d files of %d bytes after a restart with %d", len(files), disk, smaller)
	}
	for key, body := range bodies {
		r.want(key, body, "")
	}
}

func TestADirectoryServesOneProcess(t *testing.T) {
	if dir := os.Getenv("TIERS_TEST_OPEN"); dir != "" { // the other process, see below
		if _, err := tiers.OpenFiles(dir, mib, slog.Default()); err == nil {
			os.Exit(0)
		}
		os.Exit(3)
	}
	dir := t.TempDir()
	r := newRigIn(t, new(authority), dir, 0, mib)
	if _, err := tiers.OpenFiles(dir, mib, slog.Default()); err == nil {
		t.Error("the directory was opened twice in one process")
	}
	other := func() int {
		cmd := exec.Command(os.Args[0], "-test.run=^TestADirectoryServesOneProcess$")
		cmd.Env = append(os.Environ(), "TIERS_TEST_OPEN="+dir)
		cmd.Run()
		return cmd.ProcessState.ExitCode()
	}
	if code := other(); code != 3 {
		t.Errorf("another process that opens the directory exits with %d, want to be refused", code)
	}
	r.stop()
	if code := other(); code != 0 {
		t.Errorf("when it is free another process exits with %d", code)
	}
}
