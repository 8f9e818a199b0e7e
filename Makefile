# Everything a contributor or an evaluator runs. `make` alone lists the targets.
# Needs: Python 3.11 or newer with venv. `demo` and `test` also need a broker to start: Java 17 and Maven, or a
# container engine; the program says how to get them when both are missing.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The newest versions come last: the first one found is the one that is tried most.
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3
# More arguments for the program behind a target: make demo ARGS="--events 2000 --exit", make test ARGS="-k ledger".
ARGS :=
# Test files that run at a time: more than there are cores, because most tests wait for a broker or a worker. In the
# order of their names, so that the long integration tests do not come last, one after another.
JOBS := 3
# What `torture` does; SEED=n does the same runs again.
RUNS := 5
EVENTS := 10000
SEED :=
# How long `soak` goes on.
MINUTES := 60
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint format docs bench torture soak lock clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Build .venv from the lock file (PYTHON=/path/to/python to choose one)

# Installed in place: what the lock file does not change is left alone. `make clean setup` starts from nothing.
$(STAMP): requirements-dev.lock pyproject.toml
	@set -e; \
	found=; \
	for candidate in $(or $(PYTHON),$(PYTHONS)); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    found=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "make setup: no Python 3.11 or newer among: $(or $(PYTHON),$(PYTHONS))." >&2; \
	  echo "  Debian, Ubuntu: apt-get install python3 python3-venv; or name one: make setup PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  if ! "$$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    echo "make setup: $$found cannot make a virtual environment: its venv or ensurepip module is missing." >&2; \
	    echo "  Debian, Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	  echo "Creating $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv --clear $(VENV); \
	fi; \
	echo "Installing what requirements-dev.lock names"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .; \
	touch $@

demo: setup ## Broker, simulator, worker and web page on this machine, with sample events
	$(BIN)/profile-sync demo $(ARGS)

test: setup ## All tests but the long torture, JOBS (3) files at a time
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

unit: setup ## The tests that start nothing: no broker, no process of a worker
	$(BIN)/pytest tests/unit --numprocesses $(JOBS) $(ARGS)

lint: setup ## Style, types, the arrows between the rooms, Dockerfile, compose file, schemas, generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --check-metaschema schemas/*.schema.json
	$(BIN)/python docs/generate.py --check

format: setup ## Put imports and layout in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## Write the generated pages: docs/errors.md, configuration.md, commands.md
	$(BIN)/python docs/generate.py

bench: setup ## Measure speed and memory, a quarter of an hour; a part of it: ARGS=paths, engines, clients, updates, memory, profile
	$(BIN)/python -m bench $(ARGS)

torture: setup ## Kill, stop, freeze and fail for RUNS (5) runs of EVENTS (10000), then again what is around (root): 1 if anything was lost
	$(BIN)/python -m tests.chaos --runs $(RUNS) --events $(EVENTS) $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(BIN)/python -m tests.chaos --deck surroundings --runs $(RUNS) --events $(EVENTS) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: setup ## Every kind of trouble at random over a steady stream for MINUTES (60); root: 1 if anything was lost, grew or was silent
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

lock: setup ## Solve the dependencies again (ARGS=--upgrade for newer versions)
	$(COMPILE) $(ARGS) --extra container -o requirements.lock pyproject.toml
	$(COMPILE) $(ARGS) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean: ## Remove what make made: .venv, caches, build output
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find app tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
