package micelio_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// maxDirect bounds how many modules we answer for ourselves. The AWS SDK alone is
// seven of them.
const maxDirect = 19

// A goMod is what "go mod edit -json" says of go.mod, as far as it matters here.
type goMod struct {
	Module    struct{ Path string }
	Toolchain string
	Require   []struct {
		Path     string
		Indirect bool
	}
	Replace, Exclude, Ignore []struct{}
}

func readGoMod(t *testing.T) goMod {
	t.Helper()
	for _, name := range []string{"go.mod", "go.sum"} { // opened here so that a change of either runs these tests again
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod goMod
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	return mod
}

func TestGoMod(t *testing.T) {
	mod := readGoMod(t)
	if mod.Module.Path != modulePath {
		t.Errorf("the module is %q, want %q", mod.Module.Path, modulePath)
	}
	if len(mod.Replace)+len(mod.Exclude)+len(mod.Ignore) > 0 {
		t.Error("go.mod has a replace, exclude or ignore directive: the build would differ for whoever installs us as a module")
	}
	if mod.Toolchain != "" {
		t.Errorf("go.mod asks for toolchain %q: the go line alone says which Go is needed", mod.Toolchain)
	}
	direct := 0
	for _, require := range mod.Require {
		if !require.Indirect {
			direct++
		}
	}
	if direct > maxDirect {
		t.Errorf("%d direct dependencies, at most %d", direct, maxDirect)
	}
}

// Tidying may ask the module proxy for what only the tests of dependencies need.
func TestGoModIsTidy(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the module proxy")
	}
	readGoMod(t)
	loadTree(t)
	out, err := exec.CommandContext(t.Context(), "go", "mod", "tidy", "-diff").CombinedOutput()
	if err != nil {
		t.Errorf("go mod tidy would change this (%v):\n%s", err, out)
	}
}

func TestEveryDependencyIsExplained(t *testing.T) {
	const page = "docs/dependencies.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var broken []string
	for _, require := range readGoMod(t).Require {
		short := strings.TrimPrefix(require.Path, "github.com/")
		if !require.Indirect && !strings.Contains(string(text), short) {
			broken = append(broken, fmt.Sprintf("%s is not mentioned", require.Path))
		}
	}
	report(t, page+" says of each direct dependency what it is for", broken)
}
