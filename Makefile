# Everything a fresh Debian or Ubuntu machine needs is set up by the targets themselves: make demo, make test.
#
# Variables, all optional:
#   PYTHON=/path/to/python   which Python (3.11 to 3.13) makes the virtual environment
#   QT=pyqt6                 Qt binding (pyqt5 by default); each has a virtual environment of its own
#   INDEX=URL                one more package index, to choose the torch build, for instance
#                            https://download.pytorch.org/whl/cpu
#   ARGS="-k gaps"           handed to pytest

SHELL := /bin/bash
QT ?= pyqt5
VENV := $(if $(filter pyqt6,$(QT)),.venv-pyqt6,.venv)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_OPTIONS := -c constraints.txt $(if $(INDEX),--extra-index-url $(INDEX))
SCREEN := -screen 0 1366x768x24

# QT_API makes qtpy take this environment's binding even where a desktop sets another.
TEST_ENV := QT_API=$(QT) OMP_NUM_THREADS=$${OMP_NUM_THREADS:-2}

.DEFAULT_GOAL := help
.PHONY: help system venv demo test test-core test-gui lint format types contracts wheel-check clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

system: ## Install missing system packages (root), or print the line to type
	@.ci/system-packages.sh

$(STAMP): pyproject.toml constraints.txt | system
	@python="$$(PYTHON='$(PYTHON)' .ci/find-python.sh)" && { [ -x $(BIN)/python ] || "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install $(PIP_OPTIONS) -e ".[$(QT),test]"
	@touch $@

venv: system $(STAMP) ## Make the virtual environment

demo: system $(STAMP) ## Open napari on a segmented sample; without a screen, do the work under Xvfb and write demo-output/
	QT_API=$(QT) $(BIN)/napari-vessel demo --out demo-output

test: test-core test-gui ## Run the tests (Xvfb is started by pytest)

test-core: system $(STAMP) ## Run the tests without a window
	$(TEST_ENV) $(BIN)/python -m pytest -m "not wheel" --ignore=tests/gui $(ARGS)

test-gui: system $(STAMP) ## Run the tests of the window only
	$(TEST_ENV) .ci/window-tests.sh $(BIN)/python $(ARGS)

wheel-check: system $(STAMP) ## Build the wheel, install it into a fresh environment, open every widget, segment a sample
	INDEX='$(INDEX)' QT_API=$(QT) $(BIN)/python -m pytest -m wheel tests/packaging $(ARGS)

lint: $(STAMP) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## Check types
	$(BIN)/mypy

contracts: $(STAMP) ## Check which package imports which
	$(BIN)/lint-imports

clean: ## Remove what make and the tests made (not the virtual environments)
	rm -rf build dist demo-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache napari_vessel.egg-info
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
