# MCP Ultra. `make` alone lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
# One after the other: cargo uses the cores itself, and two cargos only wait for each other.
.NOTPARALLEL:

# Port of `make run`; 0 takes any free one.
PORT ?= $(or $(MCP_ULTRA_SERVER_PORT),8080)
# Endpoint that `make smoke-tests` checks; empty: a quickstart of its own.
TARGET ?=
# Seconds for each target of `make fuzz`.
SECONDS_EACH ?= 60

.PHONY: help run build setup test test-all test-integration test-e2e test-chaos test-performance test-security smoke-tests lint fmt coverage fuzz

help: ## List the targets
	@echo "Usage: make TARGET"
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: PORT=$(PORT) (run), TARGET=URL (smoke-tests), SECONDS_EACH=$(SECONDS_EACH) (fuzz)"

run: ## Build the release binary and start it with a demo server behind it (PORT)
	@scripts/setup build
	@scripts/cargo run --release -p mcp-ultra -- quickstart --port $(PORT)

build: ## Build the release binary
	@scripts/setup build
	@scripts/cargo build --release -p mcp-ultra

setup: ## Install what building and testing need (Debian, Ubuntu; elsewhere: name it)
	@scripts/setup all

test: ## Install what is missing, then run every check and test
	@scripts/setup all
	@scripts/test fmt clippy tests conformance real-clients bench secrets

test-all: ## Everything: test, test-security, test-performance
	@scripts/setup all
	@scripts/test fmt clippy tests conformance real-clients bench secrets supply-chain performance

test-integration: ## Integration tests of all crates
	@scripts/setup build
	@scripts/test integration

test-e2e: ## Whole gateway: end-to-end tests, conformance suite, real clients
	@scripts/setup all
	@scripts/test e2e conformance real-clients

test-chaos: ## Kill, pause, cut off and slow every part under load, about 25 minutes
	@scripts/setup all
	@scripts/test chaos

test-performance: ## The benchmark beside nginx, about five minutes; report in bench/results
	@scripts/setup all
	@scripts/test performance

test-security: ## Hostile input, secrets in the repository, licences and advisories of dependencies
	@scripts/setup build
	@scripts/test hostile secrets supply-chain

smoke-tests: ## `mcp-ultra smoke` against TARGET, or against a quickstart started for it
	@scripts/smoke "$(TARGET)"

lint: ## Formatting and clippy, warnings denied
	@scripts/test fmt clippy

fmt: ## Format the code
	@scripts/cargo fmt --all

coverage: ## Line coverage of the tests (needs cargo-llvm-cov and LLVM's tools)
	@scripts/coverage

fuzz: ## Fuzz every target for SECONDS_EACH seconds (needs cargo-fuzz and a nightly Rust)
	@scripts/fuzz $(SECONDS_EACH)
