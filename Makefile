# Two commands to know: `make demo` and `make test`. Everything runs in .venv, made on the first call.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test test-slow browser lint types check bench reference clean

demo: $(READY)
	$(BIN)/budgetlens run exp08

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(WORKERS)

test-slow: $(READY)
	OMP_NUM_THREADS=1 	$(BIN)/python -m pytest -m slow -n $(WORKERS)

# A Chromium for the tests that need one (and for pictures of figures): Debian's, where it may be installed.
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
	|| { test "$$(id -u)" = 0 && command -v apt-get && apt-get update -qq \
	     && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation fonts-dejavu-core; } \
	|| echo "No Chromium is here, and only root can install it with apt-get: tests that need it will be skipped"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: test test-slow lint types

bench: $(READY)
	$(BIN)/budgetlens bench

reference: $(READY)
	$(BIN)/python -m budgetlens.reference

$(READY): setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
