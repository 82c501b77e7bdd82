# The commands for daily use. `make` lists them.

PYTHON ?= python3
PICTURE ?=
INPUTS ?=
ARGS ?=

VENV := .venv
READY := $(VENV)/.ready
SITE := $(CURDIR)/$(VENV)/site-packages
BACKEND := target/release/libtriton_tensorflow_latency.so
INCEPTION := model_repository/inception_v3/1/model.savedmodel/saved_model.pb
FROZEN_INCEPTION := target/bench/inception_v3_frozen/saved_model.pb
TEST_MODELS := target/test-models/made_from
DIST_READY := $(VENV)/.ready-dist
DEPLOY_READY := $(VENV)/.ready-deploy
DIST_LIBRARY := target/$(shell uname -m)-unknown-linux-gnu/dist/libtriton_tensorflow_latency.so
EXPERIMENT := target/release/triton-experiment
# A --backend-directory that contains the backend, and the options that start a server with it.
BACKENDS := $(CURDIR)/target/backends
EXPERIMENT_SERVER = --tritonserver $(TL_TRITONSERVER) --model-repository model_repository \
  --server-arg=--backend-directory=$(BACKENDS) \
  --server-arg=--backend-config=tensorflow_latency,tensorflow-dir=$(TL_TENSORFLOW_DIR)
CMAKE_PREFIX := target/cmake-install
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY_HOME := target/tools/cargo-deny-$(CARGO_DENY_VERSION)
CARGO_DENY := $(CARGO_DENY_HOME)/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.1
CARGO_FUZZ_HOME := target/tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)
CARGO_FUZZ := $(CARGO_FUZZ_HOME)/bin/cargo-fuzz

# bindgen reads the C headers with libclang: the wheel's, unless the environment names another.
check bindings: export LIBCLANG_PATH ?= $(SITE)/clang/native
BINDINGS := -p triton-backend-sys -p tensorflow-c-sys --features triton-backend-sys/bindgen,tensorflow-c-sys/bindgen

# Paths for the tests and benchmarks. Set them to use other ones.
export TL_PYTHON ?= $(CURDIR)/$(VENV)/bin/python
export TL_TRITONSERVER ?= $(SITE)/pytriton/tritonserver/bin/tritonserver
export TL_TENSORFLOW_DIR ?= $(SITE)/tensorflow
export TL_BACKEND ?= $(CURDIR)/$(BACKEND)
export TL_INCEPTION_DIR ?= $(CURDIR)/model_repository/inception_v3
export TL_TEST_MODELS ?= $(CURDIR)/target/test-models

.DEFAULT_GOAL := help
.PHONY: help setup model test-models build demo serve accuracy experiment experiment-batching experiment-tool test \
  bench bench-against bench-experiment bench-policy dist drop-in check-dist test-cmake test-dockerfile test-container test-deploy test-fleet \
  test-tensorflow compatibility check check-deep check-deploy check-docs fuzz soak bindings clean clean-venv cargo picture

help: ## shows this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | \
	  awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

setup: $(READY) ## installs TensorFlow, the client and a Triton server into .venv (2 GB, once)
	@echo "Set up: $(VENV)"

model: $(INCEPTION) ## makes the Inception-v3 SavedModel (190 MB, half a minute, once)
	@echo "Inception-v3: $(dir $(INCEPTION))"

build: cargo ## builds target/release/libtriton_tensorflow_latency.so
	@echo "Building $(BACKEND)$$(test -f $(BACKEND) || echo ' (1 to 3 minutes)')"
	@cargo build --release
	@test -f $(BACKEND)

demo: picture build $(INCEPTION) ## classifies pictures on a real server, each response with its latency and energy; PICTURE=FILE uses yours
	@$(VENV)/bin/python tools/demo.py $(ARGS) $(if $(PICTURE),"$(PICTURE)")

serve: build $(INCEPTION) ## runs a server until Ctrl-C; ARGS="--http-port 8000" and the like
	@$(VENV)/bin/python tools/serve.py $(ARGS)

accuracy: build $(INCEPTION) ## compares answers in BF16 with those in FP32; INPUTS="a.jpg b.png", ARGS="--least-agreement 99"
	@$(VENV)/bin/python tools/accuracy.py $(ARGS) $(INPUTS)

# The integration tests come last and run twice, first with adaptive batching for every model that does not choose its own
# way. So the output ends with their summary.
test: build $(INCEPTION) $(TEST_MODELS) ## runs all tests against a real server
	@echo "Testing"
	@cargo test --release --workspace --doc $(ARGS)
	@cargo test --release --workspace --exclude tensorflow_latency --lib --bins --tests $(ARGS)
	@cargo test --release --lib --test structure $(ARGS)
	@TL_BATCHING=adaptive cargo test --release --test integration $(ARGS)
	@cargo test --release --test integration $(ARGS)

