# Everything starts here: `make run` to see it work, `make test` before every commit.
# Needs Python 3.11 or newer and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
HOURS ?= 100
SEED ?=
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
# Quiet about its own news and warnings; what goes wrong is still printed.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help run test test-real coverage check fix kills mutants budget bench bench-peers lock swarm clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kamou needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another with PYTHON=...")'
	@echo 'setting up $(VENV) ...' >&2
	@$(PYTHON) -m venv $(VENV) >&2
	@$(PIP) install --constraint constraints.txt --editable '.[dev]' >&2
	@touch $@

run: $(READY) ## run the whole system and its site: make run ARGS="--port 18080 --days 5"
	$(BIN)/kamou run $(ARGS)

check: $(READY) ## lint, format, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks --exclude 'benchmarks/(peers|numba_scan)/'
	$(BIN)/lint-imports --no-cache

test: check ## everything that must hold before a commit: check, tests
	$(BIN)/pytest -n $(JOBS) --dist worksteal

# Measuring makes a simulation two to three times as slow, so it is a target of its own; the marker
# no_cover of pytest-cov leaves out long ones whose lines other tests reach as well.
coverage: $(READY) ## the tests again, with the lines and branches that none of them reaches
	$(BIN)/pytest -n $(JOBS) --dist worksteal --cov --cov-branch --cov-report=term-missing:skip-covered

test-real: $(READY) ## the tests that need real recorded data: KAMOU_SHARED=DIR make test-real
	@test -d "$(KAMOU_SHARED)/data" || { echo 'make test-real needs the recorded market data: KAMOU_SHARED must name a folder that has data/ in it (now: "$(KAMOU_SHARED)")' >&2; exit 1; }
	KAMOU_SHARED="$(abspath $(KAMOU_SHARED))" $(BIN)/pytest -m real

fix: $(READY) ## fix what a machine can fix: lint, format, the pages written from tables
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tests/settings_page.py
	$(BIN)/python tests/codes_page.py
	$(BIN)/python tests/fills_page.py
	$(BIN)/python tests/reliability_pages.py

POINTS ?= 200
SITE_KILLS ?= 50
kills: $(READY) ## kill the process at POINTS points and its site SITE_KILLS times; see what is left
	$(BIN)/python tests/simulation/kills/suite.py --points $(POINTS) --jobs $(JOBS) $(ARGS)
	$(BIN)/python tests/simulation/kills/suite.py --points $(POINTS) --jobs $(JOBS) --no-kinds --separate-stops $(ARGS)
	$(BIN)/python tests/simulation/kills/site_kills.py --kills $(SITE_KILLS)

CHANGES ?= 200
mutants: $(READY) ## put in each known defect, and CHANGES by machine (SEED=... to repeat): noticed?
	$(BIN)/python tests/simulation/mutation_suite.py --jobs $(JOBS) --write-docs $(ARGS)
	$(BIN)/python tests/simulation/machine_suite.py --jobs $(JOBS) --count $(CHANGES) $(if $(SEED),--seed $(SEED)) --write-docs

budget: $(READY) ## 200 drawn backtests with late and failing account reads: are all limits kept?
	$(BIN)/python tests/simulation/budget_suite.py --jobs $(JOBS) $(ARGS)

bench: $(READY) ## measure; one JSON document on standard output
	@$(BIN)/python benchmarks/all.py

bench-peers: $(READY) ## the same, with the backtests in other people's engines
	@$(BIN)/python benchmarks/peer_engines.py >&2
	@$(BIN)/python benchmarks/all.py --peers

lock: $(READY) ## write the exact versions that are installed to constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@{ sed '/^[^#]/,$$d' constraints.txt; $(PIP) freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$'; } > constraints.new
	@mv constraints.new constraints.txt
	@touch $(READY)

swarm: $(READY) ## simulate HOURS=... simulated hours of fresh seeds (SEED=... to repeat them)
	@first=$(SEED); : "$${first:=$$($(BIN)/python -c 'import secrets; print(secrets.randbelow(10**9))')}"; \
		echo "seeds from $$first" >&2; \
		$(BIN)/kamou simulate --seeds $$first..$$((first + $(HOURS) - 1)) --hours 1 --jobs $(JOBS) $(ARGS)

clean: ## remove what was made, but not the data directory
	rm -rf $(VENV) benchmarks/.peers build dist *.egg-info .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
