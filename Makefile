# Everything a fresh machine needs is Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYTEST ?=
# Of all tests, the package's lines are counted too, and 90 % must be run: the floor stands in pyproject.toml.
COVERAGE = $(if $(PYTEST),,--cov=xinc --cov-report=term:skip-covered)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs setup lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) samples/.ready ## fit two networks to a real clip, trace and analyse them, write the report
	@$(BIN)/xinc demo

# Two workers share the processors, so a thread that waits must not spin.
test: $(READY) samples/.ready ## all tests (choose some with PYTEST="tests/test_x.py -k name")
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n 2 --dist worksteal $(COVERAGE) $(PYTEST)

lint: $(READY) ## style, formatting, types, first lines of commits
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python scripts/check_subject.py

format: $(READY) ## mend style and formatting
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(READY) ## the documentation site, in build/site; a broken link or name is an error
	@$(BIN)/python -m sphinx -q -n -W --keep-going -c docs/site -d build/doctrees . build/site
	@echo build/site/index.html

setup: $(READY) samples/.ready ## .venv from requirements.lock, and the sample clips

# The lock holds the whole environment, so nothing is resolved; the second call adds this package, and what torch needs
# on machines whose torch build has needs of its own (CUDA). Not compiling all modules halves the time.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("xinc needs Python 3.11 or newer: make PYTHON=python3.11")'
	@echo "Setting up .venv from requirements.lock (once, about a minute and a half) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --no-compile --no-deps -r requirements.lock
	@$(BIN)/python -m pip install -qq --no-compile --no-build-isolation -e '.[sweep,s3,dev,docs]'
	@touch $@

samples/.ready: scripts/fetch_samples.py | $(READY)
	@$(BIN)/python scripts/fetch_samples.py > /dev/null
	@mkdir -p samples && touch $@

lock: ## newest versions that pyproject.toml allows (torch stays); run the tests before committing it
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/pip install -qq --no-compile "$$(grep '^torch==' requirements.lock)" '.[sweep,s3,dev,docs]'
	@build/lock/bin/pip freeze --all --exclude xinc --exclude pip \
		| sed 's/+cpu$$//' | grep -Ev '^(nvidia-|cuda-|triton==)' > build/requirements.lock
	@mv build/requirements.lock requirements.lock && rm -rf build/lock

clean: ## remove the environment, the samples and all caches
	rm -rf .venv samples build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +
