package micelio_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ours says which of our packages each package may import. Imports run
// downwards only; the rooms of the house (ring, origin, tiers, peer, gateway)
// do not know each other, and what they share is the vocabulary in object.
var ours = map[string][]string{
	"object":              {},
	"object/objecttest":   {"object"},
	"ring":                {},
	"pace":                {},
	"console":             {},
	"hotset":              {"object"},
	"history":             {},
	"internal/bulk":       {},
	"internal/mutant":     {},
	"internal/sdnotify":   {},
	"internal/trail":      {},
	"origin":              {"object", "pace", "internal/trail"},
	"origin/s3test":       {"object"},
	"tiers":               {"object", "tiers/s3fifo", "tiers/seglog", "internal/mutant", "internal/trail"},
	"tiers/s3fifo":        {},
	"tiers/seglog":        {},
	"peer":                {"object", "internal/bulk", "internal/trail"},
	"gateway":             {"object", "internal/bulk", "internal/trail"},
	"fastlane":            {"object"},
	"gateway/gatewaytest": {"object"},
	"migrate":             {"object"},
	"node":                {"object", "ring", "origin", "pace", "tiers", "peer", "gateway", "fastlane", "hotset", "console", "internal/mutant", "internal/trail"},
	"cmd/micelio-node":    {"object", "origin", "node", "migrate", "console", "internal/sdnotify"},
	"loadtest":            {},

	"loadtest/figure":           {"loadtest"},
	"loadtest/report":           {"loadtest", "loadtest/figure"},
	"loadtest/compare":          {"loadtest", "loadtest/figure"},
	"loadtest/saturate":         {},
	"loadtest/profile":          {"loadtest"},
	"loadtest/chaos":            {"loadtest", "loadtest/figure"},
	"loadtest/loadtesttest":     {"loadtest"},
	"loadtest/cmd/micelio-load": {"loadtest", "loadtest/figure", "loadtest/report", "loadtest/compare", "loadtest/saturate", "loadtest/chaos", "loadtest/profile"},

	"e2e":                  {},
	"deploy/compose/setup": {},
}

// oursInTests says what tests may import besides: the conformance suite, a real
// Store to stand on, and a client that makes a Store of a server. Whoever starts
// whole nodes is a test of the node or, as processes, of e2e.
var oursInTests = map[string][]string{
	"origin":           {"object/objecttest", "origin/s3test", "tiers"},
	"origin/s3test":    {"object/objecttest", "origin"},
	"tiers":            {"object/objecttest", "origin"},
	"hotset":           {"object/objecttest"},
	"peer":             {"object/objecttest", "origin"},
	"gateway":          {"object/objecttest", "gateway/gatewaytest", "origin"},
	"fastlane":         {"gateway"},
	"migrate":          {"object/objecttest", "origin"},
	"node":             {"object/objecttest", "gateway/gatewaytest", "origin/s3test", "history"},
	"cmd/micelio-node": {"object/objecttest"},
	"e2e":              {"origin/s3test", "history"},
	"loadtest":         {"object"},

	"loadtest/figure":           {"loadtest/loadtesttest"},
	"loadtest/report":           {"loadtest/loadtesttest"},
	"loadtest/compare":          {"loadtest/loadtesttest"},
	"loadtest/cmd/micelio-load": {"loadtest/loadtesttest"},
	"deploy/compose/setup":      {"origin/s3test"},
}

// others says where each module that is not ours is at home: a dependency that
// one package wraps can be replaced in one place. Every package named may
// import every package of the module.
var others = map[string][]string{
	"github.com/hashicorp/memberlist":         {"ring"},
	"github.com/buraksezer/consistent":        {"ring"},
	"github.com/cespare/xxhash/v2":            {"ring", "tiers"},
	"github.com/aws/aws-sdk-go-v2":            {"origin", "origin/s3test", "deploy/compose/setup"},
	"github.com/aws/smithy-go":                {"origin", "origin/s3test"},
	"github.com/sony/gobreaker/v2":            {"pace"},
	"github.com/prometheus/client_golang":     {"node"},
	"github.com/prometheus/client_model":      {"node"},
	"golang.org/x/sync":                       {"origin", "tiers"},
	"golang.org/x/sys":                        {"origin", "tiers", "tiers/seglog", "node", "cmd/micelio-node", "e2e"},
	"github.com/anishathalye/porcupine":       {"history"},
	"github.com/HdrHistogram/hdrhistogram-go": {"loadtest"},
	"github.com/google/go-cmp":                {"tests"},
	"go.uber.org/goleak":                      {"tests"},
}

// unwelcome packages of the standard library have a better successor.
var unwelcome = map[string]string{
	"io/ioutil": "use io and os",
	"math/rand": "use math/rand/v2",
}

func TestImports(t *testing.T) {
	tree := loadTree(t)
	var broken []string
	for _, file := range tree.files {
		for _, spec := range file.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := importFault(file, imported); why != "" {
				broken = append(broken, fmt.Sprintf("%s imports %s: %s", tree.at(spec.Pos()), imported, why))
			}
		}
	}
	report(t, "imports against the direction of the house (see the tables in imports_test.go)", broken)
}

// importFault says what is wrong with file importing a package, "" if nothing.
func importFault(file *goFile, imported string) string {
	dir := file.dir()
	if why, found := unwelcome[imported]; found {
		return why
	}
	if local, found := strings.CutPrefix(imported, modulePath+"/"); found {
		allowed, known := ours[dir]
		if file.isTest() {
			_, knownInTests := oursInTests[dir]
			known = known || knownInTests
			allowed = append(slices.Clone(allowed), oursInTests[dir]...)
			allowed = append(allowed, dir) // an external test of its own package
		}
		switch {
		case !known:
			return "package " + dir + " has no row in the table"
		case !slices.Contains(allowed, local):
			return fmt.Sprintf("%s may import %s", dir, listOf(allowed))
		}
		return ""
	}
	if domain, _, _ := strings.Cut(imported, "/"); !strings.Contains(domain, ".") {
		return "" // the standard library
	}
	for module, homes := range others {
		if imported == module || strings.HasPrefix(imported, module+"/") {
			if slices.Contains(homes, dir) || (file.isTest() && slices.Contains(homes, "tests")) {
				return ""
			}
			return "its home is " + listOf(homes)
		}
	}
	return "the module has no row in the table"
}

func listOf(names []string) string {
	if len(names) == 0 {
		return "none of ours"
	}
	return strings.Join(names, ", ")
}

// A row for a package that is gone would let the table say less than it seems.
func TestImportTablesNameWhatExists(t *testing.T) {
	dirs := loadTree(t).dirs()
	var broken []string
	for _, table := range []map[string][]string{ours, oursInTests} {
		for dir, allowed := range table {
			for _, name := range append(slices.Clone(allowed), dir) {
				if _, found := dirs[name]; !found {
					broken = append(broken, name)
				}
			}
		}
	}
	report(t, "the import tables name packages that do not exist", broken)
}
