.PHONY: help up test check crash restarts soak full-disk faults attacks fuzz callgrind bench bench-micro bench-durable bench-history bench-supervisor screenshots package prepare release

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

up: ## the production stack without Docker, at http://localhost:5001 (PORT, RUN_DIR, LOG_DIR, DATA_DIR and every SSE_… variable count)
	@exec docker/up.sh

test: prepare check release ## everything: the checks, then the whole stack with browsers and containers
	@echo "== the whole stack: nginx, browsers, containers"
	cargo nextest run --locked --package stack-tests
	@echo "== figures that a busy machine does not change"
	@tests/tools/callgrind.sh

check: prepare ## fmt, clippy, the crates' tests, cargo-deny, docs
	@echo "== format and lints"
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@echo "== the crates' tests"
	cargo nextest run --locked --package sse-server --package supervisor
	@echo "== licences, bans, sources; advisories where their database can be reached"
	cargo deny --log-level error check licenses bans sources
	@tests/tools/advisories.sh
	@echo "== lock files of what is not part of the workspace"
	@for manifest in fuzz tests/stores; do cargo update --workspace --locked --quiet --manifest-path $$manifest/Cargo.toml || exit 1; done
	@echo "== docs"
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

crash: release ## kills the hub under load and accounts for every event (CYCLES=200, SEED=…)
	CYCLES=$(or $(CYCLES),200) cargo nextest run --locked --profile long --package stack-tests --test crash --success-output immediate

restarts: release ## restarts the hub behind nginx under load: nobody refused, nothing lost (RESTARTS=20)
	RESTARTS=$(or $(RESTARTS),20) cargo nextest run --locked --profile long --package stack-tests --test restart --success-output immediate

soak: prepare release ## a page in Chromium while the server restarts every minute: published and received are equal (MINUTES=30)
	MINUTES=$(or $(MINUTES),30) cargo nextest run --locked --profile long --package stack-tests --test browser_client --success-output immediate soaked

full-disk: release ## fills the disk under load and makes room again; needs root or user namespaces
	cargo nextest run --locked --package stack-tests --test full_disk --success-output immediate

faults: prepare ## what a supervisor must survive, with its full numbers: 1,700 programs, 10,000 restarts, 1,000 reloads
	FAULTS_FULL=1 cargo nextest run --locked --profile long --package supervisor --test faults --success-output immediate

attacks: prepare ## what a hostile client may do, with its full numbers: 500 slow connections, 100,000 topics and addresses
	ATTACKS_FULL=1 cargo nextest run --locked --profile long --package sse-server --test attacks --success-output immediate

fuzz: ## hostile input for every parser, 60 s each (RUNS=1000000 or SECONDS=600 per target, TARGETS="publish names")
	@tests/tools/fuzz.sh "$(RUNS)" "$(SECONDS)" $(TARGETS)

callgrind: ## the instructions of one delivery, and in which functions they are; needs valgrind
	@tests/tools/callgrind.sh list

bench: release ## events to many streams, beside nginx's push module, Python servers and a bare send loop (QUICK=1, RUNS=3, ROWS=memory,load, TOOLS=ours,nchan)
	@tests/tools/bench-push-peers.sh
	@cargo run --release --locked --quiet --package stack-tests --example bench -- fanout

bench-micro: ## the rules of the hub by themselves: append, index, frames, replay (BENCH=index)
	@cargo bench --locked --quiet --package sse-server --bench hub -- $(BENCH)

bench-durable: release ## publishes per second with the history on disk, against fdatasync and against memory
	@cargo run --release --locked --quiet --package stack-tests --example bench -- durable

bench-history: release ## a reader that stops, a long replay, a long history: memory and latencies (HISTORY=memory)
	@HISTORY=$(or $(HISTORY),disk) cargo run --release --locked --quiet --package stack-tests --example bench -- history

bench-supervisor: prepare release ## the supervisor's bars beside the Python one, s6, runit and Horust (RUNS=5, ROWS=memory,status, TOOLS=ours,genuine)
	@tests/tools/bench-peers.sh
	@cargo run --release --locked --quiet --package stack-tests --example bench -- supervisor

package: release ## a tarball and Debian packages of the programs, in target/package, and tries them
	@packaging/package.sh

screenshots: prepare release ## pictures of the pages under load: docs/dashboard.png, and all of them in target/screenshots (AFTER=150 seconds, PORT=5081)
	@AFTER=$(or $(AFTER),150) tests/tools/screenshots.sh

prepare: # what the tests need and this machine lacks
	@tests/tools/prepare.sh

release: # what `make up` runs
	cargo build --release --locked --quiet --package sse-server --package supervisor
