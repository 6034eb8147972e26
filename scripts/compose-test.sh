#!/usr/bin/env bash
# Brings up deploy/compose and holds it to what it promises: a real tree goes in
# through one node and comes out through another, byte by byte, while nodes are
# killed and stopped; the SSD tier survives; containers may do as little as it says.
#
# Images of ours are built from here. nginx and Prometheus are those of this machine,
# which Debian has, so that no registry is asked; Grafana is left out. Where there is no
# engine one is started, and ends with the test (scripts/with-engine.sh). It takes
# apt-get and root to install what is missing; where it cannot run, it says so in its
# last line and succeeds, unless MICELIO_COMPOSE_TEST=required.
#
# Usage: scripts/compose-test.sh [TREE], by default the source of Go. Two of them may
# run at once: each has names of its own and publishes on free ports.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

patience=90 # seconds until what is waited for must have happened
tree=${1:-$(go env GOROOT)/src}
file=deploy/compose/compose.yaml
services=(origin cdn micelio-1 micelio-2 micelio-3 prometheus) # and setup, which ends

not_run() { # REASON
	echo "compose-test: NOT RUN: $1"
	if [ "${MICELIO_COMPOSE_TEST:-}" = required ]; then
		exit 1
	fi
	exit 0
}

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

fail() {
	say "FAILED: $*"
	exit 1
}

# --- images --------------------------------------------------------------------

# wrap makes an image FROM scratch of programs of this machine and the libraries
# that they load: IMAGE PROGRAM...
wrap() {
	local image=$1 dir program path applet
	shift
	dir=$(mktemp -d "$work/image.XXXX")
	mkdir -p "$dir/root/bin" "$dir/empty"
	for program in "$@"; do
		program=$(type -P "$program")
		for path in "$program" $(ldd "$program" 2>/dev/null | grep -oE '/[^ ]+' || true); do
			cp -L --parents "$path" "$dir/root"
		done
		install "$program" "$dir/root/bin/"
	done
	for applet in sh sleep wget; do
		[ -e "$dir/root/bin/$applet" ] || ln -s busybox "$dir/root/bin/$applet"
	done
	printf 'FROM scratch\nCOPY root /\nCOPY --chown=65534:65534 empty /prometheus\nENTRYPOINT ["%s"]\n' "$1" >"$dir/Dockerfile"
	docker build --tag "$image" "$dir" >"$work/build.log" 2>&1 || {
		cat "$work/build.log"
		fail "no image $image"
	}
	images+=("$image")
	rm -r "$dir"
}

build_images() {
	images=("micelio-node:$project" "micelio-origin:$project")
	scripts/image.sh --images "$project"
	wrap "$NGINX_IMAGE" nginx busybox
	wrap "$PROMETHEUS_IMAGE" prometheus busybox
	wrap "client:$project" sleep busybox rclone bin/micelio-load
}

# --- the project ---------------------------------------------------------------

compose() { "${compose[@]}" --file "$file" "$@"; }

