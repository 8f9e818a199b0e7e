# The commands for contributors and evaluators. `make` alone lists the targets.
# Needs Python 3.11 or newer with venv. `demo` and `test` also need a way to start a broker: Java 17 and Maven, or a
# container engine. If both are missing, the program says how to install them.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first one found is used. The oldest comes first, because it is the one that is tested most.
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3
# Additional arguments for a target's program: make demo ARGS="--events 2000 --exit", make test ARGS="-k ledger".
ARGS :=
# The number of test files that run at the same time. Most tests wait for a broker or a worker, so it may exceed the
# number of cores. Files run in the order of their names, so that the long integration tests do not all come last.
JOBS := 3
# For `torture`: the number of runs, the events of each, and the seed (SEED=n repeats the same runs).
RUNS := 5
EVENTS := 10000
SEED :=
# Of each run with dead letters.
LETTER_EVENTS := 5000
# For `soak`: its length.
MINUTES := 60
# Tests start many processes. Where the environment forbids Python to keep compiled files, each would compile everything.
export PYTHONDONTWRITEBYTECODE :=
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint format docs bench torture soak lock clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Build .venv from the lock file (PYTHON=/path/to/python to choose one)

# Updates an existing .venv in place. `make clean setup` rebuilds it.
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

demo: setup ## Run broker, simulator, worker and web page on this machine, with sample events
	$(BIN)/profile-sync demo $(ARGS)

test: setup ## Run all tests except the long torture, JOBS (3) files at a time
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

unit: setup ## Run the tests that start no broker and no worker process, with a quarter of the random examples
	EXAMPLES_DIVISOR=4 $(BIN)/pytest tests/unit --numprocesses auto --dist loadfile $(ARGS)

lint: setup ## Check style, types, imports between rooms, Dockerfile, compose file, schemas and generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --check-metaschema schemas/*.schema.json
	$(BIN)/python docs/generate.py --check

format: setup ## Sort imports and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## Generate docs/errors.md, configuration.md and commands.md
	$(BIN)/python docs/generate.py

bench: setup ## Measure speed and memory in 15 minutes; for one part: ARGS=paths, engines, clients, updates, memory, profile
	$(BIN)/python -m bench $(ARGS)

torture: setup ## Kill, stop and freeze programs, disturb network and disks (root), redrive: RUNS (5) of EVENTS (10000)
	$(BIN)/python -m tests.chaos --runs $(RUNS) --events $(EVENTS) $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(BIN)/python -m tests.chaos --deck surroundings --runs $(RUNS) --events $(EVENTS) $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(BIN)/python -m tests.chaos.letters --runs $(RUNS) --events $(LETTER_EVENTS) --brokers both $(if $(SEED),--seed $(SEED))

soak: setup ## All kinds of trouble at random over a steady stream, for MINUTES (60), as root
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

lock: setup ## Resolve the dependencies again (ARGS=--upgrade for newer versions)
	$(COMPILE) $(ARGS) --extra container -o requirements.lock pyproject.toml
	$(COMPILE) $(ARGS) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean: ## Delete .venv, caches and build output
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find app tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
