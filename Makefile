# muster: everything here needs only Python >= 3.11, git and make.

PYTHON ?= python3
ARGS ?=
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder
SECONDS ?= 600
SEEDS ?= 20000
FROM ?= 0
BROKERS ?= $(or $(BROKER),nats)

comma := ,
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
CHECKED := contracts bus consensus knowledge workers deploy tests

.DEFAULT_GOAL := help
.PHONY: help venv demo test servers chaos sim soak conformance check format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  options go through ARGS, for example: make test ARGS='tests/bus -k lease'"

venv: $(DEV) ## create .venv with everything for development

demo: $(RUNTIME) ## run the main job on real documents, everything embedded; ARGS="--bus redis": on that
	@$(BIN)/muster demo $(ARGS)

test: $(DEV) servers ## run the tests on NATS; BROKERS=nats,redis,rabbitmq,kafka,failover or all: on these
	@MUSTER_BROKERS=$(BROKERS) $(BIN)/python -m pytest $(PARALLEL) $(ARGS)

servers: ## install what BROKERS names for demo, up and tests: Redis and RabbitMQ by apt, Kafka by Maven
	@for name in $(if $(filter all,$(BROKERS)),redis rabbitmq kafka,$(subst $(comma), ,$(BROKERS))); do \
	  test ! -f tests/install/$$name.sh || bash tests/install/$$name.sh >/dev/null; done

chaos: $(DEV) servers ## the long forms: workers, brokers and history killed again and again, 50 minutes; BROKER=redis: on that one
	@MUSTER_BROKERS=$(BROKERS) MUSTER_LONG=1 $(BIN)/python -m pytest -m long $(ARGS)

sim: $(DEV) ## SEEDS (20000) ledger clusters in virtual time from seed FROM (0) on; ARGS=--sum adds up what was played
	@$(BIN)/python -m tests.sim --seeds $(SEEDS) --from $(FROM) $(ARGS)

soak: $(DEV) ## full rate for SECONDS (600): flat memory, nothing left, then quiet
	@$(BIN)/python -m tests.soak --seconds $(SECONDS) $(ARGS)

conformance: BROKERS = all
conformance: $(DEV) servers ## run what shows a promise of the bus on every broker, write docs/conformance.md
	@$(BIN)/python -m tests.bus.report

check: $(DEV) ## format, lint, types, import rule
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/test_architecture.py

format: $(DEV) ## put the code into its form, with the safe fixes of the linter
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

bench: $(DEV) ## measure throughput, latency and memory on this machine; ARGS="bus --bus redis": that broker
	@$(BIN)/muster bench $(ARGS)

clean: ## remove .venv and every cache (embedded services and their data stay)
	rm -rf $(VENV) $(VENV)-bench build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) was not found"; \
	  echo "  why: muster needs Python 3.11 or newer"; \
	  echo "   do: install it, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $$($(PYTHON) --version) is too old"; \
	  echo "  why: muster needs Python 3.11 or newer"; \
	  echo "   do: install one and name it: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	@{ test -f $(VENV)/pyvenv.cfg && $(PIP) --version >/dev/null 2>&1; } || { \
	  echo "creating $(VENV) with pip (first time only, about a minute)…"; \
	  $(PYTHON) -m venv --clear $(VENV); } || { rm -rf $(VENV); \
	  echo "error: $(PYTHON) cannot create a virtual environment"; \
	  echo "  why: its venv module is missing or incomplete (see above)"; \
	  echo "   do: install it (on Debian and Ubuntu: apt install python3-venv), then run make again"; exit 2; }
	@$(PIP) install --constraint constraints.txt --editable '.[redis,rabbitmq,kafka]'
	@touch $@

$(DEV): $(RUNTIME)
	@echo "adding the tools for tests and checks to $(VENV)…"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@
