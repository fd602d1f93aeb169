# Every target with a `## ` text is listed by `make help`. Go is all it needs.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

GO       ?= go
PKGS     ?= ./...
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 10s
COUNT    ?= 6
# Extra arguments for the program that a target runs, as in
# `make run ARGS=--chaos`.
ARGS     ?=

# Tools are pinned in a module of their own, so that a user's dependency graph
# has none of them.
TOOLS     = $(CURDIR)/tools
TOOL      = $(GO) tool -modfile=$(TOOLS)/go.mod
PROTOGEN  = $(GO) -C $(TOOLS) run ./protogen -proto $(CURDIR)/proto -out $(CURDIR)/internal/gen

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: generate
generate: ## write internal/gen from proto/
	$(PROTOGEN)
