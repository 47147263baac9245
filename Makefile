# Everything runs from a clean clone with git, make and a Python 3.10-3.13; all that it installs is under $(ENVS).
#
#   make quick                                       before each commit
#   make test PYTHON=python3.12 ENVS=.envs-3.12      another Python, beside the first
#   make e2e AIRFLOW=2.11 PYTEST_ARGS="-k leak -x"   one line, chosen tests
#   make contract DATABASE=postgresql                one of the databases that Mage can be on
#   make e2e WAITING_TASKS=200                       many tasks that wait at once, instead of a few

PYTHON ?= python3
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
ENVS ?= .envs
# Airflow 2.11 does not exist for Python 3.13. Mage does not run on it: uv finds or fetches a 3.12 for Mage.
AIRFLOW ?= $(if $(filter 3.13,$(PYTHON_VERSION)),3,3 2.11)
# The lowest versions that are supported, of Airflow 2.11 and of the package's own dependencies: for unit tests alone.
LOWEST ?= $(if $(filter 2.11,$(AIRFLOW)),lowest)
# Those between the ones that `make test` runs on: weekly, as what is their own is little.
LINES ?= 3.1 3.2
MAGE ?= 0.9.80
export CHROMIUM ?=
MAGE_PYTHON ?= $(if $(filter 3.13,$(PYTHON_VERSION)),3.12,$(TOOLS)/python)
DATABASE ?= sqlite postgresql
PYTEST_ARGS ?=
RUNS ?= 500
FUZZ_SECONDS ?= 600
ENV_DIR := $(abspath $(ENVS))
TOOLS := $(ENV_DIR)/tools/bin
UV := TMPDIR=$(ENV_DIR)/tmp $(TOOLS)/uv --quiet
STAMP := $(ENV_DIR)/stamps
# directories too: a file that goes away changes the directory it was in
SOURCES := $(shell find airflow_provider_mage example_dags $(CURDIR)/docs -name __pycache__ -prune -o -print) pyproject.toml $(wildcard *.md) LICENSE
COMPILE := $(UV) pip compile --universal --python-version 3.10 --no-emit-index-url --no-annotate \
	--custom-compile-command "make constraints"

# `exec`, so that nothing stands between make and what ends when make has ended.
STAGES = @exec $(TOOLS)/python dev/stages.py --envs $(ENV_DIR) --airflow $(AIRFLOW) --lowest $(LOWEST) \
	--mage $(MAGE) --database $(DATABASE) --pytest-args='$(PYTEST_ARGS)'

# What the caller's shell has set must not reach into the environments that are tested.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTEST_ADDOPTS AIRFLOW_HOME AIRFLOW_CONFIG

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SECONDARY:
.PHONY: help setup demo ui screenshots docs quick test check fmt build release unit hostile fuzz contract faults e2e lines bench constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(AIRFLOW:%=$(STAMP)/wheel-in-airflow-%) $(LOWEST:%=$(STAMP)/wheel-in-airflow-%) $(AIRFLOW:%=$(STAMP)/database-of-airflow-%) $(STAMP)/mage-$(MAGE) ## make every environment

demo: $(STAMP)/wheel-in-airflow-3 $(STAMP)/database-of-airflow-3 $(STAMP)/mage-$(MAGE) ## see it work: the example DAGs on a real Airflow and a real Mage (KEEP=1: both UIs stay up)
	@MAGE_ENV=$(ENV_DIR)/mage-$(MAGE) exec $(ENV_DIR)/airflow-3/bin/python dev/demo.py $(if $(KEEP),--keep)

ui: $(AIRFLOW:%=$(STAMP)/wheel-in-airflow-%) $(AIRFLOW:%=$(STAMP)/database-of-airflow-%) $(STAMP)/mage-$(MAGE) ## forms, Test button, logs and links in a real browser (CHROMIUM=/path/of/it)
	$(STAGES) ui

screenshots: export PICTURES = 1
screenshots: ui ## the same, taking the pictures in docs/images anew

quick: AIRFLOW = 3
quick: DATABASE = sqlite
quick: $(STAMP)/wheel-in-airflow-3 $(STAMP)/mage-$(MAGE) ## before each commit: check, unit and contract, on one Airflow line and with Mage on SQLite
	$(STAGES) --at-once 3 check unit contract

