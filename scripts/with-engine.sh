#!/usr/bin/env bash
# Runs a command that needs a container engine: with the one that is here, or with one
# that is started for it and ends with it. Usage: scripts/with-engine.sh COMMAND...
#
# The engine that is started has network, mounts and processes of its own, and the
# command runs inside of them. So nothing is left behind, whatever happens: the
# first process there takes all others, bridges, rules and mounts with it, and
# TMPDIR is removed. What the command needs of other networks it must have before.
# It sees ENGINE_IS_OURS=yes then. It takes root, dockerd and unshare.
#
# Exit code 75: there is no engine, and none can be started; the reason is on
# stderr. Otherwise that of the command.
set -euo pipefail

none=75     # EX_TEMPFAIL of sysexits.h
patience=30 # seconds until an engine must answer

# within runs in the namespaces: DIR COMMAND...
within() {
	local dir=$1 engine=
	shift
	trap 'exit 130' INT TERM # the process of number 1 dies of no signal that it has no trap for
	# Not only Docker's own files lie in /run, also those of what it starts.
	mount -t tmpfs tmpfs /run
	# A key of its own is written there, and how the engine of the machine is set up
	# says nothing to this one.
	mount -t tmpfs tmpfs /etc/docker
	ip link set lo up
	export DOCKER_HOST=unix://$dir/docker.sock ENGINE_IS_OURS=yes
	dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "$DOCKER_HOST" \
		--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/${dir##*/}" >"$dir/log" 2>&1 </dev/null &
	engine=$!
	local deadline=$((SECONDS + patience))
	until docker info >/dev/null 2>&1; do
		if ! kill -0 "$engine" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
			echo "no container engine is here, and dockerd cannot be started:" >&2
			grep -E 'level=(error|fatal)|failed' "$dir/log" | tail -n 3 >&2 || tail -n 3 "$dir/log" >&2
			exit "$none"
		fi
		sleep 0.1
	done
	local status=0
	"$@" || status=$?
	kill -TERM "$engine"
	wait "$engine" || true
	exit "$status"
}

as_root=()
dir=
inside=
settings=

# cleanup ends what is left and removes its files. The last kill takes everything in
# the namespaces.
cleanup() {
	trap - EXIT
	trap '' INT TERM
	if [ -n "$inside" ]; then
		"${as_root[@]}" sh -c "kill -KILL $inside" 2>/dev/null || true # sudo, where that is used, is root's
		wait "$inside" 2>/dev/null || true
	fi
	# Groups can be removed once the last process in them has died.
	for ((tick = 0; tick < 50; tick++)); do
		[ -n "$(find /sys/fs/cgroup -maxdepth 2 -name "${dir##*/}" 2>/dev/null)" ] || break
		[ "$tick" -eq 0 ] || sleep 0.1
		"${as_root[@]}" find /sys/fs/cgroup -depth -type d -path "*/${dir##*/}*" -exec rmdir {} + 2>/dev/null || true
	done
	"${as_root[@]}" rm -rf "$dir"
	[ -z "$settings" ] || "${as_root[@]}" rmdir "$settings" 2>/dev/null || true
}

if [ "${1:-}" = --within ]; then
	shift
	within "$@"
fi
if docker info >/dev/null 2>&1; then
	exec "$@"
fi
PATH=$PATH:/usr/sbin:/sbin
for command in dockerd docker unshare setpriv ip; do
	if ! command -v "$command" >/dev/null; then
		echo "no container engine is here, and $command, to start one, is not installed" >&2
		exit "$none"
	fi
done
if [ "$(id -u)" -ne 0 ]; then
	as_root=(sudo -n -E env "PATH=$PATH")
fi
if ! "${as_root[@]}" unshare --mount --net --pid --ipc --fork true 2>/dev/null; then
	echo "no container engine is here, and to start one takes root and the right to make namespaces" >&2
	exit "$none"
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/engine.XXXXXX") # short: paths of sockets have at most 107 bytes
trap cleanup EXIT
trap 'exit 130' INT TERM
if [ ! -d /etc/docker ]; then # to be mounted over, or dockerd would make it
	settings=/etc/docker
	"${as_root[@]}" mkdir "$settings"
fi
"${as_root[@]}" env "TMPDIR=$dir" setpriv --pdeathsig KILL \
	unshare --mount --net --pid --ipc --fork --kill-child --mount-proc "$0" --within "$dir" "$@" &
inside=$!
status=0
wait "$inside" || status=$?
inside=
[ "$status" -eq 0 ] || exit "$status"
