# Go and make are all that is needed; with a C compiler the tests run under the
# race detector too. `make help` lists the targets that have a `## ` text.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

GO       ?= go
PKGS     ?= ./...
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# For fuzz: time for each target. For sim: random histories. For bench: rounds.
FUZZTIME ?= 10s
CHECKS   ?= 2000
COUNT    ?= 6
# For sim: the seed from which histories are drawn; none draws a fresh one.
SEED     ?=
# Arguments for the program that a target runs: make run ARGS=--chaos
ARGS     ?=

# Tools are pinned in a module of their own, so that a user's dependency graph
# has none of them.
TOOLS    := $(CURDIR)/tools
TOOL      = $(GO) tool -modfile=$(TOOLS)/go.mod
PROTOGEN  = $(GO) -C $(TOOLS) run ./protogen -proto $(CURDIR)/proto -out $(CURDIR)/internal/gen -python $(CURDIR)/python/src/weft/_pb

# The race detector needs cgo, which go turns off where there is no C compiler.
RACE     := $(filter 1,$(shell $(GO) env CGO_ENABLED))
# Not run under the race detector: programs that train for minutes or measure.
NO_RACE  := /examples/digits$$|/bench$$

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the binary, bin/weft
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/weft ./cmd/weft

.PHONY: run
run: build ## run the main job, examples/digits, on an embedded node (ARGS=--chaos)
	$(GO) run ./examples/digits $(ARGS)

# Python is not needed for anything but its own package. An interpreter's
# environment, .venv, is made again when what it has to hold changes.
PYTHON   ?= python3
VENV     := .venv/.made

.PHONY: python
python: build $(VENV) ## make .venv, a Python that has the package weft (bin/weft run PROGRAM.py)

$(VENV): python/pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check -e 'python[test]'
	@touch $@

.PHONY: test
test: test-plain test-race test-python ## run the tests: all of them, then again under the race detector, then Python's
	$(GO) -C $(TOOLS) test ./...

.PHONY: test-python
test-python:
ifeq ($(shell $(PYTHON) -c 'import venv, ensurepip; print(1)' 2>/dev/null),)
	@echo "Python's tests: not run, they need $(PYTHON) with venv"
else
	$(MAKE) python
	.venv/bin/python -m pytest python/tests
endif

.PHONY: test-plain
test-plain:
	$(GO) test -short -timeout 5m $(PKGS)

.PHONY: test-race
test-race:
ifeq ($(RACE),)
	@echo "race detector: not run, it needs a C compiler"
else
	$(GO) test -race -short -timeout 8m $$($(GO) list $(PKGS) | grep -Ev '$(NO_RACE)')
endif

.PHONY: test-long
test-long: ## run the tests at full length (minutes)
	$(GO) test -count=1 -timeout 60m $(PKGS)

.PHONY: lint
lint: ## check style, generated code, go.mod, and that arm64 compiles
	$(PROTOGEN) -check
	$(GO) mod tidy -diff
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build $(PKGS)
	$(TOOL) golangci-lint run --allow-parallel-runners $(PKGS)
	cd $(TOOLS) && $(GO) tool golangci-lint run --allow-parallel-runners --config ../.golangci.yml ./...
ifneq ($(wildcard $(VENV)),)
	.venv/bin/ruff check --config python/pyproject.toml python bench examples
	.venv/bin/ruff format --config python/pyproject.toml --check python bench examples
	cd python && ../.venv/bin/mypy src
endif

.PHONY: fmt
fmt: ## format the code
	$(TOOL) golangci-lint fmt

.PHONY: generate
generate: ## write internal/gen from proto/
	$(PROTOGEN)

.PHONY: bench
bench: build ## measure everything beside its limit, into bench/results (COUNT=6)
	$(GO) run ./bench -rounds $(COUNT) $(ARGS)

# Ray has an environment of its own: its dependencies are not ours.
.venv-ray/.made:
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install -q --disable-pip-version-check 'ray[default]==2.60.0' numpy
	@touch $@

.PHONY: bench-ray
bench-ray: python .venv-ray/.made ## measure Weft in Python beside Ray, in turn, into bench/results (ROUNDS=3)
	.venv/bin/python bench/ray/compare.py .venv-ray/bin/python .venv/bin/python $(or $(ROUNDS),3) bench/results/ray.md

.PHONY: bench-cluster
bench-cluster: python .venv-ray/.made ## the same for two nodes on this machine (ROUNDS=3)
	.venv/bin/python bench/ray/compare.py .venv-ray/bin/python .venv/bin/python $(or $(ROUNDS),3) bench/results/cluster.md cluster.py

.PHONY: fuzz
fuzz: ## fuzz every decoder for a while (FUZZTIME=10s each)
	@grep -rEoH --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's|/[^/]*:func | |' | sort -u | \
	while read -r dir target; do \
		echo "fuzz $$dir $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; \
	done

.PHONY: chaos
chaos: ## kill, stall and drain nodes and workers of a cluster under load (STEPS=60 times)
	$(GO) test -count=1 -timeout 60m ./cmd/weft -run TestChaos -v -chaos.steps=$(or $(STEPS),60) $(if $(SEED),-chaos.seed=$(SEED))

.PHONY: sim
sim: ## simulate whole clusters (CHECKS=2000 histories, with fresh seeds or from SEED on)
	@seed=$(or $(SEED),$$(date +%s)); again="make sim CHECKS=$(CHECKS) SEED=$$seed"; echo "$$again"; \
	$(GO) test -count=1 -timeout 60m ./internal/sim -rapid.checks=$(CHECKS) -rapid.seed=$$seed \
		-sim.seeds=$(CHECKS) -sim.first=$$seed $(ARGS) || { echo "sim failed; again: $$again"; exit 1; }