# Each run has a folder of its own, named after the time, so results are never overwritten.
experiment: experiment-tool ## sweeps Inception-v3 over the batch size (3 minutes); ARGS="--batch 1,4" and the like
	@$(EXPERIMENT) sweep --plan experiment/plans/inception_v3.toml $(EXPERIMENT_SERVER) \
	  --output target/experiments/$$(date +%Y%m%d-%H%M%S) $(ARGS)

experiment-batching: experiment-tool ## compares ways to batch under one latency target (25 minutes); ARGS="--only-traces step"
	@$(EXPERIMENT) batching --plan experiment/plans/batching.toml $(EXPERIMENT_SERVER) \
	  --output target/experiments/batching-$$(date +%Y%m%d-%H%M%S) $(ARGS)

test-models: $(TEST_MODELS) ## makes the small SavedModels of the tests
	@echo "Test models: $(dir $(TEST_MODELS))"

bench: build $(INCEPTION) $(FROZEN_INCEPTION) $(TEST_MODELS) ## compares the server with the bare TensorFlow session (30 minutes); ARGS="--only one-op,load"
	@cargo bench --bench latency -- $(ARGS)

# The last revision on the crate `tensorflow`.
BASELINE ?= 19e2c82
bench-against: build $(INCEPTION) $(TEST_MODELS) ## compares this backend with an earlier revision (25 minutes); BASELINE=REVISION, ARGS="--only one-op"
	@library=$$(sh tools/build_baseline.sh $(BASELINE) $(VENV)/bin/python) && \
	  cargo bench --bench latency -- --against "$$library" $(ARGS)

bench-experiment: build $(INCEPTION) $(TEST_MODELS) ## compares the measuring tool with the official clients; PERF_ANALYZER=FILE
	@cargo build --release -p triton-experiment
	@$(VENV)/bin/python experiment/benches/against_clients.py $(ARGS)
	@cargo bench -p triton-experiment --bench limits

# An example, not a bench: Cargo.toml says why.
bench-policy: cargo ## compares adaptive batching with the optimum, simulated (15 minutes); ARGS="--only closed", "--shape gpu"
	@cargo run --quiet --release --example policy -- $(ARGS)

dist: $(DIST_READY) cargo ## builds, checks and packs the library for glibc 2.17 and newer, in dist/
	@$(VENV)/bin/python tools/dist.py

# Servers before 23.04 make tensorflow1 or tensorflow2 of the name.
drop-in: dist ## leaves dist/drop-in/, whose folders go to Triton's backends/ in place of the TensorFlow backend that it shipped
	@rm -rf dist/drop-in
	@for name in tensorflow tensorflow1 tensorflow2; do \
	  mkdir -p dist/drop-in/$$name && cp $(DIST_LIBRARY) dist/drop-in/$$name/libtriton_$$name.so || exit 1; \
	done
	@echo "Copy the folders in dist/drop-in to Triton's backends folder; TensorFlow is found as docs/getting-started.md says"

check-dist: dist $(TEST_MODELS) ## tests that library in stand-ins for servers, and its check with planted faults
	@echo "Testing $(DIST_LIBRARY)"
	@TL_BACKEND=$(CURDIR)/$(DIST_LIBRARY) cargo test --release --test library $(ARGS)

# Twice, the second time under another name: nothing may assume the first one.
test-cmake: $(DIST_READY) cargo $(TEST_MODELS) ## builds and installs with CMake, then serves a model from there
	@rm -rf $(CMAKE_PREFIX)
	@for name in tensorflow_latency renamed; do \
	  $(VENV)/bin/cmake -S cmake -B target/cmake-$$name -DTENSORFLOW_LATENCY_BACKEND_NAME=$$name \
	    -DTENSORFLOW_LATENCY_TARGET_DIR=$(CURDIR)/target && \
	  $(VENV)/bin/cmake --build target/cmake-$$name && \
	  $(VENV)/bin/cmake --install target/cmake-$$name --prefix $(CMAKE_PREFIX) && \
	  $(VENV)/bin/python tests/dist/serve_installed.py $(CMAKE_PREFIX)/backends $$name || exit 1; \
	done

test-dockerfile: dist $(TEST_MODELS) ## builds docker/Dockerfile on the image of test-container, then serves a model from it
	@sh tests/container/run.sh $(VENV)/bin/python sh tests/dist/dockerfile.sh $(VENV)/bin/python

