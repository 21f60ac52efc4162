# `make run` and `make test` prepare .venv by themselves: about two minutes and 3 GB, once.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PYTEST := $(BIN)/pytest --numprocesses 2 --dist worksteal
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test proof lint fix lock clean

run: .venv/installed
	$(BIN)/mnist-lab lr-sweep $(ARGS)

test: lint
	$(PYTEST) -m "not proof" $(ARGS)

# Slow because it proves: kills by the dozen, disks, networks, kernels, browsers, many examples.
proof: .venv/installed
	$(PYTEST) -m "proof or hypothesis" --hypothesis-profile proof $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fix: .venv/installed
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

# Keeps every version that still fits; `make lock ARGS=--upgrade` moves them to the newest. Without
# netifaces, which wants a compiler: HpBandSter's nameserver alone imports it, and nothing calls that.
lock: .venv/installed
	$(BIN)/uv pip compile pyproject.toml --group dev --output-file requirements.lock --quiet \
	  --universal --python-version 3.11 --fork-strategy requires-python --no-emit-package netifaces \
	  --generate-hashes --custom-compile-command "make lock" $(ARGS)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps, so that a changed setting in pyproject.toml does not download TensorFlow again.
.venv/installed: .venv/locked pyproject.toml
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# setuptools goes first: what has no wheel is built with the locked one, not the newest of the day.
.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "mnist-lab needs Python 3.11 to 3.13, and $(PYTHON) is" \
	    "$$(command -v $(PYTHON) >/dev/null && $(PYTHON) -V 2>&1 || echo missing): try make run PYTHON=python3.11" >&2; exit 1; }
	@echo "installing TensorFlow and the other packages into .venv: 3 GB, one or two minutes"
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@sed -nE '/^setuptools==/,/[^\\]$$/p' requirements.lock > .venv/build.txt
	@$(BIN)/pip install --quiet --no-deps --require-hashes --requirement .venv/build.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --use-pep517 --require-hashes --requirement requirements.lock
	@touch $@
