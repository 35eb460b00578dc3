# Every step of CI is a target here. `make demo` and `make test` are the two that matter.
.DEFAULT_GOAL := help
.PHONY: help demo dashboard test-dashboard test scenarios llm-eval control-plane node test-rust test-c install-c python test-python fuzz miri fmt lint deny bench clean

CARGO ?= cargo
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/argus
DENY := $(CACHE)/cargo-deny-0.20.2/bin/cargo-deny

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: ## the main job, to its end, on a cluster in memory
	@$(CARGO) run --quiet --locked -p quickstart

dashboard: ## the page, on a cluster in memory with broken apps: http://127.0.0.1:8080/
	@$(CARGO) run --quiet --locked -p dashboard

test: ## every test of every language; ARGUS_TEST_ALL=1 makes a skip a failure
	@.ci/test

scenarios: ## the fault scenarios in memory, on a real API server and on a real node, with tables; ONLY=part-of-a-name for some
	@ONLY="$(ONLY)" .ci/scenarios

llm-eval: ## how good a model is at the scenarios: make llm-eval MODEL=... ENDPOINT=... WIRE=...
	@ARGUS_EVAL_MODEL="$(MODEL)" ARGUS_EVAL_ENDPOINT="$(ENDPOINT)" ARGUS_EVAL_WIRE="$(WIRE)" ARGUS_EVAL_ONLY="$(ONLY)" .ci/llm-eval

control-plane: ## builds and starts the real API server that the tests use; stop it with `.ci/control-plane down`
	@.ci/control-plane up

node: ## builds and starts the real node that the scenarios use (root); stop it with `.ci/node/control down`
	@.ci/node/control up

test-rust: ## the Rust tests
	$(CARGO) test --locked --no-fail-fast --workspace --all-features --exclude argus-python --exclude argus-fuzz

test-c: ## the C and C++ hosts
	@bindings/c/test.sh

install-c: ## builds the C library and installs it: `make install-c PREFIX=/usr/local`
	@bindings/c/install.sh $(or $(PREFIX),$(error say where to: `make install-c PREFIX=/usr/local`))

test-dashboard: ## the dashboard in a real browser, and its routes
	@examples/dashboard/test.sh

python: ## builds the wheel and installs it into a fresh virtual environment
	@bindings/python/install.sh

test-python: python ## the Python tests, against the installed wheel
	@bindings/python/test.sh

fuzz: ## a minute of fuzzing for each reader; FUZZ_SECONDS=3600 for an hour
	@argus-core/fuzz/run command $(or $(FUZZ_SECONDS),60)
	@argus-core/fuzz/run plan $(or $(FUZZ_SECONDS),60)
	@argus-core/fuzz/run trail $(or $(FUZZ_SECONDS),60)

miri: ## the C boundary where every access to memory is checked; needs nightly Rust with Miri
	MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +nightly miri test --locked -p argus-ffi --lib --target-dir target/miri

fmt: ## formats
	$(CARGO) fmt --all

lint: ## formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --all-features --quiet

deny: $(DENY) ## licences, sources and banned crates
	$(DENY) --workspace check bans licenses sources

$(DENY):
	$(CARGO) install --quiet cargo-deny --version 0.20.2 --locked --no-default-features --root $(CACHE)/cargo-deny-0.20.2

bench: ## the measurements; figures are kept in benches/README.md
	$(CARGO) bench --locked -p argus-benches

clean: ## removes what was built here
	$(CARGO) clean
	rm -rf bindings/python/.venv