# The test runs behind docs/compatibility.md, each with the library of `make dist`.
TRITON_IMAGE ?=
TENSORFLOW ?=
TENSORFLOW_VERSIONS ?= oldest newest
test-container test-tensorflow compatibility: export TL_BACKEND = $(CURDIR)/$(DIST_LIBRARY)
RECORD = $(VENV)/bin/python tools/compatibility.py record
TESTS = cargo test --release --test integration $(ARGS)

test-container: dist $(INCEPTION) $(TEST_MODELS) ## runs the tests against a server in a container; TRITON_IMAGE=IMAGE uses yours
	@TRITON_IMAGE="$(TRITON_IMAGE)" TENSORFLOW="$(TENSORFLOW)" \
	  sh tests/container/run.sh $(VENV)/bin/python $(RECORD) container $(TESTS)

test-tensorflow: dist $(INCEPTION) $(TEST_MODELS) ## runs the tests with the oldest and the newest TensorFlow (1 GB to download)
	@folders=$$($(VENV)/bin/python tools/tensorflow_versions.py $(CURDIR)/target/tensorflow $(TENSORFLOW_VERSIONS)) && \
	for folder in $$folders; do \
	  echo "Testing with $$folder"; \
	  TL_TENSORFLOW_DIR=$$folder cargo test --release -p tensorflow-c-sys --tests || exit 1; \
	  TL_TENSORFLOW_DIR=$$folder $(RECORD) "this machine" $(TESTS) || exit 1; \
	done

compatibility: dist $(INCEPTION) $(TEST_MODELS) ## runs all of these and writes docs/compatibility.md from the results
	@failed=0; \
	$(RECORD) "this machine" $(TESTS) || failed=1; \
	$(MAKE) --no-print-directory test-container || failed=1; \
	$(MAKE) --no-print-directory test-tensorflow || failed=1; \
	$(VENV)/bin/python tools/compatibility.py table && exit $$failed

check: $(READY) cargo $(CARGO_DENY) ## checks formatting, lints, bindings, packages, dependencies and API documentation
	@echo "Formatting"
	@cargo fmt --all --check
	@cargo fmt --check --manifest-path fuzz/Cargo.toml
	@echo "Lints"
	@cargo clippy --workspace --all-targets -- -D warnings
	@cargo clippy $(BINDINGS) --all-targets -- -D warnings
	@echo "Bindings"
	@cargo test --quiet $(BINDINGS) --test bindings
	@echo "Packages"
	@sh tools/check_packages.sh
	@echo "Dependencies"
	@sh tools/check_dependencies.sh $(CARGO_DENY)
	@echo "Documentation"
	@RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items
	@$(MAKE) --no-print-directory check-deploy

check-deploy: $(DEPLOY_READY) ## checks deploy/: manifests, if kubectl is installed also as kustomize makes them; rules and their tests, if promtool is
	@echo "Deployment"
	@$(VENV)/bin/python tools/check_deploy.py $(ARGS)

test-deploy: build $(DEPLOY_READY) $(TEST_MODELS) ## starts real servers with the command lines of the manifests
	@echo "Testing the command lines of the manifests"
	@$(VENV)/bin/python tests/deploy/serve_manifest.py

test-fleet: build $(DEPLOY_READY) $(INCEPTION) ## a fleet behind a load balancer, a day in 10 minutes, and a rolling restart (needs haproxy, prometheus); ARGS="--scenario day --short"
	@cargo build --release -p triton-experiment
	@if [ -n "$(ARGS)" ]; then $(VENV)/bin/python tests/fleet/run.py $(ARGS); else \
	  $(VENV)/bin/python tests/fleet/run.py --scenario rolling && $(VENV)/bin/python tests/fleet/run.py --scenario day; fi

bindings: $(READY) cargo ## generates the committed bindings from the headers of triton-sys and tensorflow-c-sys
	@UPDATE_BINDINGS=1 cargo test --quiet $(BINDINGS) --test bindings

# Miri interprets; the component is not part of every toolchain.
check-deep: build $(TEST_MODELS) $(CARGO_FUZZ) ## what takes long: all orders of the queue's threads (loom), a million histories of it, Miri, sanitizers, fuzzing (an hour)
	@echo "All orders of what the threads of the queue do, with up to 2 preemptions"
	@RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=2 \
	  cargo test --release --lib batching::tests::orders $(ARGS)
	@echo "A million histories of the queue"
	@PROPTEST_CASES=1000000 cargo test --release --lib each_request_leaves_once_in_its_turn $(ARGS)
	@if cargo miri --version >/dev/null 2>&1; then \
	  echo "Miri"; PROPTEST_CASES=4 MIRIFLAGS=-Zmiri-disable-isolation cargo miri test --lib batching::tests::policy; \
	else echo "Miri was not run: this toolchain has no such component"; fi
	@sh tools/sanitize_host.sh address
	@sh tools/sanitize_host.sh thread
	@$(MAKE) --no-print-directory fuzz SECONDS=60

