# `make` alone lists what there is. Everything runs in .venv, which is made on first use.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check fix bench mutants menagerie docs site clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp lives inside .venv, so that removing .venv is a clean start.
.venv/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || { echo "making .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing the pinned versions into .venv (a few minutes on the first run)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "setuptools>=77" wheel
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,hub,search,tensorboard]"
	@touch $@

install: .venv/.installed ## make .venv with the pinned versions

demo: .venv/.installed ## train, judge, inspect and attack real digits; write runs/demo/report.html
	@$(BIN)/convscope demo --out runs/demo

test: .venv/.installed ## the fast test suite (under 8 minutes on two cores)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test-all: .venv/.installed ## also the slow tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m ""

check: .venv/.installed ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: .venv/.installed ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/.installed ## how to repeat the measurements
	@echo "each file in benchmarks/ is one measurement; results are in benchmarks/results/"
	@echo "peers: $(BIN)/pip install -e '.[bench]' (torchattacks and grad-cam with --no-deps where torchvision does not import)"
	@for file in benchmarks/*.py; do \
	  case $$file in */record.py|*/peers.py) continue;; esac; \
	  printf "  %-40s %s\n" $$file "$$(head -n 1 $$file | tr -d '"')"; \
	done

.venv/.mutants: .venv/.installed
	@echo "installing coverage into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[mutants]"
	@touch $@

mutants: .venv/.mutants ## try seeded faults in src (an hour); those that no test notices are in mutants.jsonl
	@mkdir -p build/mutants
	@echo "recording which test runs which line (ten minutes)"
	@COVERAGE_CORE=ctrace COVERAGE_FILE=build/mutants/coverage OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) \
	  --dist worksteal --cov=convscope --cov-context=test --cov-report= --junitxml=build/mutants/junit.xml
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/mutants.py --part 0/2 & \
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/mutants.py --part 1/2; wait

# Libraries of networks need another torch than the pinned one: an environment of their own, 5.5 GB.
build/menagerie/.installed: pyproject.toml
	@test -x build/menagerie/bin/python || $(PYTHON) -m venv build/menagerie
	@echo "installing torch, torchvision, timm and transformers into build/menagerie (5.5 GB)"
	@build/menagerie/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
	  timm transformers pytest pytest-xdist beartype -e .
	@touch $@

menagerie: build/menagerie/.installed ## try 166 architectures of timm, torchvision and transformers (an hour on two cores)
	@OMP_NUM_THREADS=1 build/menagerie/bin/python -m pytest -q -n $(JOBS) --dist loadgroup -m "" -o junit_family=xunit1 \
	  --junitxml=build/menagerie.xml tests/menagerie/every_network.py; \
	  build/menagerie/bin/python benchmarks/menagerie.py --dry build/menagerie.xml

docs: .venv/.installed ## run every example in the documentation and in docstrings
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/test_doctests.py tests/test_documentation.py

# The site's own packages are installed when it is first built: `make install` stays quick.
.venv/.site: .venv/.installed
	@echo "installing Sphinx and its theme into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

site: .venv/.site ## build the documentation site, build/site/index.html (under 2 minutes on two cores)
	@$(BIN)/python -m sphinx -b html -W --keep-going -n -q -j $(JOBS) docs build/site
	@$(BIN)/python docs/check_site.py build/site
	@echo "wrote build/site/index.html"

clean: ## remove .venv, caches and runs
	rm -rf docs/gallery docs/reference/api docs/tutorials/pictures
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist src/*.egg-info
