# `make run` does everything; the other targets are for one part of it. All are safe to repeat.
PYTHON ?= python3
# TORCH=cpu installs PyTorch's CPU build (200 MB instead of gigabytes of CUDA), for machines without a GPU.
TORCH ?= default
VENV := .venv
REQUIREMENTS := requirements.txt $(wildcard requirements/*.txt)
ACTIVATE := . $(VENV)/bin/activate
TORCH_PIN = $(shell grep '^torch==' requirements/model.txt)

.PHONY: run env chat test test-all lint bench constraints

run: $(VENV)/installed
	$(ACTIVATE) && dvc repro

env: $(VENV)/installed

chat: $(VENV)/installed
	@$(ACTIVATE) && python -m tools.chat $(if $(BOTH),--both) $(if $(BASE),--base)

test: $(VENV)/installed-dev
	$(ACTIVATE) && python -m pytest -m "not slow"

test-all: $(VENV)/installed-dev
	$(ACTIVATE) && python -m pytest

lint: $(VENV)/installed-dev
	$(ACTIVATE) && ruff check . && ruff format --check .

bench: $(VENV)/installed-dev
	$(ACTIVATE) && python -m benchmarks.noop

$(VENV)/installed: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; name one: make run PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --index-url https://download.pytorch.org/whl/cpu $(TORCH_PIN)
endif
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements/dev.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@
