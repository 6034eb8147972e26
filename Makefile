# "make help" lists what there is to do. Everything runs with Go and a shell
# alone; what the tests need besides is installed by scripts/install-test-tools.sh.

GO ?= go

# Time for all tests of one package. The longest are the end-to-end ones, which
# move gigabytes through three processes.
TEST_TIMEOUT ?= 15m

# How long each fuzz target runs in make fuzz.
FUZZTIME ?= 10s

# Pinned, so that the same source passes today and next year.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

SCRIPTS = .ci/run $(wildcard scripts/*.sh)

.DEFAULT_GOAL := build

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: build
build: ## build bin/micelio-node and bin/micelio-load, static binaries
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/micelio-node ./loadtest/cmd/micelio-load

# The packages whose tests take minutes come first, so that none of them runs on
# alone while the other cores have nothing to do.
LONGEST = ./node ./origin ./tiers

.PHONY: test
# What e2e tests are programs of their own, so that the race detector would watch
# nothing but the ones who drive them, and slow those down.
test: test-tools simulate ## run every test, with the race detector, but for e2e and the simulation
	$(GO) vet ./...
	MICELIO_TEST_TOOLS=required $(GO) test -race -timeout $(TEST_TIMEOUT) $(LONGEST) $$($(GO) list ./... | grep -v /e2e$$)
	MICELIO_TEST_TOOLS=required $(GO) test -timeout $(TEST_TIMEOUT) ./e2e

# How many histories of a simulated cluster make simulate checks, and from which
# seed on. 10000 take some two minutes of two cores.
HISTORIES ?= 10000
SEED ?= 1

# How many seeds of each fault its membership is drilled with. 100 take some 10 s
# of two cores; 2500 are 100 of every way to fall in two.
DRILLS ?= 100

.PHONY: simulate
simulate: ## check HISTORIES (10000) histories of a simulated cluster and DRILLS (100) drills of each fault of its membership
	$(GO) test ./node -run '^(TestSimulation|TestTheSimulationCatchesEveryMutant)$$' -v -timeout $(TEST_TIMEOUT) -histories $(HISTORIES) -seed $(SEED)
	$(GO) test ./ring -run 'TestDrill' -v -timeout $(TEST_TIMEOUT) -drills $(DRILLS) -seed $(SEED)

.PHONY: test-tools
test-tools: ## install and build the programs that the tests drive
	scripts/install-test-tools.sh
	scripts/build-test-servers.sh

.PHONY: judge
judge: ## hold the stores against gocloud.dev's conformance suite, a module of its own
	scripts/build-test-servers.sh
	$(GO) vet -C judge ./...
	MICELIO_TEST_TOOLS=required $(GO) test -C judge -race -timeout $(TEST_TIMEOUT) ./...

.PHONY: bench-test
bench-test: ## test the programs that compare us with others, a module of its own
	$(GO) vet -C bench ./...
	$(GO) test -C bench -race -timeout $(TEST_TIMEOUT) ./...

# The public traces lie in this repository at this commit; make HIT_RATIO_TRACES=DIR
# takes them from elsewhere.
TRACES_REPOSITORY = https://github.com/maypok86/otter
TRACES_COMMIT = af06af4766b57d529115252942c424fa72d54e26
HIT_RATIO_TRACES ?= $(CURDIR)/bin/traces/benchmarks/simulator/trace

.PHONY: hit-ratios
hit-ratios: $(HIT_RATIO_TRACES) ## play traces to our policy and others, into docs/benchmarks.md
	$(GO) run -C bench ./hitratio -traces $(HIT_RATIO_TRACES) -docs $(CURDIR)/docs

$(CURDIR)/bin/traces/benchmarks/simulator/trace:
	git clone --quiet --no-checkout --filter=blob:none $(TRACES_REPOSITORY) bin/traces
	git -C bin/traces checkout --quiet $(TRACES_COMMIT) -- benchmarks/simulator/trace

.PHONY: bench-ram
bench-ram: ## measure the RAM tier and other caches side by side, into docs/benchmarks.md
	$(GO) run -C bench ./ramtier -docs $(CURDIR)/docs/benchmarks.md

.PHONY: bench-hotkey
bench-hotkey: ## measure what one hot key costs a cluster of five, into docs/benchmarks.md
	$(GO) run -C bench ./hotkey -docs $(CURDIR)/docs/benchmarks.md

# Who cannot be installed is left out of the tables, which say so.
.PHONY: bench-tools
bench-tools:
	scripts/install-test-tools.sh varnishd || echo "what is not installed is left out"

.PHONY: bench-hot
bench-hot: bench-tools ## measure hot reads beside nginx, Varnish and groupcache, into docs/benchmarks.md; 7 minutes
	$(GO) run -C bench ./hot -docs $(CURDIR)/docs/benchmarks.md

# How long make bench-steady looks.
STEADY ?= 10m

.PHONY: bench-steady
bench-steady: ## watch the memory of a node under a mixed load for STEADY (10m), into docs/benchmarks.md
	$(GO) run -C bench ./hot -steady $(STEADY) -docs $(CURDIR)/docs/benchmarks.md

# How many connections make bench-halfopen opens.
HALFOPEN ?= 5000

.PHONY: bench-halfopen
bench-halfopen: ## measure what HALFOPEN (5000) connections that never ask do to others, into docs/benchmarks.md
	$(GO) run -C bench ./hot -halfopen $(HALFOPEN) -rounds 3 -docs $(CURDIR)/docs/benchmarks.md

# Where the disk is that make bench-ssd and make bench-writes measure.
BENCH_DIR ?= $(CURDIR)/bin/bench

.PHONY: bench-ssd
bench-ssd: ## measure the SSD tier and other engines side by side, into docs/benchmarks.md
	mkdir -p $(BENCH_DIR)
	$(GO) run -C bench ./ssdtier -dir $(BENCH_DIR) -docs $(CURDIR)/docs/benchmarks.md

.PHONY: bench-serving
bench-serving: ## measure ways from the SSD to a connection, into docs/benchmarks.md
	mkdir -p $(BENCH_DIR)
	$(GO) run -C bench ./ssdtier -serving -rounds 9 -dir $(BENCH_DIR) -docs $(CURDIR)/docs/benchmarks.md

.PHONY: bench-writes
bench-writes: ## measure ways to write the SSD tier's log, into docs/benchmarks.md
	mkdir -p $(BENCH_DIR)
	$(GO) run -C bench ./ssdtier -writes -dir $(BENCH_DIR) -docs $(CURDIR)/docs/benchmarks.md

.PHONY: placement
placement: ## measure the placement and others beside it, into docs/placement.md
	$(GO) test ./ring -run 'TestPlacementReport$$' -timeout $(TEST_TIMEOUT) -placement $(CURDIR)/docs/placement.md

.PHONY: short
short: ## run the quick tests only, with what is installed
	$(GO) test -short ./...

.PHONY: lint
lint: ## check the format, go vet, staticcheck, and the scripts
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	@if command -v shellcheck >/dev/null; then echo shellcheck $(SCRIPTS); shellcheck $(SCRIPTS); \
	elif [ -n "$$CI" ]; then echo "shellcheck is not installed"; exit 1; \
	else echo "shellcheck is not installed: the scripts were not checked"; fi

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: cluster
cluster: ## start three nodes on this machine; Ctrl-C stops them
	scripts/cluster.sh

# Either version of Compose will do.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
COMPOSE_PROJECT = $(COMPOSE) --file deploy/compose/compose.yaml --profile four

.PHONY: image
image: ## build the images micelio-node and micelio-origin from what is built here, with no registry
	scripts/image.sh

.PHONY: compose
compose: image ## start three nodes, an S3 origin, a CDN, Prometheus and Grafana in containers
	MICELIO_BUILD=prebuilt $(COMPOSE) --file deploy/compose/compose.yaml up --detach --no-build
	$(COMPOSE_PROJECT) ps

.PHONY: compose-down
compose-down: ## stop them; their volumes stay
	$(COMPOSE_PROJECT) down

.PHONY: compose-test
compose-test: ## bring them up with an engine that is started if there is none, break some, and remove all again
	scripts/compose-test.sh

.PHONY: clean
clean: ## remove what make build wrote
	rm -rf bin
