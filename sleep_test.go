package micelio_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"testing"
)

// A sleep in a test is either too short on a slow machine or too long on every
// other. Only inside a synctest bubble time is free and exact.
func TestNoSleepInTests(t *testing.T) {
	tree := loadTree(t)
	var broken []string
	for _, f := range tree.files {
		if f.isTest() {
			for _, call := range sleeps(f.ast) {
				broken = append(broken, tree.at(call.Pos()))
			}
		}
	}
	report(t, "time.Sleep in a test outside synctest.Test: wait for what is to happen instead", broken)
}

// sleeps returns the calls of time.Sleep outside a function literal that is
// handed to synctest.Test.
func sleeps(file *ast.File) (calls []*ast.CallExpr) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch types.ExprString(call.Fun) {
		case "synctest.Test":
			return false
		case "time.Sleep":
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

func TestTheSleepGuardFindsSleeps(t *testing.T) {
	tree := parseSource(t, `package p
		func a() { time.Sleep(1) }
		func b() { go func() { time.Sleep(2) }() }
		func c() { synctest.Test(t, func(t *testing.T) { time.Sleep(3) }) }
	`)
	var got []string
	for _, call := range sleeps(tree.files[0].ast) {
		got = append(got, types.ExprString(call.Args[0]))
	}
	if want := []string{"1", "2"}; !slices.Equal(got, want) {
		t.Errorf("found sleeps %v, want %v", got, want)
	}
}

// parseSource makes a tree of one file, for the tests of the guards themselves.
func parseSource(t *testing.T, src string) *goTree {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p/p.go", src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return &goTree{fset, []*goFile{{name: "p/p.go", ast: file}}}
}
