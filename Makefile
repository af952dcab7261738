# Two commands on a fresh machine: `make run` and `make test`.
SHELL := /bin/bash
PYTHON := .venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
.PHONY: run test check engines packages archives venv bench bench-ingest bench-search bench-harvest bench-replay bench-reconcile bench-objectives clean help
.DEFAULT_GOAL := help

help:
	@echo "make run [DEMO=0]   start the console (with the demo estate) and say where it is"
	@echo "make test           install what tests need and run everything"
	@echo "make check          lint, types, contracts, migrations, deployment audit"
	@echo "make engines        install the brokers and the browser that tests use"
	@echo "make bench          every benchmark;  make bench-ingest, -search, -harvest, -replay, -reconcile, -objectives  only one"

venv: .venv/runtime.stamp

.venv/bin/python:
	@docker/find-python

.venv/runtime.stamp: requirements.txt | .venv/bin/python
	@echo "installing what the console needs (once)"
	@$(PYTHON) -m pip install --quiet -r requirements.txt || { echo "waybill: pip could not install requirements.txt: see above, then run make again" >&2; exit 1; }
	@touch $@

.venv/dev.stamp: requirements.txt requirements-dev.txt requirements-amqp10.txt | .venv/bin/python
	@echo "installing what the tests need (once)"
	@$(PYTHON) -m pip install --quiet -r requirements-dev.txt || { echo "waybill: pip could not install requirements-dev.txt: see above, then run make again" >&2; exit 1; }
	@$(PYTHON) -m pip install --quiet -r requirements-amqp10.txt 2>/dev/null || echo "waybill: python-qpid-proton could not be built (it needs a C compiler): the tests of AMQP 1.0 will be skipped by name" >&2
	@touch $@ .venv/runtime.stamp

run: .venv/runtime.stamp
	@exec $(PYTHON) -m console.runner

engines:
	@docker/install-engines

packages archives:
	@docker/install-engines $@

check: .venv/dev.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@# the types of Django models need its settings, and those an address; nothing connects
	DATABASE_URL=postgres://nobody@127.0.0.1:1/none WAYBILL_DATA=.mypy_cache/data .venv/bin/mypy console messages alerts agents benchmarks
	.venv/bin/lint-imports
	$(PYTHON) -m tests.deployment

test: packages
	@$(MAKE) --no-print-directory -j 2 archives check
	$(PYTHON) -m pytest -n 3 --dist loadfile --max-worker-restart 0 --durations 40 --durations-min 5

bench: bench-ingest bench-search bench-harvest bench-replay bench-reconcile bench-objectives

bench-ingest: .venv/runtime.stamp
	@$(PYTHON) -m benchmarks.ingest

bench-search: .venv/runtime.stamp
	@$(PYTHON) -m benchmarks.search

bench-harvest: .venv/dev.stamp
	@$(PYTHON) -m benchmarks.harvest

bench-replay: .venv/dev.stamp
	@$(PYTHON) -m benchmarks.replay

bench-reconcile: .venv/runtime.stamp
	@$(PYTHON) -m benchmarks.reconcile

bench-objectives: .venv/runtime.stamp
	@$(PYTHON) -m benchmarks.objectives

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis test-results
