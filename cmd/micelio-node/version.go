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
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	fmt.Fprintln(a.stdout, describeBuild(version, info))
	return exitOK
}

// describeBuild returns one line about a build. linked, if not empty, wins over
// the module version in info.
func describeBuild(linked string, info *debug.BuildInfo) string {
	vcs := map[string]string{}
	for _, s := range info.Settings {
		vcs[s.Key] = s.Value
	}
	line := "micelio-node " + cmp.Or(linked, info.Main.Version, "(devel)")
	if revision := vcs["vcs.revision"]; revision != "" {
		line += " revision " + revision
		if vcs["vcs.modified"] == "true" {
			line += " (modified)"
		}
	}
	return fmt.Sprintf("%s %s %s/%s", line, cmp.Or(info.GoVersion, runtime.Version()), runtime.GOOS, runtime.GOARCH)
}
