// Package micelio_test guards the rules of the whole tree: which package may
// import which, what is documented, what state a package may have. The rules
// are explained in CONTRIBUTING.md. It tests no behaviour.
package micelio_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/micelio/micelio"

// A goFile is one Go file of the module, whatever its build constraints: the
// guards read the source, so they see what is not compiled on this platform
// too, and go on where a package does not compile.
type goFile struct {
	name  string // slash-separated, from the root of the module
	lines int
	ast   *ast.File
}

// dir is the directory of the file, "." at the root.
func (f *goFile) dir() string { return path.Dir(f.name) }

func (f *goFile) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// A goTree is every Go file of the module, in the order of their names.
type goTree struct {
	fset  *token.FileSet
	files []*goFile
}

// at returns where p is, for an error message: "ring/view.go:12".
func (t *goTree) at(p token.Pos) string {
	position := t.fset.Position(p)
	position.Column = 0
	return position.String()
}

// dirs returns the directories that hold Go files, and their files.
func (t *goTree) dirs() map[string][]*goFile {
	dirs := map[string][]*goFile{}
	for _, f := range t.files {
		dirs[f.dir()] = append(dirs[f.dir()], f)
	}
	return dirs
}

// loadTree reads the module once for all guards.
func loadTree(t *testing.T) *goTree {
	t.Helper()
	tree, err := parseTree()
	if err != nil {
		t.Errorf("some files are missing from what follows: %v", err)
	}
	if len(tree.files) < 10 {
		t.Fatalf("only %d Go files found", len(tree.files))
	}
	return tree
}

var parseTree = sync.OnceValues(func() (*goTree, error) {
	tree := &goTree{fset: token.NewFileSet()}
	var faults []string
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipDir(name)
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		parsed, err := parser.ParseFile(tree.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			faults = append(faults, err.Error())
			return nil
		}
		tree.files = append(tree.files, &goFile{name, bytes.Count(src, []byte("\n")), parsed})
		return nil
	})
	if err == nil && len(faults) > 0 {
		err = parseFaults(faults)
	}
	return tree, err
})

// skipDir leaves out what the go command leaves out of "./...".
func skipDir(name string) error {
	base := filepath.Base(name)
	if name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "vendor") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && name != "." {
		return fs.SkipDir // another module
	}
	return nil
}

type parseFaults []string

func (f parseFaults) Error() string { return strings.Join(f, "\n") }

// report fails the test with the rule and every place that breaks it, sorted.
func report(t *testing.T, rule string, broken []string) {
	t.Helper()
	if len(broken) > 0 {
		slices.Sort(broken)
		t.Errorf("%s:\n\t%s", rule, strings.Join(slices.Compact(broken), "\n\t"))
	}
}
