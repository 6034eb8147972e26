#!/usr/bin/env bash
# Builds the images micelio-node and micelio-origin out of programs that are built
# here, so that no registry is asked for anything. Usage: scripts/image.sh
# [--files | --images] [TAG], by default MICELIO_TAG, of the shell or else of
# deploy/compose/.env, as Compose has it. DOCKER_HOST says which engine. --files does the first half only, which writes bin/image and may
# ask the network for modules, --images the second, which asks nobody.
set -euo pipefail
cd "$(dirname "$0")/.."

half=both
case ${1:-} in
--files | --images)
	half=$1
	shift
	;;
esac
tag=${1:-${MICELIO_TAG:-$(sed -n 's/^MICELIO_TAG=//p' deploy/compose/.env)}}
out=bin/image
version=$(git describe --tags --always --dirty 2>/dev/null || echo devel)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

# An engine may be of another kind than this machine: Docker Desktop on a Mac.
if ! architecture=$(docker version --format '{{.Server.Arch}}' 2>/dev/null); then
	architecture=$(go env GOARCH)
fi

# The certificates that programs trust, where systems keep them.
certificates() {
	local file
	for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
		if [ -n "$file" ] && [ -f "$file" ]; then
			echo "$file"
			return
		fi
	done
	echo "no certificates of authorities found: set SSL_CERT_FILE" >&2
	return 1
}

build() { # DIR PACKAGE FLAGS
	CGO_ENABLED=0 GOOS=linux GOARCH=$architecture go build -C "$1" -trimpath -ldflags="-s -w ${3:-}" -o "$PWD/$out/" "$2"
}

build_files() {
	mkdir -p "$out/empty"
	build . ./cmd/micelio-node "-X main.version=$version"
	build . ./deploy/compose/setup
	build tools github.com/versity/versitygw/cmd/versitygw
	install -m 0644 "$(certificates)" "$out/ca-certificates.crt"
	chmod 0755 "$out" "$out/empty" "$out/micelio-node" "$out/setup" "$out/versitygw" # whatever the umask
}

image() { # TARGET NAME
	docker build --file deploy/compose/Dockerfile --target "$1" --tag "$2:$tag" \
		--build-arg VERSION="$version" --build-arg REVISION="$revision" . >"$log" 2>&1 || {
		cat "$log" >&2
		return 1
	}
	docker image ls --format 'image {{.Repository}}:{{.Tag}}  {{.Size}}' "$2:$tag"
}

[ "$half" = --images ] || build_files
if [ "$half" != --files ]; then
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	image prebuilt micelio-node
	image prebuilt-origin micelio-origin
fi
