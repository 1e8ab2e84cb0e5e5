# vera-worker: everything a newcomer needs, with nothing but Python >= 3.11 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# How pytest shares the tests among processes, file by file.
SHARED := --numprocesses=auto --maxprocesses=4 --dist=loadfile --max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help run serve test lint unit test-all test-others image test-deploy torture mutants bench api-docs lock clean

help:            ## what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY)    ## install, start a worker, push a real workload through it, show the result
	$(BIN)/vera-worker demo

serve: $(READY)  ## install and run the worker in the foreground
	$(BIN)/vera-worker serve

test: lint unit  ## all checks: style, types, import rules, tests with coverage

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(SHARED)
	$(BIN)/python -m tests.support.torn_coverage
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-all: $(READY)  ## the tests on every interpreter that this machine has
	tests/every_python $(SHARED)

test-others: $(READY) ## the tests on all its other interpreters
	VENV=$(VENV) tests/every_python --others $(SHARED)

image:           ## build the container image, and say how large it is
	docker build -t vera-worker:latest .
	@docker image inspect --format '{{.Size}}' vera-worker:latest python:3.12-slim | \
	    awk '{size[NR] = $$1 / 1e6} END {printf "vera-worker:latest is %.0f MB, %.0f MB more than its base\n", size[1], size[1] - size[2]}'

test-deploy: $(READY) ## as a service and in containers, in boxes that are made here: needs root
	$(BIN)/pip install --quiet --require-hashes -r requirements/deploy.txt
	VERA_DEPLOY=1 $(BIN)/python -m pytest -m deploy

torture: $(READY)   ## the guarantees over many rounds: hours, not minutes
	VERA_TORTURE=1 $(BIN)/python -m pytest -m torture --timeout=7200

mutants: $(READY)   ## break the code in each known way and see a test fail (ONLY="D2 H3 …")
	$(BIN)/python -m tests.mutants.run $(ONLY)

api-docs: $(READY)  ## write docs/API.md anew, from the OpenAPI document
	$(BIN)/python -m vera_supervisor.api.openapi > docs/API.md

bench: $(READY)     ## measure this machine's limits and how near the worker comes to them
	$(BIN)/python bench/limits.py
	$(BIN)/python bench/store.py
	$(BIN)/python bench/dispatch.py
	$(BIN)/python bench/http.py
	$(BIN)/python bench/throughput.py
	$(BIN)/python bench/executors.py
	VERA_BENCH_TASKS=50000 $(BIN)/python bench/million.py --rounds 1

lock: $(READY)      ## pin every dependency anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q --upgrade pyproject.toml -o requirements/runtime.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q --upgrade --extra dev pyproject.toml -o requirements/dev.txt
	echo hatchling | uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q -c requirements/dev.txt - -o requirements/build.txt
	echo kubernetes-validate | uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q -c requirements/dev.txt - -o requirements/deploy.txt

clean:
	rm -rf $(VENV) .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
