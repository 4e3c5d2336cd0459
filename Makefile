# Two commands are all a newcomer needs: `make demo` and `make test`. `make help` lists the rest.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV  := .venv
PY    := $(VENV)/bin/python
# The environment is rebuilt when the lock file, or the interpreter, changes.
LOCK  := $(shell sha256sum requirements/dev.txt 2>/dev/null | cut -c1-12)
STAMP := $(VENV)/.lock-$(LOCK)

export ORT_DISABLE_TELEMETRY := 1
export PYTHONUNBUFFERED := 1
# Tests start hundreds of interpreters: what the first has compiled the others need not compile again.
unexport PYTHONDONTWRITEBYTECODE
KEEP ?=

.PHONY: help
help:  ## list these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 20

.PHONY: demo
demo: preflight-demo venv  ## the whole story on a local cluster: data, training, approval, serving, drift, retraining
	@$(PY) tests/demo $(ARGS)

.PHONY: check
check: preflight-check venv  ## lint and unit: no root, no cluster, no network, nothing to build
	@$(PY) tests/tiers check

.PHONY: test
test: preflight-test venv  ## every tier, and the table of what each took (KEEP=1 leaves the cluster up)
	@$(PY) tests/tiers test $(if $(KEEP),--keep)

.PHONY: test-long
test-long: preflight-test-long venv  ## what takes longer: every plan of the harness, every leaf of the schemas, the peers
	@$(PY) tests/tiers test-long

# What is missing on this machine is installed (as root), or said with the line to type (exit code 2), before anything else.
.PHONY: preflight-check preflight-demo preflight-test preflight-test-long
preflight-check preflight-demo preflight-test preflight-test-long:
	@bash tests/cluster/preflight.sh $(@:preflight-%=%)

.PHONY: venv
venv: $(STAMP)  ## the locked Python environment, in .venv
$(STAMP): requirements/dev.txt tests/packaging/venv.sh
	@bash tests/cluster/preflight.sh venv
	@bash tests/packaging/venv.sh $(VENV) $(STAMP)

# The tiers one by one. tests/tiers/millrace_tiers/table.py has what each runs and needs, and what runs beside what.
TIERS := lint unit apiserver router programs availability e2e conformance-check harness harness-apiserver fuzz-crs
.PHONY: $(TIERS)
$(TIERS): venv
	@$(PY) tests/tiers $@ -- $(PYTEST) $(ARGS)
lint:               ## ruff, mypy --strict, import-linter, and the diff of generated files
unit:               ## tests that need nothing but the environment; the ten slowest last (PYTEST="-k drift -x")
apiserver:          ## tests against a real etcd and kube-apiserver
router:             ## tests against a real Envoy on loopback
programs:           ## unit tests of what is built here or needs root: chart, object store, control plane, cluster
availability:       ## on a real cluster: what callers notice of upgrades, drains and crashes; right verdicts
e2e:                ## the other tests on a real cluster
conformance-check:  ## who speaks the inference protocol, compared with the published matrix
harness:            ## the operator under every fault, in virtual time; ends with plans=N failed=0 (ARGS="--replay ID")
harness-apiserver:  ## the same plans on a real etcd, kube-apiserver and kube-controller-manager
fuzz-crs:           ## every leaf of our schemas, valid and invalid, on a real API server

.PHONY: format
format: venv  ## let ruff mend what it can
	@$(VENV)/bin/ruff check --fix-only --exit-zero .; $(VENV)/bin/ruff format .

.PHONY: attack
attack: venv  ## a hundred attacks on who may approve what, on a real API server; ends with attacks=N refused=N
	@$(PY) tests/attack $(ARGS)

.PHONY: fuzz-serving
fuzz-serving: venv  ## 50,000 requests that are wrong in every layer, against the real server
	@$(PY) tests/fuzz_serving $(ARGS)

.PHONY: images
images: venv  ## build the images that changed
	@$(PY) tests/images build

.PHONY: images-load
images-load: venv  ## build the images that changed, and load them into the cluster
	@$(PY) tests/images load

.PHONY: cluster-up
cluster-up: venv  ## start the local cluster
	@$(PY) tests/cluster up

.PHONY: cluster-down
cluster-down: venv  ## stop the local cluster and leave nothing behind
	@$(PY) tests/cluster down

.PHONY: generate
generate: venv  ## write CRDs, chart copies, admission policies and manifests/base from their sources
	@$(PY) tests/packaging/generate.py

.PHONY: lock
lock: venv  ## pin every package again within pyproject.toml's bounds (UPGRADE=1: the newest)
	@$(PY) tests/packaging/lock.py $(if $(UPGRADE),--upgrade)

.PHONY: bench
bench: venv  ## times and memory, printed, never asserted
	@$(PY) tests/benchmarks $(ARGS)

.PHONY: real-data
real-data: venv  ## real data sets through freeze, train and evaluate, beside plain scikit-learn on the same split
	@$(PY) tests/benchmarks/real_data/beside_scikit_learn.py $(ARGS)

.PHONY: bench-operator
bench-operator: venv  ## objects per second, writes, CPU and memory beside operators written in Go
	@$(PY) tests/benchmarks/operator $(ARGS)

.PHONY: conformance
conformance: venv  ## who speaks the inference protocol: our server beside MLServer and KServe's
	@$(PY) tests/conformance $(ARGS)

.PHONY: kill-sweep
kill-sweep: venv cluster-down cluster-up images-load  ## the story, with the operator killed after every effective write
	@$(PY) tests/killsweep $(ARGS)

.PHONY: clean
clean:  ## remove what make wrote here; the cache outside the checkout stays
	@[ ! -x $(PY) ] || $(PY) tests/cluster down || true
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
