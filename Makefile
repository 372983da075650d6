.PHONY: check

check: ## fmt, clippy, tests, cargo-deny, docs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
