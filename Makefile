# What one does with this project, a word each. `make` alone lists them.

SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
# The order of a recipe matters, and so does every step's failure.
.SHELLFLAGS := -euo pipefail -c

# Where scripts/setup.sh puts what the system lacks.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

TARGET := $(or $(CARGO_TARGET_DIR),target)
WITH_SERVERS := $(TARGET)/debug/with-servers

# Images are called mp3converter/auth:$(TAG) and so on, as the manifests name them; `push` names them after REPO.
DOCKER ?= docker
REPO ?= mp3converter
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGES := auth gateway converter notification mp3converter

.PHONY: help
help: ## lists these
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1|/' | column -t -s '|'

.PHONY: run
run: ## installs what is missing, then starts everything in one process, without any server; ARGS='--data DIR'
	scripts/setup.sh build
	cargo run --release --locked --package mp3converter -- $(ARGS)

.PHONY: services
services: programs ## starts the four services on throw-away servers; mails are shown, Ctrl-C stops all
	$(WITH_SERVERS) --services

.PHONY: with-servers
with-servers: programs ## opens a shell with throw-away MariaDB, mongod, RabbitMQ and SMTP
	$(WITH_SERVERS)

.PHONY: programs
programs: setup ## builds every program, for development
	cargo build --workspace --bins --locked

.PHONY: release
release: ## builds the services as they are shipped
	scripts/setup.sh build
	cargo build --workspace --bins --locked --release

.PHONY: test
test: setup lint programs ## checks and tests everything; installs what is missing first
	cargo test --workspace --doc --locked --quiet
	$(WITH_SERVERS) -- cargo nextest run --workspace --locked $(TESTS)

.PHONY: soak
soak: export NEMESIS_MINUTES := $(or $(MINUTES),30)
soak: setup programs ## faults of every kind under load, MINUTES=30 long; SEED=… repeats an order
	$(if $(SEED),NEMESIS_SEED=$(SEED)) $(WITH_SERVERS) -- cargo nextest run --locked --workspace --test reliability --profile soak

.PHONY: load
load: export LOAD_MINUTES := $(or $(MINUTES),10)
load: export LOAD_CLIENTS := $(or $(CLIENTS),200)
load: setup programs ## many clients that upload at once, CLIENTS=200 of them for MINUTES=10
	$(WITH_SERVERS) -- cargo nextest run --locked --workspace --test reliability --profile load

# What guides the fuzzer: counters at every edge of the program, and what is compared there. A host is
# named so that the flags are not those of build scripts, too.
AUDIT_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 $(addprefix -Cllvm-args=-sanitizer-coverage-, \
	level=4 inline-8bit-counters pc-table trace-compares)
AUDIT_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
AUDIT_SECONDS = $(shell echo $$(( $(or $(AUDIT_MINUTES),2) * 60 )))
FUZZED := engine form frames mp3 text token

.PHONY: audit
audit: ## replays all hostile input that is kept, then looks for more: AUDIT_MINUTES=2 for each target
	scripts/setup.sh audit
	cargo nextest run --workspace --locked --test replay --test hostile
	RUSTFLAGS="$(AUDIT_FLAGS)" cargo build --locked --manifest-path fuzz/Cargo.toml --target $(AUDIT_HOST) --target-dir $(TARGET)/fuzz
	for target in $(FUZZED); do \
		found=$(TARGET)/fuzz/found/$$target; mkdir -p $$found; \
		echo "audit: $$target for $(AUDIT_SECONDS) s"; \
		$(TARGET)/fuzz/$(AUDIT_HOST)/debug/$$target -max_total_time=$(AUDIT_SECONDS) -max_len=16384 -timeout=20 \
			-rss_limit_mb=1500 -artifact_prefix=$$found/../$$target- $$found fuzz/corpus/$$target 2>$$found.log || \
			{ tail -n 40 $$found.log; echo "audit: $$target broke; the input is $$found-…"; exit 1; }; \
		tail -n 1 $$found.log; \
	done

.PHONY: bench
bench: ## measures upload, download, conversion and memory, beside references
	scripts/setup.sh bench
	cargo build --workspace --bins --locked --release
	$(TARGET)/release/with-servers -- $(TARGET)/release/bench

.PHONY: images
images: ## builds the container images; TAG=… names another version
	for image in $(IMAGES); do \
		DOCKER_BUILDKIT=1 $(DOCKER) build --file docker/Dockerfile --target $$image --tag mp3converter/$$image:$(TAG) \
			--build-arg VERSION=$(TAG) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) .; \
	done

.PHONY: push
push: ## pushes them to REPO=you, or REPO=registry.example.com/you
	for image in $(IMAGES); do \
		$(DOCKER) tag mp3converter/$$image:$(TAG) $(REPO)/$$image:$(TAG); \
		$(DOCKER) push $(REPO)/$$image:$(TAG); \
	done

.PHONY: secrets
secrets: ## makes the secrets of an installation on Kubernetes, where there are none yet
	scripts/secrets.sh manifests/components/secrets

.PHONY: test-containers
test-containers: export TAG := $(TAG)
test-containers: images ## tests the images on their real servers; needs Docker with Compose
	scripts/setup.sh test
	cargo nextest run --locked --package e2e --profile containers $(TESTS)

.PHONY: lint
lint: ## formatting, clippy, licences and sources of dependencies, and that fuzz targets have theirs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny --locked check --hide-inclusion-graph bans licenses sources
	cargo update --workspace --locked --quiet --manifest-path fuzz/Cargo.toml

.PHONY: fmt
fmt: ## formats the code
	cargo fmt --all

.PHONY: setup
setup: ## installs what building and testing need
	scripts/setup.sh test

.PHONY: clean
clean: ## removes what was built; tools stay
	cargo clean