test: setup ## before a push, and in CI: check, unit, hostile, contract, faults and e2e
	$(STAGES) --runs 30 check unit hostile contract faults e2e

check: $(STAMP)/tools $(STAMP)/airflow-3 $(STAMP)/site ## while writing: formatting, lint, types, docstrings, imports, the site
	@$(TOOLS)/ruff format --check --diff --quiet || { echo "make check: 'make fmt' formats these" >&2; exit 1; }
	@$(TOOLS)/ruff check --quiet
	@$(TOOLS)/mypy --python-executable $(ENV_DIR)/airflow-3/bin/python
	@$(TOOLS)/pydoclint --quiet airflow_provider_mage dev
	@said=$$($(TOOLS)/lint-imports --no-logo --no-cache 2>&1) || { echo "$$said" >&2; exit 1; }

docs: $(STAMP)/tools $(STAMP)/wheel-in-airflow-3 ## make the documentation's site, in $(ENVS)/site
	@AIRFLOW_HOME=$(ENV_DIR)/home-airflow-3 $(ENV_DIR)/airflow-3/bin/python dev/arguments_page.py
	@$(MAKE) --no-print-directory $(STAMP)/site
	@echo "$(ENV_DIR)/site/index.html"

fmt: $(STAMP)/tools ## format, and fix what ruff can fix
	@$(TOOLS)/ruff check --fix-only --quiet
	@$(TOOLS)/ruff format

