# Every command of the project. `make help` lists them; each one sets up .venv itself.

PYTHON ?= python3
BIN := .venv/bin
BOOTSTRAP := $(PYTHON) scripts/bootstrap.py

# Passed on by `make test ARGS="-k gate"` and by `make demo KEEP=1`.
ARGS ?=
KEEP ?=

# Checked by `make release-check TAG=v0.1.0`.
TAG ?=

# Passed on by `make chaos RUNS=20 SEED=7 AIRFLOW=2.11.2`, and by `make days`.
RUNS ?=
SEED ?=
AIRFLOW ?=
HOW = $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) $(if $(AIRFLOW),--airflow $(AIRFLOW))

.DEFAULT_GOAL := help
.PHONY: demo test env format lint typecheck test-all coverage docs e2e screenshots matrix chaos days distributed bench pins build release-check help clean

#: Start here

demo:  ## see it work: real findings become tickets in a local Leen, on three days (KEEP=1: keep it running)
	@echo "--- Bandit's findings in a real package become tickets, on three days in a row. Airflow is real; a sandbox, a local"
	@echo "    server, takes the place of Leen. No finding leaves this machine. It takes about a minute, and the first time"
	@echo "    about another, to install Airflow into .venv."
	@$(MAKE) --no-print-directory env
	@$(BIN)/python -m scripts.demo $(if $(KEEP),--keep)

test: env  ## run the tests except the slow ones, two minutes (ARGS="..." goes to pytest)
	@echo "--- running the tests but the slow ones (make test-all runs all)"
	@$(BIN)/python -m pytest -n auto -m "not slow or smoke" $(ARGS)

#: Work on the package

env:  ## set up or update .venv, nothing else
	@$(PYTHON) -c '' 2>/dev/null || { echo "$(PYTHON) is no Python that runs: install python3 (3.11 or newer), or say make PYTHON=…"; exit 1; }
	@$(BOOTSTRAP)

format: env  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: env  ## check format, style, spelling and workflows
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/codespell
	@if [ -d .github ]; then $(BIN)/zizmor --offline --pedantic --quiet .github; fi

typecheck: env  ## check the types, strictly
	@$(BIN)/mypy

test-all: env  ## run all tests (ARGS="..." goes to pytest)
	@echo "--- running all tests"
	@$(BIN)/python -m pytest -n auto $(ARGS)

coverage: env  ## run all tests and fail below 95 % branch coverage
	@$(MAKE) --no-print-directory test-all ARGS="--cov $(ARGS)"

docs: env  ## build a site from docs/ in build/docs; warnings are errors
	@AIRFLOW_HOME=$(CURDIR)/build/airflow $(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs build/docs
	@echo "--- open build/docs/index.html"

#: In a browser, and on every Airflow

e2e: env  ## test the first hour in Airflow's UI, in Chromium, with a real Airflow (ARGS="..." goes to pytest)
	@LEEN_E2E=1 $(BIN)/python -m pytest qa/e2e $(ARGS)

screenshots: env  ## the same, and retake the pictures in docs/images
	@LEEN_SCREENSHOTS=docs/images $(MAKE) --no-print-directory e2e

matrix: env  ## run all tests on every supported Airflow and Python (ARGS="-s 'tests(airflow-2.11.2-py3.11)'" for one)
	@$(BIN)/nox $(ARGS)

#: Measure, for minutes or an hour

chaos: env  ## disturb and kill tasks under a scheduler: no ticket lost, none doubled (RUNS=, SEED=, AIRFLOW=2.11.2)
	@$(BIN)/python -m qa.chaos $(HOW)

days: env  ## days on one register: kills at its writes, people, broken scans, no promise broken (RUNS=, SEED=, AIRFLOW=)
	@$(BIN)/python -m qa.chaos.days $(HOW)

distributed: env  ## 10,000 tickets over two Celery workers, one of them killed: each ticket once
	@$(BIN)/python -m qa.distributed

bench: env  ## measure everything, compared with limits and peers, ten minutes; writes docs/benchmarks.md (ARGS="peers tab": some)
	@$(BIN)/python -m benchmarks $(ARGS)

#: Release

pins: env  ## write the newest compatible versions into constraints.txt (then run the tests)
	@$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --extra dev --extra bench --no-annotate --no-header \
	    --output-file constraints.txt pyproject.toml

build: env  ## build wheel and sdist into dist/ and check them
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist .
	@$(BIN)/twine check --strict dist/*

release-check:  ## check TAG=v0.1.0 against the version and the changelog
	@$(PYTHON) scripts/release_check.py "$(TAG)"

#: The rest

help:  ## list the commands
	@awk -F ':.*## ' '/^#: / { printf "\n%s\n", substr($$0, 4) } /^[a-z0-9-]+:.*## / { printf "  make %-15s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

clean:  ## remove everything that the commands made, including .venv
	@rm -rf .venv .airflow dist build .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
