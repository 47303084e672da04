# Needs Python 3.11 or newer as `python3` (or PY=...) and make. Everything else goes into .venv on first use.

PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUF := npx --yes @bufbuild/buf@1.75.0
WIRE := PYTHONPATH=tools $(BIN)/python -m wire

.DEFAULT_GOAL := help
.PHONY: help demo test check proto baseline bench bench-rivals bench-open bench-delayed loss-table proof clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/ready-demo ## a job through a real broker and worker, then kill -9 under load: nothing is lost
	$(BIN)/python examples/demo.py

test: check ## everything a change must pass: check, then all tests but the long ones
	$(BIN)/python -m pytest -m "not long" -n 2 --dist loadfile

check: $(VENV)/ready ## style, types, layers, and the wire, without running the product
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(WIRE) check

proto: $(VENV)/ready ## regenerate the stubs from proto/, lint it, compare it with the last release (needs npm)
	$(WIRE) generate
	$(BUF) lint proto
	$(BUF) breaking proto --against proto/baseline.binpb

baseline: $(VENV)/ready ## part of a release: later versions are compared with the wire as it is now
	$(WIRE) check
	$(WIRE) baseline

bench: $(VENV)/ready ## the figures: durable enqueue, drain, round trip, memory
	$(BIN)/python tests/benchmarks/run.py

bench-rivals: $(VENV)/ready ## once: installs what bench compares with into .venv-rivals
	$(BIN)/python tests/benchmarks/run.py --install-rivals

bench-open: $(VENV)/ready ## long: opens a store with 10 million queued jobs
	$(BIN)/python tests/benchmarks/open_backlog.py

bench-delayed: $(VENV)/ready ## long: a million delayed jobs, the broker killed when they are due
	$(BIN)/python tests/benchmarks/run.py --only delayed --million

loss-table: $(VENV)/ready ## long: what is lost at kill -9 and power cuts, ours and the rivals' (power cuts need root)
	$(BIN)/python tests/benchmarks/loss_table.py

proof: $(VENV)/ready ## long: every promise under power cuts, kills, faults and attacks, and the bugs that must be found
	TQ_PROOF=1 $(BIN)/python -m pytest -qq --proof -m proof $(ARGS)

clean: ## remove the environment and everything generated but committed nowhere
	rm -rf $(VENV) .venv-rivals build dist bench-results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .grimp_cache .hypothesis
	find client broker worker tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo needs only what a user installs; the checks need everything.
$(VENV)/ready-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[server]'
	@touch $@

$(VENV)/ready: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/ready-demo

$(BIN)/python:
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tqbroker needs Python 3.11 or newer; '$(PY)' is $$($(PY) --version 2>/dev/null || echo missing). Try: make PY=python3.13 ..." >&2; exit 1; }
	$(PY) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
