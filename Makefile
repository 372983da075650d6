.PHONY: check up

check: ## fmt, clippy, tests, cargo-deny, docs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

up: ## the production stack without Docker, at http://localhost:5001 (PORT, RUN_DIR, LOG_DIR, DATA_DIR and every SSE_… variable count)
	@exec docker/up.sh
