package micelio_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a reader can hold in the head. The house style aims lower: 400 lines to
// a file and 60 to a function. A test may be longer by the table it walks.
const (
	maxFileLines     = 500
	maxFunctionLines = 80
	maxTestLines     = 120
)

func TestFilesStayReadable(t *testing.T) {
	tree := loadTree(t)
	var broken []string
	for _, f := range tree.files {
		if ast.IsGenerated(f.ast) {
			continue
		}
		if f.lines > maxFileLines {
			broken = append(broken, fmt.Sprintf("%s: %d lines", f.name, f.lines))
		}
		for _, decl := range f.ast.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			limit := maxFunctionLines
			if f.isTest() {
				limit = maxTestLines
			}
			lines := tree.fset.Position(function.End()).Line - tree.fset.Position(function.Pos()).Line + 1
			if lines > limit {
				broken = append(broken, fmt.Sprintf("%s: %s has %d lines, at most %d", tree.at(function.Pos()), function.Name.Name, lines, limit))
			}
		}
	}
	report(t, fmt.Sprintf("a file has at most %d lines, a function fits a screen", maxFileLines), broken)
}

// A script that goes on after an error does the next step to the wrong thing.
func TestScriptsStopAtTheFirstError(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(scripts, filepath.Join(".ci", "run")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.HasPrefix(text, []byte("#!/usr/bin/env bash\n")) || !strings.Contains(string(text), "\nset -euo pipefail\n") {
			t.Errorf("%s must begin with #!/usr/bin/env bash and say set -euo pipefail", name)
		}
		if info, err := os.Stat(name); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s is not executable: %v", name, err)
		}
	}
}