# Of each target. What was found in a run is in target/fuzz, and the next run goes on from there.
SECONDS ?= 60
fuzz: cargo $(CARGO_FUZZ) ## fuzzes whatever reads what others have written, each target for SECONDS=60; ARGS="outline text"
	@echo "Fuzzing"
	@sh tools/fuzz.sh $(CARGO_FUZZ_HOME) $(SECONDS) $(ARGS)

MINUTES ?= 30
soak: build $(INCEPTION) $(TEST_MODELS) ## mixed load on a real server for MINUTES=30, then servers that are ended and killed (10 minutes)
	@echo "Soaking"
	@cargo test --quiet --release --test soak -- --minutes $(MINUTES) $(ARGS)

check-docs: build $(READY) $(INCEPTION) ## runs the commands in README and guides, checks links and lists of settings
	@$(VENV)/bin/python tools/check_docs.py $(ARGS)

clean: ## removes build results and models; keeps .venv and target/tools
	@echo "Removing build results and model files"
	@test ! -d target || find target -mindepth 1 -maxdepth 1 ! -name tools -exec rm -rf {} +
	@rm -rf dist $(dir $(INCEPTION))

clean-venv: ## removes .venv
	@echo "Removing $(VENV)"
	@rm -rf $(VENV)

# --- internal steps ---

# The measuring tool, and a backend directory for the server.
experiment-tool: build $(INCEPTION)
	@cargo build --release -p triton-experiment
	@mkdir -p $(BACKENDS)/tensorflow_latency && ln -sfn $(TL_BACKEND) $(BACKENDS)/tensorflow_latency/$(notdir $(BACKEND))

$(READY): requirements.txt requirements-server.txt tools/setup.sh
	@sh tools/setup.sh "$(PYTHON)"

$(DIST_READY): requirements-dist.txt $(READY)
	@echo "Installing zig, cargo-zigbuild and cmake: 150 MB to download, 0.5 GB on disk"
	@$(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --only-binary=:all: -r requirements-dist.txt
	@touch $@

$(DEPLOY_READY): requirements-deploy.txt $(READY)
	@echo "Installing the schemas of Kubernetes: 10 MB to download, 130 MB on disk"
	@$(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --only-binary=:all: -r requirements-deploy.txt
	@touch $@

# The script decides whether the existing model is still good; `touch` tells make.
$(INCEPTION): model_repository/make_inception_v3.py | $(READY)
	@$(VENV)/bin/python model_repository/make_inception_v3.py
	@touch $@

$(FROZEN_INCEPTION): benches/latency/freeze_inception.py $(INCEPTION)
	@$(VENV)/bin/python benches/latency/freeze_inception.py $(dir $(INCEPTION)) $(dir $@)
	@touch $@

$(TEST_MODELS): $(addprefix tests/models/,make_models.py saving.py graphs.py ragged.py sequences.py custom_op.c) $(READY)
	@$(VENV)/bin/python tests/models/make_models.py target/test-models
	@touch $@

$(CARGO_DENY): | cargo
	@echo "Installing cargo-deny $(CARGO_DENY_VERSION) into target/tools (3 to 5 minutes, once)"
	@cargo install --quiet --locked --root $(CARGO_DENY_HOME) cargo-deny@$(CARGO_DENY_VERSION)

$(CARGO_FUZZ): | cargo
	@echo "Installing cargo-fuzz $(CARGO_FUZZ_VERSION) into target/tools (1 to 2 minutes, once)"
	@cargo install --quiet --locked --root $(CARGO_FUZZ_HOME) cargo-fuzz@$(CARGO_FUZZ_VERSION)

cargo:
	@command -v cargo >/dev/null || { \
	  echo "cargo was not found. Install Rust (https://rustup.rs) or put ~/.cargo/bin on the PATH." >&2; exit 1; }
	@command -v cc >/dev/null || { \
	  echo "No C compiler (cc) was found; Rust links with it. On Debian and Ubuntu: apt install gcc" >&2; exit 1; }

# Checked before minutes of set-up, not after.
picture:
	@test -z "$(PICTURE)" || test -r "$(PICTURE)" || { echo "No such picture: $(PICTURE)" >&2; exit 1; }
