# make run     install, train a small language model on real text, show what it learned
# make test    everything that must hold: style, types, layers, tests
# make docs    the documentation site, in build/site/html
# make install the installing alone;  make bench: see bench/README.md
#
# PYTHON=python3.12 chooses the interpreter, VENV=dir the environment, EXTRAS=test,oracles what else is compared with.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install run lint test docs format bench gpu gpu-wheels clean

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test
BIN := $(VENV)/bin
# Oracles that ask for torchvision or Lightning, which nothing here uses, and what else they need.
ALONE := mup torchcfm curvlinops-for-pytorch backpack-for-pytorch einconv linear_operator
# On a terminal pip shows its own progress; in a log it stays quiet.
PIP = $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt $$([ -t 1 ] || echo --quiet)

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -6

install: $(VENV)/.installed
	@echo "danlu is installed: $(BIN)/danlu"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"danlu needs Python 3.11 or newer, and $(PYTHON) is {v[0]}.{v[1]}: try make PYTHON=python3.12")'
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# A stamp for each set of packages, so that a second call has nothing to do.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing danlu and PyTorch into $(VENV): about a minute, more on a slow line"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing danlu, PyTorch and the test tools into $(VENV): a minute or two"
	@$(PIP) --editable '.[$(EXTRAS)]'
	@$(if $(findstring oracles,$(EXTRAS)),$(PIP) --no-deps $(ALONE))
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing danlu, PyTorch and the rivals of the benchmarks into $(VENV)"
	@$(PIP) --editable '.[bench]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing danlu, PyTorch and what makes the site into $(VENV)"
	@$(PIP) --editable '.[docs]'
	@touch $(VENV)/.installed $@

run: $(VENV)/.installed
	@$(BIN)/danlu train

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }; grep Contracts: <<< "$$out"

test: lint
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile

# Strict: a link that leads nowhere or a name that is not there ends it.
docs: $(VENV)/.installed-docs
	@$(BIN)/python docs/site/build.py
	@echo "The site is build/site/html/index.html"

format: $(VENV)/.installed-test
	@$(BIN)/ruff check --fix .; $(BIN)/ruff format .

# NANOGPT=<checkout of nanoGPT> and TEXT=<a text file> bring in the rivals that are no package.
bench: $(VENV)/.installed-bench
	@$(BIN)/python -m bench.kernels
	@$(BIN)/python -m bench.startup
	@$(BIN)/python -m bench.lengths
	@$(BIN)/python -m bench.optimizers
	@$(BIN)/python -m bench.mup
	@$(BIN)/python -m bench.step_time $(if $(NANOGPT),--nanogpt '$(NANOGPT)')
ifneq ($(and $(NANOGPT),$(TEXT)),)
	@$(BIN)/python -m bench.time_to_quality --nanogpt '$(NANOGPT)' --text '$(TEXT)'
else
	@echo "Time to quality: give NANOGPT=<checkout> and TEXT=<file>; see bench/README.md"
endif

# Everything that a GPU alone can say, in eight minutes; docs/gpu.md. GPU="--device cpu --tiny" rehearses it.
gpu:
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) -m bench.gpu $(GPU)

# What danlu imports to train and a bare machine with PyTorch may lack, for a machine without a network.
CARRIED := pydantic pydantic-core annotated-types typing-inspection typing-extensions filelock pyyaml safetensors
TARGET ?= 3.12
PLATFORMS := $(foreach tag,manylinux_2_28 manylinux_2_17 manylinux2014,--platform $(tag)_x86_64)
gpu-wheels:
	@$(PYTHON) -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
		--python-version $(TARGET) --implementation cp $(PLATFORMS) --constraint constraints.txt \
		--dest .wheels $(CARRIED)
	@echo "$$(ls .wheels/*.whl | wc -l) wheels for Python $(TARGET) in .wheels: bring that folder along"

clean:
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
