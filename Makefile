# `make run` does everything; the other targets are for one part of it. All are safe to repeat.
#   make run    environment, dependencies, pipeline      make test      the tests, some minutes
#   make chat   talk to the tuned model                  make test-all  the slow proofs too
#   make env    environment and dependencies alone       make bench     what benchmarks/ measures
PYTHON ?= python3
# TORCH=cpu installs PyTorch's CPU build (200 MB instead of gigabytes of CUDA), for machines without a GPU.
TORCH ?= default
# REMOTES=s3,ssh adds what remotes of these kinds need: those in requirements/remotes/.
REMOTES ?=
comma := ,
VENV := .venv
REQUIREMENTS := requirements.txt $(wildcard requirements/*.txt stages/*/requirements.txt stages/lib/*/requirements.txt)
ACTIVATE := . $(VENV)/bin/activate
INSTALL := $(VENV)/bin/python requirements/install.py
TORCH_PIN = $(shell grep '^torch==' stages/lib/base_model/requirements.txt)

# Side by side, a thread each; Python keeps what it compiles. Which code the tests reach is measured where `test-all` is asked for:
# it takes time. There the properties are tried on more examples too.
PYTEST := PYTHONDONTWRITEBYTECODE= python -m pytest -n logical --maxprocesses 4 --dist worksteal
MEASURED := $(if $(filter test-all,$(MAKECMDGOALS)),--cov --cov-report=)

.PHONY: run env chat test test-all lint hooks bench constraints

run: $(VENV)/installed
	$(ACTIVATE) && dvc repro
	@echo
	@echo 'Where to look next:'
	@echo '  make chat                    talk to the tuned model'
	@echo '  metrics/report.html          in a browser: is it better, where not, every reply, blind votes'
	@echo '  metrics/replies.md           what base and tuned model reply to test conversations'
	@echo '  source .venv/bin/activate    then, for the figures and the curves:'
	@echo '  dvc metrics show metrics/base.json metrics/tuned.json'
	@echo '  dvc plots show'

env: $(VENV)/installed $(patsubst %,$(VENV)/installed-%-remote,$(subst $(comma), ,$(REMOTES)))

chat: $(VENV)/installed
	@$(ACTIVATE) && python -m tools.chat $(ARGS)

test: $(VENV)/installed-dev
	$(ACTIVATE) && $(PYTEST) $(MEASURED) -m "not slow"

test-all: test
	$(ACTIVATE) && coverage report --fail-under=95 && $(PYTEST) --hypothesis-profile=thorough -m "slow or hypothesis"

lint: $(VENV)/installed-dev
	$(ACTIVATE) && ruff check . && ruff format --check . && mypy

# What .pre-commit-config.yaml checks at each commit, besides lint: no keys, no large files, dvc.lock up to date.
hooks: $(VENV)/installed-dev
	$(ACTIVATE) && SKIP=ruff,format,types pre-commit run --all-files

bench: $(VENV)/installed-bench $(patsubst %,$(VENV)/installed-%-remote,s3 ssh tests)
	$(ACTIVATE) && python -m benchmarks.noop && python -m benchmarks.corpora && python -m benchmarks.data_stages \
		&& python -m benchmarks.near_duplicates && python -m benchmarks.tokenization && python -m benchmarks.example_memory \
		&& python -m benchmarks.training && python -m benchmarks.preflight && python -m benchmarks.kills \
		&& python -m benchmarks.claims && python -m benchmarks.scoring && python -m benchmarks.canary \
		&& python -m benchmarks.replies && python -m benchmarks.controls && python -m benchmarks.sharing

$(VENV)/installed: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; name one: make run PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	@$(INSTALL) --index-url https://download.pytorch.org/whl/cpu $(TORCH_PIN)
endif
	@$(INSTALL) -r requirements.txt
	@$(VENV)/bin/python -m tools.draw --script $(VENV)/vega.js
	@if git rev-parse --git-dir > /dev/null 2>&1; then $(VENV)/bin/python -m tools.merge_lock --install; fi
	@touch $@

$(VENV)/installed-%-remote: requirements/remotes/%.txt $(VENV)/installed
	@$(INSTALL) -r $< -c requirements/constraints.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements/dev.txt
	@$(INSTALL) -r requirements/dev.txt
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed-dev benchmarks/requirements.txt
	@$(INSTALL) -r benchmarks/requirements.txt
	@touch $@

# requirements/constraints.txt from what the requirements bring today, in an environment of its own.
constraints:
	rm -rf $(VENV)-constraints
	$(PYTHON) -m venv $(VENV)-constraints
	sed '/^-c/d' requirements.txt > $(VENV)-constraints/requirements.txt
	tar cf - requirements $(filter stages/%,$(REQUIREMENTS)) | tar xf - -C $(VENV)-constraints
	sed -i '/^-c/d' $(VENV)-constraints/requirements/dev.txt
	$(VENV)-constraints/bin/python requirements/install.py -r $(VENV)-constraints/requirements.txt -r $(VENV)-constraints/requirements/dev.txt
	$(VENV)-constraints/bin/pip freeze | $(PYTHON) requirements/write_constraints.py
	rm -rf $(VENV)-constraints
