#!/usr/bin/env bash
# Starts three nodes on this machine over one origin directory, waits until they
# agree on the ring, and stops them with Ctrl-C.
# Usage: scripts/cluster.sh [DIR], by default ${TMPDIR:-/tmp}/micelio-cluster. What
# is in DIR stays there and is served again the next time.
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=3
patience=30 # seconds until the nodes must be ready and agree
data=${1:-${TMPDIR:-/tmp}/micelio-cluster}

listen() { echo "127.0.0.1:$((8080 + 10 * $1))"; }
peer() { echo "127.0.0.1:$((8081 + 10 * $1))"; }
admin() { echo "127.0.0.1:$((8082 + 10 * $1))"; }
gossip() { echo "127.0.0.1:$((7946 + $1))"; }
log() { echo "$data/node-$(($1 + 1)).log"; }

pids=()

# stop ends the nodes by their process ids: first a polite word, on which they
# drain, then none.
stop() {
	trap '' INT TERM
	trap - EXIT
	if [ ${#pids[@]} -gt 0 ]; then
		echo "stopping ${#pids[@]} nodes"
		kill -TERM "${pids[@]}" 2>/dev/null || true
		for ((tick = 0; tick < 10 * patience; tick++)); do
			kill -0 "${pids[@]}" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL "${pids[@]}" 2>/dev/null || true
		wait "${pids[@]}" 2>/dev/null || true
	fi
}

# start runs node i. The environment is empty but for what the cluster is made
# of, so that nobody's S3_BUCKET turns the demonstration into something else.
start() {
	local i=$1 others=() other
	for ((other = 0; other < nodes; other++)); do
		if [ "$other" -ne "$i" ]; then
			others+=(--join "$(gossip "$other")")
		fi
	done
	env -i PATH="$PATH" HOME="${HOME:-/}" \
		STORAGE_LOCAL_PATH="$data/origin" STORAGE_CACHE_PATH="$data/node-$((i + 1))/cache" \
		bin/micelio-node --name "node-$((i + 1))" --data-dir "$data/node-$((i + 1))" --bucket micelio \
		--listen "$(listen "$i")" --peer-listen "$(peer "$i")" --admin-listen "$(admin "$i")" --gossip-listen "$(gossip "$i")" \
		"${others[@]}" --drain-delay 0s >"$(log "$i")" 2>&1 </dev/null &
	pids+=($!)
}

# epoch prints the epoch of node i's ring, nothing if it is not ready.
epoch() {
	curl -fs -o /dev/null "http://$(admin "$1")/readyz" || return 0
	curl -fs "http://$(admin "$1")/ring" | grep -oE '"epoch": *"?[0-9a-f]+' | grep -oE '[0-9a-f]+$' || true
}

agreed() {
	local first i
	first=$(epoch 0)
	[ -n "$first" ] || return 1
	for ((i = 1; i < nodes; i++)); do
		[ "$(epoch "$i")" = "$first" ] || return 1
	done
}

# give_up shows why it did not work.
give_up() {
	echo "$1; the end of $(log "$2"):" >&2
	tail -n 20 "$(log "$2")" >&2
	exit 1
}

make --no-print-directory build
mkdir -p "$data/origin"
trap stop EXIT
trap 'exit 0' INT TERM # Ctrl-C is how it is meant to end
for ((i = 0; i < nodes; i++)); do
	start "$i"
done

deadline=$((SECONDS + patience))
until agreed; do
	for ((i = 0; i < nodes; i++)); do
		kill -0 "${pids[i]}" 2>/dev/null || give_up "node-$((i + 1)) has ended" "$i"
	done
	[ "$SECONDS" -lt "$deadline" ] || give_up "the nodes do not agree after $patience s" 0
	sleep 0.1
done

echo
echo "$nodes nodes agree on ring epoch $(epoch 0); the data is in $data"
for ((i = 0; i < nodes; i++)); do
	echo "  node-$((i + 1))  http://$(listen "$i")/micelio/  admin http://$(admin "$i")/  pid ${pids[i]}  log $(log "$i")"
done
cat <<END

Put something in through one node and read it through another:

  curl -sT README.md http://$(listen 0)/micelio/sessions/demo/readme
  curl -si http://$(listen 2)/micelio/sessions/demo/readme | head -n 20
  curl -s http://$(admin 1)/where/sessions/demo/readme
  aws --no-sign-request --endpoint-url http://$(listen 1) s3 ls --recursive s3://micelio/

Ctrl-C stops them.
END

# A node that is killed on purpose does not end the others.
wait "${pids[@]}" || true
