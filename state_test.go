package micelio_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"
	"testing"
)

func TestNoInit(t *testing.T) {
	tree := loadTree(t)
	var broken []string
	for _, f := range tree.files {
		for _, decl := range f.ast.Decls {
			if function, ok := decl.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == "init" {
				broken = append(broken, tree.at(function.Pos()))
			}
		}
	}
	report(t, "func init runs for everyone who imports the package, in an order nobody wrote down", broken)
}

// pureCalls make values that nobody can change, so that a package-level
// variable may hold their result.
var pureCalls = []string{
	"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer", "strings.Repeat", "slices.Concat",
	"crc32.MakeTable", "crc64.MakeTable", "netip.MustParsePrefix", "netip.MustParseAddr", "template.Must", "time.Date", "time.Unix",
	"prometheus.ExponentialBuckets", "prometheus.LinearBuckets",
	"object.Key", "object.ETag", // conversions
}

// linked variables get their value from the linker.
var linked = []string{"cmd/micelio-node.version"}

// TestNoPackageState lets a package-level variable be a sentinel error or a
// table: it has a value where it is declared, the value has no place for state,
// and nothing in the module writes to it, takes its address, or calls a method
// on it that could. Two nodes share one process in the tests, and in the
// programs of whoever embeds one, and must not meet in a variable.
//
// What the rule cannot see is a write to a slice or map that was first assigned
// to something else, or through a pointer. Tables are walked by pointers to
// their elements, so the address of one is no offence.
func TestNoPackageState(t *testing.T) {
	tree := loadTree(t)
	info := resolve(tree)
	var broken []string
	for _, f := range tree.files {
		if !f.isTest() {
			for _, spec := range packageVars(f.ast) {
				if why := stateFault(spec); why != "" && !slices.Contains(linked, f.dir()+"."+spec.Names[0].Name) {
					broken = append(broken, fmt.Sprintf("%s: %s %s", tree.at(spec.Pos()), spec.Names[0].Name, why))
				}
			}
		}
		w := &writes{info: info, tests: testVars(tree)}
		ast.Inspect(f.ast, w.visit)
		for _, ident := range w.found {
			broken = append(broken, fmt.Sprintf("%s: %s is written to", tree.at(ident.Pos()), ident.Name))
		}
	}
	report(t, "a package has no state: pass it in, or keep it in a value that somebody owns", broken)
}

// packageVars returns the specs of the package-level variables but "_", which
// only asserts something about a type.
func packageVars(file *ast.File) (specs []*ast.ValueSpec) {
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			spec := spec.(*ast.ValueSpec)
			if group.Doc != nil && strings.Contains(rawText(group.Doc), "//go:embed ") {
				continue
			}
			if spec.Names[0].Name != "_" {
				specs = append(specs, spec)
			}
		}
	}
	return specs
}

// rawText returns a comment with its directives.
func rawText(group *ast.CommentGroup) string {
	var text strings.Builder
	for _, comment := range group.List {
		text.WriteString(comment.Text + "\n")
	}
	return text.String()
}

// stateFault says why a variable could hold state, "" if it could not.
func stateFault(spec *ast.ValueSpec) string {
	if len(spec.Values) != len(spec.Names) {
		return "gets its value later, or from a call"
	}
	fault := ""
	for _, value := range spec.Values {
		ast.Inspect(value, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				return false // what a function does when it is called is its own affair
			case *ast.CallExpr:
				if name := types.ExprString(n.Fun); !slices.Contains(pureCalls, name) && !isConversion(n.Fun) {
					fault = "is made by " + name
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && (x.Name == "sync" || x.Name == "atomic") {
					fault = "holds a " + types.ExprString(n)
				}
			}
			return fault == ""
		})
	}
	return fault
}

// isConversion reports whether calling fun is a conversion to a type that is
// written out, or to a basic one.
func isConversion(fun ast.Expr) bool {
	switch fun := fun.(type) {
	case *ast.ArrayType, *ast.MapType, *ast.InterfaceType:
		return true
	case *ast.ParenExpr:
		return isConversion(fun.X)
	case *ast.Ident:
		_, basic := types.Universe.Lookup(fun.Name).(*types.TypeName)
		return basic
	}
	return false
}

// resolve finds out what each identifier of the module means, package by
// package and without loading any import: that is fast, works beside code that
// does not compile, and is enough to tell a package's variable from a local
// one of the same name.
func resolve(tree *goTree) *types.Info {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	packages := map[string][]*ast.File{}
	for _, f := range tree.files {
		importPath := path.Join(modulePath, f.dir())
		if strings.HasSuffix(f.ast.Name.Name, "_test") {
			importPath += "_test"
		}
		packages[importPath] = append(packages[importPath], f.ast)
	}
	config := types.Config{
		Importer: noImports{},
		Error:    func(error) {}, // every use of an import is one
	}
	for importPath, files := range packages {
		config.Check(importPath, tree.fset, files, info)
	}
	return info
}

