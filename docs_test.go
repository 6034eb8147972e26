package micelio_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

func TestPackageDocs(t *testing.T) {
	var broken []string
	for dir, files := range loadTree(t).dirs() {
		var docs, names []string
		for _, f := range files {
			if f.isTest() {
				continue
			}
			names = append(names, f.ast.Name.Name)
			if f.ast.Doc == nil {
				continue
			}
			docs = append(docs, path.Base(f.name))
			want := "Package " + f.ast.Name.Name + " "
			if f.ast.Name.Name == "main" {
				want = "Command " + path.Base(dir) + " "
			}
			if text := f.ast.Doc.Text(); !strings.HasPrefix(text, want) {
				broken = append(broken, fmt.Sprintf("%s: the package doc must begin with %q", f.name, want))
			}
		}
		if len(names) > 0 && len(docs) != 1 {
			broken = append(broken, fmt.Sprintf("%s: %d package docs, want exactly one %v", dir, len(docs), docs))
		}
	}
	report(t, "a package is introduced by one sentence in one place", broken)
}

// wellKnown methods are documented by the interface of the standard library
// that they implement.
var wellKnown = []string{"Error", "Is", "As", "Unwrap", "String", "Read", "Write", "Close", "ServeHTTP", "LogValue", "Len", "Less", "Swap", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"}

func TestExportedNamesAreDocumented(t *testing.T) {
	tree := loadTree(t)
	var broken []string
	for _, f := range tree.files {
		if f.isTest() || f.ast.Name.Name == "main" || ast.IsGenerated(f.ast) {
			continue
		}
		for _, decl := range f.ast.Decls {
			for _, name := range undocumented(decl) {
				broken = append(broken, tree.at(name.Pos())+": "+name.Name)
			}
		}
	}
	report(t, "exported names need a comment", broken)
}

// undocumented returns the exported names of a declaration without a comment.
func undocumented(decl ast.Decl) (names []*ast.Ident) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		implements := decl.Recv != nil && slices.Contains(wellKnown, decl.Name.Name)
		if decl.Doc == nil && decl.Name.IsExported() && receiverIsExported(decl) && !implements {
			names = append(names, decl.Name)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() {
					if spec.Doc == nil && decl.Doc == nil {
						names = append(names, spec.Name)
					}
					names = append(names, undocumentedMethods(spec.Type)...)
				}
			case *ast.ValueSpec: // a comment may speak for the whole group
				for _, name := range spec.Names {
					if name.IsExported() && spec.Doc == nil && spec.Comment == nil && decl.Doc == nil {
						names = append(names, name)
					}
				}
			}
		}
	}
	return names
}

// undocumentedMethods returns the methods of an interface without a comment.
func undocumentedMethods(typ ast.Expr) (names []*ast.Ident) {
	iface, ok := typ.(*ast.InterfaceType)
	if !ok {
		return nil
	}
	for _, method := range iface.Methods.List {
		for _, name := range method.Names {
			if name.IsExported() && method.Doc == nil && method.Comment == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// receiverIsExported reports whether a function, or a method's type, can be
// seen from outside.
func receiverIsExported(decl *ast.FuncDecl) bool {
	if decl.Recv == nil {
		return true
	}
	typ := decl.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return token.IsExported(t.Name)
		default:
			return false
		}
	}
}

func TestChangelogHasUnreleased(t *testing.T) {
	text, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if heading, found := strings.CutPrefix(line, "## "); found {
			if strings.TrimSpace(heading) != "[Unreleased]" {
				t.Errorf("the first section of CHANGELOG.md is %q, want [Unreleased]: each change adds a line there", strings.TrimSpace(heading))
			}
			return
		}
	}
	t.Error("CHANGELOG.md has no section [Unreleased]")
}
