package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker in releases: -ldflags "-X main.version=v1.2.3".
// Otherwise the build information of the module is the version.
var version string

// runVersion prints the version, the revision it was built from, and the
// toolchain and platform.
func (a *app) runVersion(_ context.Context, args []string) int {
	if asksForHelp(args) {
		a.printHelp(a.named)
		return exitOK
	}
	if len(args) > 0 {
		fmt.Fprintf(a.stderr, "micelio-node: version takes no arguments, not %q\n", args[0])
		return exitUsage
	}
	fmt.Fprintln(a.stdout, describeBuild(version, buildInfo()))
	return exitOK
}

// buildInfo returns what the toolchain wrote into the program, if it did.
func buildInfo() *debug.BuildInfo {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info
	}
	return &debug.BuildInfo{}
}

// builtFrom returns the version of a build and the revision of its source, "" if that
// is not known. linked, if not empty, wins over the module version in info.
func builtFrom(linked string, info *debug.BuildInfo) (version, revision string) {
	vcs := map[string]string{}
	for _, s := range info.Settings {
		vcs[s.Key] = s.Value
	}
	revision = vcs["vcs.revision"]
	if revision != "" && vcs["vcs.modified"] == "true" {
		revision += " (modified)"
	}
	return cmp.Or(linked, info.Main.Version, "(devel)"), revision
}

// describeBuild returns one line about a build.
func describeBuild(linked string, info *debug.BuildInfo) string {
	version, revision := builtFrom(linked, info)
	line := "micelio-node " + version
	if revision != "" {
		line += " revision " + revision
	}
	return fmt.Sprintf("%s %s %s/%s", line, cmp.Or(info.GoVersion, runtime.Version()), runtime.GOOS, runtime.GOARCH)
}