// noImports knows no package; the type checker makes an empty one instead.
type noImports struct{}

func (noImports) Import(importPath string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not loaded", importPath)
}

// testVars returns the positions of the package-level variables of tests,
// which may be written to.
func testVars(tree *goTree) map[token.Pos]bool {
	positions := map[token.Pos]bool{}
	for _, f := range tree.files {
		if f.isTest() {
			for _, spec := range packageVars(f.ast) {
				for _, name := range spec.Names {
					positions[name.Pos()] = true
				}
			}
		}
	}
	return positions
}

// writes collects the package-level variables that a file changes.
type writes struct {
	info  *types.Info
	tests map[token.Pos]bool
	found []*ast.Ident
}

func (w *writes) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for _, left := range n.Lhs {
			w.target(left)
		}
	case *ast.RangeStmt:
		w.target(n.Key)
		w.target(n.Value)
	case *ast.IncDecStmt:
		w.target(n.X)
	case *ast.UnaryExpr:
		if _, ofElement := n.X.(*ast.IndexExpr); n.Op == token.AND && !ofElement {
			w.target(n.X)
		}
	case *ast.CallExpr:
		if fun, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, fun.Name) {
			w.target(n.Args[0])
		}
	case *ast.SelectorExpr:
		if s := w.info.Selections[n]; s != nil && s.Kind() == types.MethodVal && takesAddress(s) {
			w.target(n.X)
		}
	}
	return true
}

// takesAddress reports whether calling the selected method takes the address of
// what it is called on.
func takesAddress(s *types.Selection) bool {
	receiver := s.Obj().(*types.Func).Signature().Recv()
	_, wantsPointer := receiver.Type().(*types.Pointer)
	_, isPointer := s.Recv().Underlying().(*types.Pointer)
	return wantsPointer && !isPointer && !s.Indirect()
}

// target notes what an expression that is written to begins with, if that is a
// package-level variable of ours.
func (w *writes) target(expr ast.Expr) {
	for {
		switch x := expr.(type) {
		case *ast.IndexExpr:
			expr = x.X
		case *ast.SliceExpr:
			expr = x.X
		case *ast.StarExpr:
			expr = x.X
		case *ast.ParenExpr:
			expr = x.X
		case *ast.SelectorExpr:
			if name, ok := x.X.(*ast.Ident); ok {
				if imported, ok := w.info.Uses[name].(*types.PkgName); ok {
					if strings.HasPrefix(imported.Imported().Path(), modulePath) {
						w.found = append(w.found, x.Sel)
					}
					return
				}
			}
			expr = x.X
		case *ast.Ident:
			object, ok := w.info.Uses[x].(*types.Var)
			if ok && object.Pkg() != nil && object.Parent() == object.Pkg().Scope() && !w.tests[object.Pos()] {
				w.found = append(w.found, x)
			}
			return
		default:
			return
		}
	}
}

func TestTheStateGuardFindsState(t *testing.T) {
	tree := parseSource(t, `package p
		import ("errors"; "regexp"; "sync"; "time"; other "`+modulePath+`/object")
		var ErrFine = errors.New("fine")
		var pattern, table = regexp.MustCompile("x"), map[string][]int{"a": {1}}
		var bytes = []byte("x")
		var _ = pattern
		type counter struct{ n int }
		func (c *counter) add() { c.n++ }
		func (c counter) get() int { return c.n }
		var total = counter{}
		var BAD_empty int
		var BAD_map = make(map[string]int)
		var BAD_pool = sync.Pool{}
		var BAD_now = time.Now()
		var BAD_made, BAD_error = f()
		func f() (int, error) {
			table := table // a local one of the same name
			table["a"] = nil
			_ = total.get()
			return len(bytes), nil
		}
		func g() { ErrFine = nil }
		func h() { bytes[0]++; other.Table[1] = 2; delete(table, "a") }
		func i() { _ = &pattern; _ = &bytes[0]; total.add(); for table["x"] = range 3 {} }
	`)
	var got []string
	f := tree.files[0]
	for _, spec := range packageVars(f.ast) {
		if stateFault(spec) != "" {
			got = append(got, spec.Names[0].Name)
		}
	}
	w := &writes{info: resolve(tree)}
	ast.Inspect(f.ast, w.visit)
	for _, ident := range w.found {
		got = append(got, ident.Name)
	}
	want := []string{
		"BAD_empty", "BAD_map", "BAD_pool", "BAD_now", "BAD_made",
		"ErrFine", "bytes", "Table", "table", "pattern", "total", "table",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %v,\n want %v", got, want)
	}
}
