.PHONY: help up test check prepare release

help: ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

up: ## the production stack without Docker, at http://localhost:5001 (PORT, RUN_DIR, LOG_DIR, DATA_DIR and every SSE_… variable count)
	@exec docker/up.sh

test: prepare check release ## everything: the checks, then the whole stack with browsers and containers
	@echo "== the whole stack: nginx, browsers, containers"
	cargo nextest run --locked --package stack-tests

check: prepare ## fmt, clippy, the crates' tests, cargo-deny, docs
	@echo "== format and lints"
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@echo "== the crates' tests"
	cargo nextest run --locked --package sse-server --package supervisor
	@echo "== licences, bans, sources; advisories where their database can be reached"
	cargo deny --log-level error check licenses bans sources
	@tests/tools/advisories.sh
	@echo "== docs"
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

prepare: # what the tests need and this machine lacks
	@tests/tools/prepare.sh

release: # what `make up` runs
	cargo build --release --locked --quiet --package sse-server --package supervisor
