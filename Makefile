# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
# Another interpreter gets an environment of its own: `make test PYTHON=python3.12` uses .venv-3.12. An interpreter that is
# not on the path is looked for among those of pyenv.
PYTHON ?= python3
INTERPRETER := $(shell $(PYTHON) -c 'import sys; print(sys.executable)' 2>/dev/null \
	|| ls $(HOME)/.pyenv/versions/*/bin/$(PYTHON) 2>/dev/null | tail -1)
VERSION := $(shell $(or $(INTERPRETER),false) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(VERSION))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STAMP_ALL := $(VENV)/.installed-all-tests
# Tests run in several processes; more threads than cores only slow them down.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PAGE_TESTS=$(PAGE_TESTS)
# The versions that are declared in pyproject.toml.
VERSIONS := 3.11 3.12 3.13

.PHONY: demo test test-all test-fast page debian lint format site clean

demo: $(STAMP)
	$(BIN)/regard demo

test: lint test-fast
	@$(HAS_PAGE) || echo "skipped tests of the studio's page: they need $(PAGE_NEEDS)"

# What the tests of the studio's page need: what is there, else Debian's where root may install it. With PAGE_TESTS=required
# (.ci/run) it is an error to have none of it, and a failure to skip one of these tests.
PAGE_NEEDS := Node.js, its packages (npm ci in studio/) and Chromium
HAS_PAGE := { command -v node && test -d studio/node_modules && { command -v chromium || command -v chromium-browser \
	|| command -v google-chrome; }; } >/dev/null

page: studio/node_modules
	@test "$(PAGE_TESTS)" != required || $(HAS_PAGE) || { echo "tests of the studio's page need $(PAGE_NEEDS)"; exit 2; }

debian:
	@{ command -v npm && { command -v chromium || command -v chromium-browser || command -v google-chrome; }; } >/dev/null \
		|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -q update \
		&& apt-get -q install -y --no-install-recommends nodejs npm chromium; } || true

# The packages with which the page of the studio is tested, where npm is installed and reaches a registry.
studio/node_modules: studio/package-lock.json | debian
	@! command -v npm >/dev/null || (cd studio && npm ci --loglevel=error) || echo "npm ci failed"

# The fast tests with every other declared version that is installed, then all tests with the default interpreter and all
# that they need. What could not run is listed at the very end, with the reason.
test-all: lint $(STAMP_ALL) page
	@for version in $(filter-out $(VERSION),$(VERSIONS)); do \
		if python$$version -c '' 2>/dev/null || ls $$HOME/.pyenv/versions/*/bin/python$$version >/dev/null 2>&1; \
		then $(MAKE) test-fast PYTHON=python$$version || exit 1; \
		else missing="$$missing python$$version"; fi; \
	done; \
	rm -f $(VENV)/.missing; test -z "$$missing" || echo "not found, so not tested:$$missing" > $(VENV)/.missing
	$(TEST_ENV) $(BIN)/python -m pytest -q -n auto -rs; code=$$?; cat $(VENV)/.missing 2>/dev/null; \
		$(HAS_PAGE) || echo "skipped tests of the studio's page: they need $(PAGE_NEEDS)"; exit $$code

test-fast: $(STAMP) page
	$(TEST_ENV) $(BIN)/python -m pytest -q -n auto -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation in both languages; needs regard[docs], which regard[dev] includes.
site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -q -d build/site

$(STAMP): pyproject.toml
	@test -n "$(INTERPRETER)" || { echo "there is no interpreter $(PYTHON)"; exit 2; }
	@test -x $(BIN)/python || $(INTERPRETER) -m venv $(VENV)
	@echo "installing into $(VENV): plain pip brings torch with its CUDA libraries, over 5 GB; see README.md"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

$(STAMP_ALL): $(STAMP) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all-tests]"
	@touch $@

clean:
	rm -rf .venv .venv-* runs build dist studio/node_modules
