#!/usr/bin/env bash
# Runs each fuzz target, those of nested modules too, one on each core: "go test
# -fuzz" takes one at a time, and most of a short run is building and linking.
# Usage: scripts/fuzz.sh [TIME], by default 10s each. What it finds is written to
# the package's testdata/fuzz and runs with the ordinary tests from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${1:-10s}

# fuzz DIR TARGET LOG runs one target. Up to Go 1.26 the end of the time may show as
# a failure that says nothing but "context deadline exceeded"
# (go.dev/issue/75804): that is no finding, and the target runs again.
fuzz() {
	for _ in 1 2 3; do
		if go test -C "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" -parallel 1 . >"$3" 2>&1; then
			return 0
		fi
		if ! grep -qE '^ +context deadline exceeded$' "$3" || grep -q 'Failing input' "$3"; then
			return 1
		fi
	done
	return 1
}

# one DIR TARGET runs one target and then says all of it at once.
one() {
	local log result=0
	log=$(mktemp)
	fuzz "$1" "$2" "$log" || result=1
	echo "== $1 $2"$'\n'"$(cat "$log")"
	return $result
}
# In one folder, because a signal ends those who would remove what is theirs, the go
# command among them.
TMPDIR=$(mktemp -d)
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM
export -f fuzz one
export fuzztime TMPDIR

targets=$(
	grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n 1 -d '\n' dirname | sort -u | while IFS= read -r dir; do
		grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed "s|^func |$dir |" | sort
	done
)
if [ -z "$targets" ]; then
	echo "no fuzz target found" >&2
	exit 1
fi
# shellcheck disable=SC2016 # the inner shell expands it
if ! xargs -L 1 -P "$(nproc)" bash -c 'one "$1" "$2"' one <<<"$targets"; then
	echo "a fuzz target failed: see FAIL above" >&2
	exit 1
fi
echo "$(wc -l <<<"$targets") fuzz targets ran for $fuzztime each"