# container prints the container of a service, also of one that has ended: SERVICE
container() { docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"; }

# url prints where a port of a service is published: SERVICE PORT. It may be another
# one after each start.
url() { echo "http://$(docker port "$(container "$1")" "$2/tcp" | head -n 1)"; }

inspect() { docker inspect --format "$2" "$(container "$1")"; } # SERVICE FORMAT

health() { inspect "$1" '{{.State.Health.Status}}' 2>/dev/null; }

# await waits until a command succeeds: WHAT COMMAND...
await() {
	local what=$1 deadline=$((SECONDS + patience))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || fail "not within $patience s: $what"
		sleep 0.2
	done
}

healthy() { # SERVICE...
	local service
	for service in "$@"; do
		[ "$(health "$service")" = healthy ] || return 1
	done
}

client() { docker exec "$project-client" "$@"; }

# requests prints how many requests of clients the nodes at some admin listeners have
# answered: URL...
requests() {
	local admin
	for admin in "$@"; do
		curl -fs "$admin/metrics" || true
	done | awk '/^micelio_requests_total\{/ { n += $NF } END { printf "%d\n", n }'
}

more_than() { # NUMBER URL...
	local number=$1
	shift
	[ "$(requests "$@")" -gt "$number" ]
}

# tier prints which tier answered a GET, and reads the object into a file: SERVICE KEY FILE
tier() { curl -fs -o "$3" -D - "$(url "$1" 8080)/micelio/$2" | tr -d '\r' | sed -n 's/^[Xx]-[Cc]ache: //p'; }

# --- what is held against it ---------------------------------------------------

agree() { docker exec "$(container micelio-1)" /micelio-node ring >"$work/ring" 2>&1; }

check_start() {
	say "starting ${services[*]}; Grafana is left out: Debian does not have it"
	compose up -d "${services[@]}" >"$work/up.log" 2>&1 || {
		tail -n 30 "$work/up.log"
		fail "up"
	}
	await "all are healthy" healthy "${services[@]}"
	say "all are healthy"
	await "the nodes agree on the ring" agree
	say "the nodes agree on the ring:"
	sed 's/^/          /' "$work/ring"
}

# check_rights holds every container to x-hardened.
check_rights() {
	local service facts
	for service in setup "${services[@]}"; do
		facts=$(inspect "$service" '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Privileged}}')
		case $facts in
		0:* | root* | " "*) fail "$service runs as root: $facts" ;;
		[1-9]*" true [ALL] [no-new-privileges:true] false") ;;
		*) fail "$service may do more than it needs: $facts" ;;
		esac
		facts=$(inspect "$service" '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{index .HostConfig.LogConfig.Config "max-size"}}')
		case " $facts " in
		*" 0 "* | *"<"* | "    ") fail "$service has no limit of memory, CPU, processes or log: $facts" ;;
		esac
		facts=$(inspect "$service" '{{range .HostConfig.PortBindings}}{{range .}}{{.HostIp}} {{end}}{{end}}')
		[ -z "$(tr -d ' ' <<<"${facts//127.0.0.1/}")" ] || fail "$service is published at $facts"
	done
	if docker exec "$(container cdn)" sh -c 'echo x >/x' 2>/dev/null; then
		fail "the root of a container can be written to"
	fi
	say "all run as users of their own, over read-only roots, without capabilities, within limits, published at 127.0.0.1 only"
}

# check_cdn stores an object behind the back of the cluster.
check_cdn() {
	local key from answer
	head -c 300000 /dev/urandom >"$work/object"
	key=artifacts/sha256:$(sha256sum "$work/object" | cut -d ' ' -f 1)
	docker exec -i "$project-client" sh -c 'cat >/tmp/object' <"$work/object"
	sync copyto /tmp/object ":s3,endpoint='http://origin:7070',access_key_id=$S3_ACCESS_KEY_ID,secret_access_key=$S3_SECRET_ACCESS_KEY:micelio/$key"
	for from in cdn ram; do
		[ "$(tier micelio-2 "$key" "$work/got")" = "$from" ] || fail "an object of the bucket does not come from $from"
		cmp "$work/object" "$work/got" || fail "its bytes are wrong"
	done
	curl -fsS -o /dev/null -T "$work/object" "$(url micelio-1 8080)/micelio/sessions/1/head"
	for from in cdn:8080 origin:7070; do
		answer=$(client wget -O /dev/null "http://$from/micelio/sessions/1/head" 2>&1 || true)
		case $answer in *"HTTP/1.1 403"* | *"HTTP/1.1 404"*) ;; *) fail "a stranger asks $from for a mutable key: $answer" ;; esac
	done
	say "what never changes comes through the CDN, then from RAM; neither the CDN nor the bucket show a stranger what changes"
}

# sync runs rclone, which may try nothing twice: COMMAND ARG...
sync() {
	client rclone --config "" --s3-provider Other --s3-force-path-style --retries 1 --low-level-retries 1 --transfers 16 --checkers 16 \
		--stats 0 --use-server-modtime "$@"
}

at() { echo ":s3,endpoint='http://$1:8080':micelio/artifacts/sha256:tree"; } # SERVICE

check_tree() {
	local since=$SECONDS before reader admin dead
	files=$(find "$tree" -type f | wc -l)
	sync copy /src "$(at micelio-1)" >"$work/copy.log" 2>&1 || {
		tail -n 5 "$work/copy.log"
		fail "storing the tree"
	}
	say "stored $files files, $(du -sh --apparent-size "$tree" | cut -f 1), through micelio-1 in $((SECONDS - since)) s"

	since=$SECONDS
	admin=$(url micelio-2 8082)
	before=$(requests "$admin")
	sync check --download /src "$(at micelio-2)" >"$work/check.log" 2>&1 &
	reader=$!
	await "a tenth of the tree is read" more_than $((before + files / 10)) "$admin"
	docker kill --signal KILL "$(container micelio-3)" >/dev/null
	dead=$SECONDS
	say "killed micelio-3 after $(($(requests "$admin") - before)) reads through micelio-2"
	await "two thirds of the tree are read" more_than $((before + files * 2 / 3)) "$admin"
	docker start "$(container micelio-3)" >/dev/null
	say "started it again after $((SECONDS - dead)) s and $(($(requests "$admin") - before)) reads"
	wait "$reader" || {
		tail -n 5 "$work/check.log"
		fail "reading the tree"
	}
	grep -q ' 0 differences found' "$work/check.log" || fail "differences: $(tail -n 3 "$work/check.log")"
	say "read and compared every byte in $((SECONDS - since)) s:$(sed -n 's/.*:\( 0 differences found\)/\1/p;s/.*:\( [0-9]* matching files\)/,\1/p' "$work/check.log" | tr -d '\n'), no retry"
}

