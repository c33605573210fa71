# Two commands are enough on a fresh machine: `make run` and `make test`. Only python3 (3.11 or later,
# with venv) has to be there; everything else is installed into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
# Test files that run at once.
WORKERS ?= 2
# Passive waiting: several processes share the cores, and spinning threads take them from each other.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test lint format bench docs clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/installed-run ## Make .venv and install Kajiya and its starter models into it

setup-dev: $(VENV)/installed-dev ## The same, and what tests and checks need

$(VENV)/installed-run: pyproject.toml constraints.txt scripts/setup.py
	@$(PYTHON) scripts/setup.py run

$(VENV)/installed-dev: pyproject.toml constraints.txt scripts/setup.py
	@$(PYTHON) scripts/setup.py dev

run: setup ## Forge the example and serve it (ARGS=--no-serve ends instead; other ARGS go to forge)
	@$(BIN)/python scripts/run_example.py $(ARGS)

test: setup-dev ## All tests: the quick ones, then those with a real model
	@$(BIN)/python -m pytest -m "not real" -n $(WORKERS) --dist loadfile
	@$(BIN)/python -m pytest -m real

lint: setup-dev ## Style, formatting, types and the layers' imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup-dev ## Mend style and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup-dev ## Measure against named peers; writes docs/benchmarks.md (ARGS=--quick for less)
	@$(BIN)/python benchmarks/report.py $(ARGS)

docs: setup ## Write docs/commands.md and docs/ja/commands.md anew from the commands' help
	@$(BIN)/python -m kajiya.cli.reference --language en --write docs/commands.md
	@$(BIN)/python -m kajiya.cli.reference --language ja --write docs/ja/commands.md

clean: ## Remove .venv and caches (never your workspace)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src -name '*.nb[ci]' -delete
