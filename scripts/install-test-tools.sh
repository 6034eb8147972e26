#!/usr/bin/env bash
# Installs what the tests need besides Go: a C compiler for the race detector,
# the S3 clients that are driven against a running cluster, nginx, which stands
# in for a CDN, strace, which ends a process at a system call or makes the call
# fail, the tool for file systems that fail, ip and nft, which give nodes a network
# that breaks, wrk, which judges the load tests, chromium, in which the page of a
# node is looked at, and promtool, mandoc, zsh, fish and systemd-analyze, which
# read what is made for them. Further commands may be named as arguments, such as
# varnishd for the benchmarks, and those alone after --only. Installs nothing that is
# there already, and starts no service.
# Usage: scripts/install-test-tools.sh [--only] [COMMAND...]
set -euo pipefail
PATH=$PATH:/usr/sbin # where Debian has nginx, nft and varnishd, and no user's path leads

# The Debian packages that bring a command.
packages_of() {
	case $1 in
	aws) echo awscli ;;
	busybox) echo busybox-static ;;
	docker | dockerd) echo docker.io ;;
	gcc) echo gcc libc6-dev ;;
	ip) echo iproute2 ;;
	mkfs.ext4) echo e2fsprogs ;;
	nft) echo nftables ;;
	nginx) echo nginx-light ;;
	promtool) echo prometheus ;;
	systemd-analyze) echo systemd ;;
	varnishd) echo varnish ;;
	*) echo "$1" ;;
	esac
}

commands=(gcc curl aws rclone s3cmd nginx strace mkfs.ext4 ip nft wrk chromium promtool mandoc zsh fish systemd-analyze)
if [ "${1:-}" = --only ]; then
	shift
	commands=()
fi
missing=()
packages=()
for command in "${commands[@]}" "$@"; do
	if ! command -v "$command" >/dev/null; then
		missing+=("$command")
		read -ra names <<<"$(packages_of "$command")"
		packages+=("${names[@]}")
	fi
done
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
	cat >&2 <<-END
		The tests need commands that are not installed: ${missing[*]}.
		They cannot be installed from here, which takes apt-get and root. Install them
		(in Debian they are the packages ${packages[*]}),
		or run "go test ./...", which leaves out the tests that need them.
	END
	exit 1
fi

echo "installing ${packages[*]}"
"${as_root[@]}" apt-get update -qq
# Packages start their services, some of which listen to everybody: Prometheus does,
# and Docker sets up a network. RUNLEVEL keeps them from it, but not where systemd
# runs, which asks this file alone (invoke-rc.d(8), deb-systemd-invoke(1)).
policy=/usr/sbin/policy-rc.d
if [ -d /run/systemd/system ] && [ ! -e "$policy" ]; then
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
	trap 'exit 130' INT TERM
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 0755 /dev/stdin "$policy"
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends "${packages[@]}" </dev/null >/dev/null
