# Two commands set everything up on a fresh machine: `make demo` and `make test`.
# Both create .venv when it is missing; an interrupted install leaves no stamp and is simply continued.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_WORKERS ?= 2 # a process takes a core and a gigabyte
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help demo test slurm-test lint openmmlab launchers browser docs clean

help:
	@echo "make demo   environment, road world, Lift3D bank, nine detector runs, leaderboard (minutes)"
	@echo "make test   environment, lint, type check, tests"
	@echo "make docs   environment, documentation site in build/site, its notebooks run"
	@echo "make slurm-test   a sweep on a SLURM of this machine's own (root; apt-get install slurm-wlm munge)"

$(STAMP): pyproject.toml constraints.txt requirements/openmmlab.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --prefer-binary -c constraints.txt -e ".[dev]"
	touch $(STAMP)

# The OpenMMLab corner: FCOS3D, and the nuScenes devkit that tests and benches compare with. The demo does without.
openmmlab: $(VENV)/.openmmlab

$(VENV)/.openmmlab: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt pycocotools six addict yapf termcolor terminaltables pyquaternion pandas scikit-learn cachetools
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/openmmlab.txt
	touch $@

# Ray and submitit, which sweeps on clusters and their tests need. The demo does without.
launchers: $(VENV)/.launchers

$(VENV)/.launchers: $(STAMP)
	$(BIN)/python -m pip install --quiet --prefer-binary -c constraints.txt -e ".[launchers]"
	touch $@

# What drives a browser of this machine; the edit page's test needs it, and is left out without a chromium.
browser: $(VENV)/.browser

$(VENV)/.browser: $(STAMP)
	$(BIN)/python -m pip install --quiet --prefer-binary -c constraints.txt -e ".[browser]"
	touch $@

demo: $(STAMP)
	$(BIN)/python -m lit demo

lint: $(STAMP) openmmlab launchers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint $(if $(shell command -v chromium),browser)
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal

# The site takes its pages from docs/, the README, docs/results and the docstrings, and runs its notebooks.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --prefer-binary -c constraints.txt -e ".[docs]"
	touch $@

# A real SLURM in a temporary folder: munged, slurmctld and slurmd start, run a tiny sweep and stop. Prints its log.
slurm-test: $(STAMP) launchers
	LIFTBENCH_SLURM_TEST=1 $(BIN)/python -m pytest -s -rs tests/lit/experiments/launchers/test_slurm_arrays.py

clean:
	rm -rf runs .venv
