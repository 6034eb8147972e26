#!/usr/bin/env bash
# Builds the programs that the tests talk to into bin/tools: real S3 services, a
# proxy that breaks connections, and vegeta, which reads what we encode for it.
# Their versions are pinned in tools/go.mod, a module of its own, so that nothing
# of theirs reaches ours. The first build takes some minutes; after that there is
# nothing to do until a version changes.
set -euo pipefail
cd "$(dirname "$0")/.."

out=bin/tools
stamp=$out/.built-from
want=$(cat tools/go.sum tools/go.mod | sha256sum | cut -d ' ' -f 1)-$(go env GOVERSION)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
	exit 0
fi

mkdir -p "$out"
build() { # NAME PACKAGE
	echo "building $1"
	CGO_ENABLED=0 go build -C tools -trimpath -ldflags='-s -w' -o "../$out/$1" "$2"
}
build versitygw github.com/versity/versitygw/cmd/versitygw
build gofakes3 github.com/johannesboyne/gofakes3/cmd/gofakes3
build toxiproxy-server github.com/Shopify/toxiproxy/v2/cmd/server
build vegeta github.com/tsenart/vegeta/v12
echo "$want" >"$stamp"