release: build ## before a release: install the wheel in an empty environment of each Python there is, and import everything
	@for version in 3.10 3.11 3.12 3.13; do \
		$(UV) python find $$version >/dev/null 2>&1 || { echo "--> no Python $$version here: not tried"; continue; }; \
		env=$(ENV_DIR)/release-$$version; \
		$(UV) venv --clear --python $$version $$env && \
		$(UV) pip install --python $$env/bin/python -c constraints/airflow-3.txt dist/*.whl && \
		$(UV) pip check --python $$env/bin/python && \
		AIRFLOW_HOME=$$env/home $$env/bin/python dev/import_all.py || exit 1; \
		rm -rf $$env; \
	done

build: $(STAMP)/wheel ## build the sdist, and the wheel out of it, into dist/
	@ls dist/*

unit: $(AIRFLOW:%=$(STAMP)/wheel-in-airflow-%) $(LOWEST:%=$(STAMP)/wheel-in-airflow-%) ## after a change to the package: unit tests and the wheel, on both Airflow lines and with the lowest versions
	$(STAGES) unit

hostile: $(STAMP)/wheel-in-airflow-3 ## after a change to what reads answers or arguments: everything odd, everywhere, and at random
	$(STAGES) hostile

fuzz: $(STAMP)/wheel-in-airflow-3 ## the same at random for longer: FUZZ_SECONDS=600 for each fuzz test
	$(STAGES) --fuzz-seconds $(FUZZ_SECONDS) --pytest-args='-k random $(PYTEST_ARGS)' hostile

contract: $(STAMP)/wheel-in-airflow-3 $(STAMP)/mage-$(MAGE) ## after a change to api/ or the fakes: the fake against a real Mage, on SQLite and on PostgreSQL (MAGE=0.9.70: the oldest)
	$(STAGES) contract

faults: $(STAMP)/wheel-in-airflow-3 $(STAMP)/mage-$(MAGE) ## after a change to starts or waiting: requests broken on purpose, and at random in RUNS=500 runs
	$(STAGES) --runs $(RUNS) faults

e2e: $(AIRFLOW:%=$(STAMP)/wheel-in-airflow-%) $(AIRFLOW:%=$(STAMP)/database-of-airflow-%) $(STAMP)/mage-$(MAGE) ## after a change to what Airflow sees: a real Airflow of each line and a real Mage
	$(STAGES) e2e

lines: $(LINES:%=$(STAMP)/wheel-in-airflow-%) $(LINES:%=$(STAMP)/database-of-airflow-%) $(STAMP)/mage-$(MAGE) ## weekly: unit and the essential end-to-end tests on the Airflow lines between (LINES="3.1 3.2")
	$(STAGES) --airflow $(LINES) --lowest --at-once 1 unit essential

bench: $(STAMP)/wheel-in-airflow-peers $(STAMP)/mage-$(MAGE) ## measure against other ways (two hours), into docs/benchmarks.md
	@kept=true; \
	for what in import_cost.py log_ins.py starting.py ending.py "ending.py --database postgresql --started 100" \
			waiting.py "waiting.py --database postgresql --waiting 1000" lost_jobs.py; do \
		echo "==> benchmarks/$$what"; \
		PYTHONPATH=dev AIRFLOW_HOME=$(ENV_DIR)/home-airflow-peers MAGE_ENV=$(ENV_DIR)/mage-$(MAGE) \
		$(ENV_DIR)/airflow-peers/bin/python benchmarks/$$what || kept=false; \
	done; $$kept

constraints: $(STAMP)/tools ## pin anew what the environments hold (UPGRADE=1: move to the newest versions)
	@for name in airflow-3 airflow-3.2 airflow-3.1 airflow-2.11 airflow-lowest airflow-peers mage-0.9.80 mage-0.9.70 tools; do \
		case $$name in airflow-*) also=pyproject.toml ;; *) also= ;; esac; \
		case $$name in *-lowest) also="$$also --resolution lowest-direct" ;; esac; \
		pins=constraints/$$name.txt; new=$(STAMP)/$$name.txt; \
		echo "--> $$pins"; \
		cp $$pins $$new && $(COMPILE) $(if $(UPGRADE),--upgrade) constraints/$$name.in $$also -o $$new || exit 1; \
		cmp -s $$new $$pins && rm $$new || mv $$new $$pins; \
	done

clean: ## remove the environments and all that was built
	rm -rf $(ENV_DIR) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Environments

$(STAMP)/tools: constraints/tools.txt
	@$(if $(filter 3.10 3.11 3.12 3.13,$(PYTHON_VERSION)),,\
		echo "$(PYTHON) is not a Python 3.10-3.13: name one, as in 'make setup PYTHON=python3.12'" >&2; exit 1)
	@echo "--> environment: tools"
	@rm -rf $(ENV_DIR)/tools && mkdir -p $(STAMP) $(ENV_DIR)/tmp && $(PYTHON) -m venv $(ENV_DIR)/tools
	@$(TOOLS)/python -m pip install --quiet --disable-pip-version-check -c constraints/tools.txt uv
	@$(UV) pip install --python $(TOOLS)/python -r constraints/tools.txt
	@touch $@

define new-env
@echo "--> environment: $(@F)"
@$(UV) venv --clear --python $(1) $(ENV_DIR)/$(@F)
@$(UV) pip install --python $(ENV_DIR)/$(@F)/bin/python -r $<
@touch $@
endef

$(STAMP)/airflow-%: constraints/airflow-%.txt | $(STAMP)/tools
	$(call new-env,$(TOOLS)/python)

# Airflow makes its tables once; each Airflow of a test starts from a copy.
$(STAMP)/database-of-airflow-%: $(STAMP)/airflow-% dev/postgresql.py
	@$(ENV_DIR)/airflow-$*/bin/python dev/airflow_server.py
	@touch $@

$(STAMP)/mage-%: constraints/mage-%.txt | $(STAMP)/tools
	$(call new-env,$(MAGE_PYTHON))

# What cannot be resolved is an error; what was made before is not taken up, as a page may have gone.
$(STAMP)/site: $(SOURCES) | $(STAMP)/tools
	@rm -rf $(ENV_DIR)/site
	@$(TOOLS)/sphinx-build -q -W --keep-going -E -d $(ENV_DIR)/tmp/site docs $(ENV_DIR)/site
	@touch $@

# The wheel is made from the sdist, so that what is missing in the sdist is missed by the tests.
$(STAMP)/wheel: $(SOURCES) | $(STAMP)/tools
	@echo "--> building the wheel"
	@rm -rf dist && $(UV) build --python $(TOOLS)/python --no-build-isolation
	@touch $@

$(STAMP)/wheel-in-airflow-%: $(STAMP)/wheel $(STAMP)/airflow-%
	@$(UV) pip install --python $(ENV_DIR)/airflow-$*/bin/python --no-deps --reinstall dist/*.whl
	@$(UV) pip check --python $(ENV_DIR)/airflow-$*/bin/python
	@touch $@