# check_ssd reads what the killed node owns, through it.
check_ssd() {
	local key owned=0 found=0 from admin
	: >"$work/tiers"
	await "micelio-3 is healthy again" healthy micelio-3
	await "the nodes agree on the ring" agree
	admin=$(url micelio-3 8082)
	while IFS= read -r key; do
		curl -fs "$admin/where/artifacts/sha256:tree/$key" | grep -qE '"owner": *"micelio-3"' || continue
		from=$(tier micelio-3 "artifacts/sha256:tree/$key" "$work/got")
		cmp "$tree/$key" "$work/got" || fail "wrong bytes of $key"
		owned=$((owned + 1))
		echo "$from" >>"$work/tiers"
		[ "$from" != ssd ] || found=$((found + 1))
	done < <(cd "$tree" && find . -type f -size +4k -size -64k | sed 's|^\./||' | sort | awk 'NR % 29 == 1' | head -n 90)
	if [ "$found" -eq 0 ] || [ "$found" -lt $((owned / 2)) ]; then
		fail "of $owned objects that micelio-3 owns, $found came from its SSD"
	fi
	say "the SSD tier of micelio-3 survived: of $owned objects that it owns, it has$(sort "$work/tiers" | uniq -c | awk '{ printf "%s %d in %s", sep, $1, $2; sep = "," }')"
}

# check_drain stops a node while others are asked.
check_drain() {
	local load since admin
	client micelio-load prepare -allow-remote -target micelio-1:8080 -keys 500 -sizes 16KiB >/dev/null
	client micelio-load run -allow-remote -target micelio-1:8080,micelio-3:8080 -keys 500 -sizes 16KiB -ops get:8,put:1 -check 1 \
		-rate 200 -duration 12s >"$work/load" 2>&1 &
	load=$!
	admin=$(url micelio-1 8082)
	await "the load has begun" more_than "$(requests "$admin")" "$admin"
	since=$SECONDS
	docker stop --time 40 "$(container micelio-2)" >/dev/null
	say "stopped micelio-2 under load: it ended with $(inspect micelio-2 '{{.State.ExitCode}}') in $((SECONDS - since)) s"
	[ "$(inspect micelio-2 '{{.State.ExitCode}}')" = 0 ] || fail "it did not drain"
	wait "$load" || [ $? -eq 3 ] || { # 3: the machine is too busy to judge times, and times are not judged here
		cat "$work/load"
		fail "the load"
	}
	grep -E '^(Requests|Unsent|Latencies|Bodies|Success)' "$work/load" | sed 's/^/          /'
	grep -qE '^Success .* 100(\.0*)?%, [0-9]+, 0$' "$work/load" || fail "requests failed"
	docker start "$(container micelio-2)" >/dev/null
}

targets() { curl -fs "$(url prometheus 9090)/api/v1/targets?state=active" | grep -oE '"health":"[a-z]+"' | sort | uniq -c; }

all_up() {
	targets >"$work/targets"
	! grep -qv '"up"' "$work/targets" && [ "$(awk '{ print $1 }' "$work/targets")" -ge 3 ]
}

check_prometheus() {
	await "all are healthy again" healthy "${services[@]}"
	await "all targets of Prometheus are up" all_up
	curl -fs "$(url prometheus 9090)/api/v1/rules" >"$work/rules"
	! grep -oE '"health":"err","lastError":"[^"]*' "$work/rules" || fail "rules of Prometheus"
	say "Prometheus: $(awk '{ print $1 }' "$work/targets") targets, all up; $(grep -o '"type":"alerting"' "$work/rules" | wc -l) alerts, none faulty; firing: $(
		grep -oE '"state":"firing"' "$work/rules" | wc -l)"
}

four_agree() { agree && grep -q 'all 4 agree' "$work/ring"; }

# check_growth adds a node as an operator would.
check_growth() {
	local since=$SECONDS
	compose --profile four up -d micelio-4 >"$work/up.log" 2>&1 || {
		tail -n 30 "$work/up.log"
		fail "up with a fourth node"
	}
	await "four nodes agree" four_agree
	say "a fourth node joined in $((SECONDS - since)) s"
}

