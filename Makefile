# Haldane: what can be made. `make help` lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
SEEDS ?= 1000000
N ?= 20000
ROLLOUTS ?= 1000
BEFORE ?= HEAD~1
# Suites that need components which take long to build, and their features; tests/setup-more.sh makes the components.
MORE := deploy_helm mesh mesh_rollout
MORE_FEATURES := haldane-tests/helm,haldane-tests/mesh
# Its tests sleep more than they work, so many run at once.
OPERATOR := --workspace --features haldane-tests/operator --test operator -- --test-threads=6
export INSTA_UPDATE := no

.PHONY: help setup setup-more packages demo demo-kubernetes cluster build test test-operator test-cluster test-more test-skew check sim analysis-sim bench soak mutants clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: packages ## install what the tests need, and build a Kubernetes API server once (says what)
	@tests/kubernetes.sh

setup-more: setup ## build what `test-more` needs beside it: Helm, istiod, Envoy (30 minutes, once; says what)
	@tests/setup-more.sh

packages: ## the Debian packages of it alone, which are all that the demo needs
	@tests/setup.sh

build: ## build the release binary: target/release/haldane
	$(CARGO) build --release --workspace --bins

demo: packages build ## six releases through a real HAProxy, gated on a real Prometheus (under 4 minutes)
	@target/release/demo

demo-kubernetes: setup-more build ## releases in that API server through a real mesh: istiod, Envoy, Prometheus (4 minutes)
	@target/release/demo-kubernetes

cluster: setup ## a real Kubernetes API server for a person: prints the KUBECONFIG, stops on Ctrl-C
	$(CARGO) build --workspace --bin cluster
	@target/debug/cluster

test: setup ## all tests but those of test-more, against real servers; nothing is skipped
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --no-fail-fast
	$(CARGO) test $(OPERATOR)

test-operator: setup ## the tests of the operator alone
	$(CARGO) build --workspace --bins
	$(CARGO) test $(OPERATOR)

test-cluster: setup ## releases in any cluster that serves Istio's VirtualServices (KUBECONFIG=file); says what it installs there
	@test -f "$(KUBECONFIG)" || { echo "say which cluster: make test-cluster KUBECONFIG=file"; exit 64; }
	$(CARGO) build --workspace --bins
	HALDANE_TEST_KUBECONFIG=$(abspath $(KUBECONFIG)) $(CARGO) test --workspace --features haldane-tests/operator --test operator -- --test-threads=3 releases::

test-more: setup-more ## the suites with components that take long to build: the chart with a real Helm, releases through a real mesh
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --features $(MORE_FEATURES) --no-fail-fast $(MORE:%=--test %)

test-skew: setup ## an engine of an earlier commit beside this one (BEFORE=HEAD~1), in one cluster
	@tests/before.sh $(BEFORE)
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --features haldane-tests/skew --test skew -- --test-threads=3

check: ## formatting, lints, licences and duplicate dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features $(MORE_FEATURES),haldane-tests/operator,haldane-tests/skew -- -D warnings
	@tests/setup.sh cargo-deny
	$(CARGO) deny --workspace check --hide-inclusion-graph bans licenses sources

sim: ## a million seeds of the runtime's simulation (SEEDS=n, SEED=x reproduces one)
	SEEDS=$(SEEDS) $(CARGO) test --release -p haldane-tests --test simulation -- --nocapture

analysis-sim: ## play the analysis against others on simulated traffic, and write analysis/judge/VALIDATION.md (N=rollouts)
	nice -n 19 $(CARGO) run --release -p haldane-analysis-tests --bin analysis-sim -- $(N)

bench: setup build ## measure, and write tests/bench/RESULTS.md and CLUSTER.md (ROLLOUTS=1000, 40 minutes)
	@target/release/bench
	@target/release/bench cluster $(ROLLOUTS)

soak: packages build ## one rollout after another against real servers, with kills, for HOURS (default 1)
	@target/release/soak

# First the cells alone, which catch nearly all; then what survives them is shown every proof, with walks of 2000 states each.
# cargo-mutants answers 2 where some survived, and 3 where the clock caught some.
mutants: ## change the machine and the vocabulary in every way; each change must fail a test
	@tests/setup.sh cargo-mutants
	HALDANE_WALK=2000 $(CARGO) test --profile mutants -p haldane-machine-tests -p haldane-model --tests
	$(CARGO) mutants --output target --baseline skip --timeout 30 -C=--test=machine_cells || [ $$? -eq 2 ] || [ $$? -eq 3 ]
	HALDANE_WALK=2000 $(CARGO) mutants --output target --iterate --baseline skip --timeout 180 -C=--tests || [ $$? -eq 3 ]

clean: ## remove what was built
	$(CARGO) clean
