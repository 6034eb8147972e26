package origin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// The test binary runs itself as further processes on one directory: childRole
// names what such a process does, childDir where.
const (
	childRole = "ORIGIN_TEST_ROLE"
	childDir  = "ORIGIN_TEST_DIR"
)

func TestMain(m *testing.M) {
	role := os.Getenv(childRole)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := runChild(role, os.Getenv(childDir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	childIncrements = 10
	childRounds     = 30
)

func runChild(role, dir string) error {
	if role == "upload" {
		return childUpload()
	}
	l, err := origin.OpenLocal(dir)
	if err != nil {
		return err
	}
	defer l.Close()
	// All start together, when the parent closes the pipe.
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	switch role {
	case "increment":
		return childIncrement(l)
	case "create":
		return childCreate(l)
	case "churn":
		return childChurn(l)
	case "overwrite":
		return childOverwrite(l)
	}
	return errors.New("unknown role " + role)
}

// childIncrement adds to a counter by compare and swap.
func childIncrement(l *origin.Local) error {
	ctx := context.Background()
	for done := 0; done < childIncrements; {
		obj, err := l.Get(ctx, "counter", object.GetOptions{})
		if err != nil {
			return err
		}
		body, err := io.ReadAll(obj.Body)
		obj.Body.Close()
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(body))
		if err != nil {
			return err
		}
		_, err = l.Put(ctx, "counter", object.BytesSource([]byte(strconv.Itoa(n+1))), object.PutOptions{IfMatch: object.MatchETag(obj.ETag)})
		switch {
		case err == nil:
			done++
		case !errors.Is(err, object.ErrPrecondition):
			return err
		}
	}
	return nil
}

// childCreate says which of many keys it was the creator of. Half of them are
// also directories, so that they are odd.
func childCreate(l *origin.Local) error {
	for i := range childRounds {
		for _, key := range []object.Key{object.Key(fmt.Sprintf("race/%d", i)), object.Key(fmt.Sprintf("race/%d/below", i))} {
			_, err := l.Put(context.Background(), key, object.BytesSource([]byte(strconv.Itoa(os.Getpid()))), object.PutOptions{IfNoneMatch: object.MatchAny()})
			switch {
			case err == nil:
				fmt.Println("created", key)
			case !errors.Is(err, object.ErrPrecondition):
				return err
			}
		}
	}
	return nil
}

// childChurn writes and deletes names that are directories of one another.
func childChurn(l *origin.Local) error {
	ctx := context.Background()
	for i := range childRounds {
		for _, key := range []object.Key{"c", "c/d", "c/d/e"} {
			if _, err := l.Put(ctx, key, object.BytesSource([]byte("body of "+key)), object.PutOptions{Version: strconv.Itoa(i)}); err != nil {
				return err
			}
		}
		for _, key := range []object.Key{"c/d", "c/d/e", "c"} {
			if err := l.Delete(ctx, key, object.DeleteOptions{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// overwritten are the objects that childOverwrite writes. The last has nothing
// but its version.
var overwritten = [...]object.Key{"k", "k/below", "bare"}

// childOverwrite says each version of some objects after it was acknowledged,
// until it is killed.
func childOverwrite(l *origin.Local) error {
	for i := 1; ; i++ {
		version := strconv.Itoa(i)
		for _, key := range overwritten {
			opt := object.PutOptions{Version: version}
			if key != "bare" {
				opt.Attrs.ContentType = "text/" + version
			}
			if _, err := l.Put(context.Background(), key, object.BytesSource([]byte(strings.Repeat(version+" ", 2000))), opt); err != nil {
				return err
			}
		}
		fmt.Println(version)
	}
}

// A child is another process on a directory.
type child struct {
	cmd    *exec.Cmd
	start  io.Closer
	output *bufio.Scanner
}

func startChildren(t *testing.T, n int, role, dir string) []child {
	t.Helper()
	var children []child
	for range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill() })
		children = append(children, child{cmd, in, bufio.NewScanner(out)})
	}
	for _, c := range children {
		if !c.output.Scan() || c.output.Text() != "ready" {
			t.Fatal("a child did not start")
		}
	}
	for _, c := range children {
		must(t, c.start.Close())
	}
	return children
}

// wait returns what the child said.
func (c child) wait(t *testing.T) []string {
	t.Helper()
	var said []string
	for c.output.Scan() {
		said = append(said, c.output.Text())
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
	return said
}

func TestProcessesLoseNoUpdate(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	put(t, l, "counter", "0", object.PutOptions{})
	const processes = 3
	for _, c := range startChildren(t, processes, "increment", dir) {
		c.wait(t)
	}
	wantBody(t, l, "counter", strconv.Itoa(processes*childIncrements))
	wantNothingLeft(t, dir)
}

func TestOfManyProcessesOneCreates(t *testing.T) {
	dir := t.TempDir()
	creators := map[string]int{}
	for _, c := range startChildren(t, 3, "create", dir) {
		for _, line := range c.wait(t) {
			creators[line]++
		}
	}
	if len(creators) != 2*childRounds {
		t.Errorf("%d objects were created, want %d", len(creators), 2*childRounds)
	}
	for what, n := range creators {
		if n != 1 {
			t.Errorf("%s: by %d", what, n)
		}
	}
	wantNothingLeft(t, dir)
}

func TestProcessesMayFightOverDirectories(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	children := startChildren(t, 3, "churn", dir)
	for range childRounds { // readers meet whole objects, or none
		for _, key := range []object.Key{"c", "c/d", "c/d/e"} {
			obj, err := l.Get(t.Context(), key, object.GetOptions{})
			if errors.Is(err, object.ErrNotFound) {
				continue
			}
			must(t, err)
			body, err := io.ReadAll(obj.Body)
			obj.Body.Close()
			if err != nil || string(body) != "body of "+string(key) {
				t.Errorf("%q has %q, %v", key, body, err)
			}
		}
	}
	for _, c := range children {
		c.wait(t)
	}
	wantNames(t, l, object.ListOptions{})
	wantNothingLeft(t, dir)
	wantNoEmptyDirs(t, dir)
	put(t, l, "c", "plain again", object.PutOptions{})
	if _, err := os.Stat(dir + "/c"); err != nil {
		t.Error(err)
	}
}

func TestAKilledWriterLosesNothingAcknowledged(t *testing.T) {
	for _, lines := range []int{1, 3, 8} {
		dir := t.TempDir()
		c := startChildren(t, 1, "overwrite", dir)[0]
		acked := 0
		for range lines {
			c.output.Scan()
			acked, _ = strconv.Atoi(c.output.Text())
		}
		must(t, c.cmd.Process.Kill())
		for c.output.Scan() {
			acked, _ = strconv.Atoi(c.output.Text())
		}
		c.cmd.Wait()
		if acked < lines {
			t.Fatalf("the child got to %d", acked)
		}

		l := openLocal(t, dir)
		for _, key := range overwritten {
			info, err := l.Head(t.Context(), key, object.HeadOptions{})
			must(t, err)
			if n, _ := strconv.Atoi(info.Version); n != acked && n != acked+1 {
				t.Errorf("%q is version %q, %d was acknowledged", key, info.Version, acked)
			}
			if key != "bare" && info.ContentType != "text/"+info.Version {
				t.Errorf("%q: version %q with content type %q", key, info.Version, info.ContentType)
			}
			wantBody(t, l, key, strings.Repeat(info.Version+" ", 2000))
			put(t, l, key, "after", object.PutOptions{})
			wantBody(t, l, key, "after")
		}
	}
}
