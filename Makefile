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
TIERS := lint unit apiserver router e2e
# Tests without a cluster; the other folders are tiers of their own, or tools.
UNIT  := $(wildcard tests/test_*.py) \
         $(filter-out $(addprefix tests/,apiserver router e2e benchmarks conformance demo fuzz fuzz_serving harness images cluster killsweep peers),$(patsubst %/,%,$(wildcard tests/*/)))

export ORT_DISABLE_TELEMETRY := 1
export PYTHONUNBUFFERED := 1
KEEP ?=

.PHONY: help
help:  ## list these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

.PHONY: demo
demo: venv  ## the whole story on a local cluster: data, training, approval, serving, drift, retraining
	@$(PY) tests/demo $(ARGS)

.PHONY: test
test: venv  ## every tier in order, from lint to e2e (KEEP=1 leaves the cluster up)
	@started=$$SECONDS; summary=""; \
	finish() { code=$$?; [ -n "$(KEEP)" ] || $(MAKE) cluster-down || true; \
	  printf '\n== tiers ==\n%b' "$$summary"; [ $$code = 0 ] || printf '  stopped here, exit code %s\n' $$code; \
	  printf '  %-18s %4ss\n' all $$((SECONDS - started)); exit $$code; }; \
	trap finish EXIT; \
	for tier in $(TIERS); do \
	  printf '\n== %s ==\n' $$tier; began=$$SECONDS; \
	  if $(MAKE) $$tier; then summary+="$$(printf '  %-18s %4ss  passed' $$tier $$((SECONDS - began)))\n"; \
	  else code=$$?; summary+="$$(printf '  %-18s %4ss  FAILED: make %s' $$tier $$((SECONDS - began)) $$tier)\n"; exit $$code; fi; \
	done

.PHONY: venv
venv: $(STAMP)  ## the locked Python environment, in .venv
$(STAMP): requirements/dev.txt tests/packaging/venv.sh
	@bash tests/packaging/venv.sh $(VENV) $(STAMP)

.PHONY: lint
lint: venv  ## ruff, mypy --strict, import-linter, and the diff of generated files
	@echo "ruff check";   $(VENV)/bin/ruff check .
	@echo "ruff format";  $(VENV)/bin/ruff format --check .
	@echo "mypy";         $(VENV)/bin/mypy
	@echo "lint-imports"; $(VENV)/bin/lint-imports --no-logo
	@$(PY) tests/packaging/generate.py --check

.PHONY: format
format: venv  ## let ruff mend what it can
	@$(VENV)/bin/ruff check --fix-only --exit-zero .; $(VENV)/bin/ruff format .

.PHONY: unit
unit: venv  ## tests without a cluster
	@$(PY) -m pytest -n auto --dist loadscope $(UNIT) $(PYTEST)

.PHONY: apiserver
apiserver: venv  ## tests against a real etcd and kube-apiserver
	@$(PY) -m pytest tests/apiserver $(PYTEST)

.PHONY: harness
harness: venv  ## the operator under every fault, in virtual time; ends with plans=N failed=0 (ARGS="--replay ID")
	@$(PY) tests/harness $(ARGS)

.PHONY: harness-apiserver
harness-apiserver: venv  ## the same plans on a real etcd, kube-apiserver and kube-controller-manager
	@$(PY) tests/harness/real $(ARGS)

.PHONY: fuzz-crs
fuzz-crs: venv  ## every leaf of our schemas, valid and invalid, on a real API server
	@$(PY) tests/fuzz $(ARGS)

.PHONY: fuzz-serving
fuzz-serving: venv  ## 50,000 requests that are wrong in every layer, against the real server
	@$(PY) tests/fuzz_serving $(ARGS)

.PHONY: router
router: venv  ## tests against a real Envoy on loopback
	@$(PY) -m pytest tests/router $(PYTEST)

.PHONY: e2e
e2e: venv cluster-up images-load  ## tests on a real cluster
	@$(PY) -m pytest tests/images tests/e2e $(PYTEST)

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

.PHONY: conformance-check
conformance-check: venv  ## the same, compared with the published matrix
	@$(PY) tests/conformance --check

.PHONY: kill-sweep
kill-sweep: venv cluster-down cluster-up images-load  ## the story, with the operator killed after every effective write
	@$(PY) tests/killsweep $(ARGS)

.PHONY: clean
clean:  ## remove what make wrote here; the cache outside the checkout stays
	@[ ! -x $(PY) ] || $(PY) tests/cluster down || true
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
