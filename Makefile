# What a reader needs to try, test and measure fedlang. Needs Python 3.11 or newer with venv, make and git; nothing else.

PYTHON ?= python3
BIN    := .venv/bin
PYTEST := $(BIN)/python -m pytest
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check golden notebooks bench clean

help: ## Show what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: .venv ## Train a digit classifier over 64 clients, draw its progress
	$(BIN)/fed train examples/mnist.fed --data mnist --rounds 30 --batch 20 --plot runs/mnist.png

test: .venv ## Run every test
	$(PYTEST) -n $(JOBS) --dist loadfile

check: .venv ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

golden: .venv ## Write the expected outputs of the tests anew; read the diff as you would code
	FEDLANG_UPDATE_GOLDEN=1 $(PYTEST) -n $(JOBS) --dist loadfile

notebooks: .venv ## Run the notebooks of examples/ anew and keep their outputs
	$(BIN)/python tools/make_notebooks.py

bench: .venv ## Measure the executors beside a centralised loop and other simulators (docs/benchmarks.md)
	$(BIN)/python -m benchmarks $(BENCH)

clean: ## Remove what was made
	rm -rf .venv build dist runs .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made anew when the requirements change; half an environment is never taken for a whole one.
.PHONY: .venv
.venv: .venv/made

.venv/made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "fedlang needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 test" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[tf-cpu,viz,dev]'
	@touch $@
