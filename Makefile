# Every chore of the project. `make help` lists them; each one sets up .venv by itself.

PYTHON ?= python3
BIN := .venv/bin
BOOTSTRAP := $(PYTHON) scripts/bootstrap.py

# Passed on by `make test ARGS="-k gate"` and by `make demo KEEP=1`.
ARGS ?=
KEEP ?=

# Passed on by `make chaos RUNS=20 SEED=7 AIRFLOW=2.11.2`.
RUNS ?= 300
SEED ?=
AIRFLOW ?=

.DEFAULT_GOAL := help
.PHONY: help env demo test coverage lint typecheck format build pins clean chaos cost

help:  ## list the chores
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'

env:  ## set up or update .venv, nothing else
	@$(PYTHON) -c '' 2>/dev/null || { echo "$(PYTHON) is no Python that runs: install python3 (3.11 or newer), or say make PYTHON=…"; exit 1; }
	@$(BOOTSTRAP)

demo: env  ## scan a real package, file its findings in a local Leen, judge them (KEEP=1: leave Leen running)
	@$(BIN)/python scripts/demo.py $(if $(KEEP),--keep)

test: env  ## run the tests (ARGS="..." goes to pytest)
	@echo "--- running the tests"
	@$(BIN)/python -m pytest -n auto $(ARGS)

coverage: env  ## run the tests and fail below 95 % branch coverage
	@$(MAKE) --no-print-directory test ARGS="--cov $(ARGS)"

lint: env  ## check format and style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

typecheck: env  ## check the types, strictly
	@$(BIN)/mypy

format: env  ## put code into the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

build: env  ## build wheel and sdist into dist/ and check them
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist .
	@$(BIN)/twine check --strict dist/*

pins: env  ## write the newest versions that fit into constraints.txt (then run the tests)
	@$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --extra dev --no-annotate --no-header \
	    --output-file constraints.txt pyproject.toml

clean:  ## remove what the chores made, .venv included
	@rm -rf .venv .airflow dist build .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

chaos: env  ## disturb and kill tasks under a scheduler: no ticket lost, none doubled (RUNS=, SEED=, AIRFLOW=2.11.2)
	@$(BIN)/python -m tests.chaos --runs $(RUNS) $(if $(SEED),--seed $(SEED)) $(if $(AIRFLOW),--airflow $(AIRFLOW))

cost: env  ## measure what remembering costs: 5,000 tickets with the ledger and without
	@$(BIN)/python -m tests.chaos.ledger_cost