show() {
	say "compose ps:"
	compose ps | sed 's/^/          /'
	say "the last lines of micelio-3:"
	docker logs --tail 4 "$(container micelio-3)" 2>&1 | cut -c 1-160 | sed 's/^/          /'
}

# --- from here to there --------------------------------------------------------

down() {
	local status=$?
	trap - EXIT
	trap '' INT TERM
	if [ "$status" -ne 0 ] && [ "$status" -ne 75 ]; then
		compose ps || true
		compose logs --no-color --tail 12 2>&1 | cut -c 1-240 || true
	fi
	docker rm --force "$project-client" >/dev/null 2>&1 || true
	docker ps -aq --filter "label=com.docker.compose.project=$project" | xargs -r docker rm --force >/dev/null 2>&1 || true
	compose --profile four down --volumes --remove-orphans --timeout 1 >"$work/down.log" 2>&1 || cat "$work/down.log"
	docker image rm --force "${images[@]}" >/dev/null 2>&1 || true
	rm -rf "$work"
	if [ "$status" -eq 0 ]; then
		left=$(
			docker ps -aq --filter "name=$project"
			for kind in volume network; do docker "$kind" ls -q --filter "name=$project"; done
		)
		if [ -n "$left" ]; then
			say "FAILED: left behind: $left"
			exit 1
		fi
		say "nothing is left"
		echo "compose-test: passed"
	fi
	exit "$status"
}

within() {
	project=micelio-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
	work=$(mktemp -d "${TMPDIR:-/tmp}/compose.XXXXXX")
	images=()
	if docker compose version >/dev/null 2>&1; then
		compose=(docker compose)
	else
		compose=(docker-compose)
	fi
	S3_REGION=us-east-1 S3_ACCESS_KEY_ID=test S3_SECRET_ACCESS_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n') S3_BUCKET=micelio
	export S3_REGION S3_ACCESS_KEY_ID S3_SECRET_ACCESS_KEY S3_BUCKET
	export COMPOSE_PROJECT_NAME=$project MICELIO_BUILD=prebuilt MICELIO_TAG=$project NGINX_IMAGE=nginx:$project PROMETHEUS_IMAGE=prometheus:$project
	export PUBLISH=127.0.0.1 MICELIO_1_PORT=0 MICELIO_1_ADMIN_PORT=0 MICELIO_2_PORT=0 MICELIO_2_ADMIN_PORT=0 MICELIO_3_PORT=0 MICELIO_3_ADMIN_PORT=0
	export MICELIO_4_PORT=0 MICELIO_4_ADMIN_PORT=0
	export PROMETHEUS_PORT=0 GRAFANA_PORT=0
	trap down EXIT
	trap 'exit 130' INT TERM

	say "engine $(docker version --format '{{.Server.Version}}'), $("${compose[@]}" version --short)"
	build_images
	say "the images are built"
	if ! docker run --rm --network none "micelio-node:$project" version >"$work/version" 2>&1; then
		cat "$work/version"
		[ -z "${ENGINE_IS_OURS:-}" ] || exit 75
		fail "the engine runs no container"
	fi
	check_start
	docker run --detach --name "$project-client" --network "${project}_cluster" --user 65532:65532 --read-only --tmpfs /tmp:mode=1777 --env HOME=/tmp \
		--cap-drop ALL --volume "$tree:/src:ro" "client:$project" 3600 >/dev/null
	check_rights
	check_cdn
	check_tree
	check_ssd
	check_drain
	check_prometheus
	check_growth
	show
}

# outside readies what is needed and finds an engine.
outside() {
	local status=0 need=(busybox curl ip nginx prometheus rclone)
	[ "$(uname -s)" = Linux ] || not_run "images of this machine's programs run on Linux only"
	docker info >/dev/null 2>&1 || need+=(docker dockerd)
	docker compose version >/dev/null 2>&1 || need+=(docker-compose)
	if ! scripts/install-test-tools.sh --only "${need[@]}"; then
		[ -z "${CI:-}" ] || exit 1 # there it can be installed
		not_run "what it needs is not installed, see above"
	fi
	make --no-print-directory build
	scripts/image.sh --files # modules may come from the network here, and not in there
	scripts/with-engine.sh "$0" --within "$tree" &
	trap 'kill -TERM $! 2>/dev/null; wait $!; exit 130' INT TERM
	wait $! || status=$?
	[ "$status" -ne 75 ] || not_run "there is no container engine, and none can be started that runs containers, see above"
	return "$status"
}

if [ "${1:-}" = --within ]; then
	tree=$2
	within
else
	outside
fi
