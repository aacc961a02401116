# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
# Another interpreter gets an environment of its own: `make test PYTHON=python3.12` uses .venv-python3.12.
PYTHON ?= python3
OTHER := $(filter-out python python3,$(notdir $(PYTHON)))
VENV := .venv$(addprefix -,$(OTHER))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests run in several processes; more threads than cores only slow them down.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# The versions that are declared in pyproject.toml.
VERSIONS := 3.11 3.12 3.13

.PHONY: demo test test-all test-fast lint format clean

demo: $(STAMP)
	$(BIN)/regard demo

test: lint test-fast

# All tests with the default interpreter, then the fast ones with every declared version that is installed.
test-all: lint
	$(TEST_ENV) $(BIN)/python -m pytest -q -n auto
	@for version in $(VERSIONS); do \
		python=$$(command -v python$$version || true); \
		"$${python:-false}" -c '' 2>/dev/null || python=$$(ls $$HOME/.pyenv/versions/$$version*/bin/python$$version 2>/dev/null | tail -1); \
		if [ -z "$$python" ]; then echo "python$$version: not found, not tested"; continue; fi; \
		$(MAKE) test-fast PYTHON="$$python" || exit 1; \
	done

test-fast: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -q -n auto -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): plain pip brings torch with its CUDA libraries, over 5 GB; see README.md"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv .venv-* runs build dist
