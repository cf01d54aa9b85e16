# Two commands to know: `make demo` and `make test`. Everything runs in .venv, made on the first call.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

# Whether a Python has a torch of its own that is new enough, such as the CUDA build of a GPU machine.
OWN_TORCH := from importlib.metadata import version; assert tuple(map(int, version("torch").split(".")[:2])) >= (2, 11)

export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test test-slow browser lint types check compat gpu-check bench reference clean

demo: $(READY)
	$(BIN)/budgetlens run exp08 --n 200

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(WORKERS)

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(WORKERS)

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

# The oldest and the newest packages that setup.cfg admits, in fresh environments, on the Pythons that are here.
compat: $(READY)
	$(BIN)/python -m tests.compat

# What only a GPU can show; without one it says so and fails.
gpu-check: $(READY)
	$(BIN)/python -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else "no CUDA device is here")'
	$(BIN)/python -m pytest tests/test_gpu.py -m gpu -s
	$(BIN)/budgetlens bench --device cuda

bench: $(READY)
	$(BIN)/budgetlens bench

reference: $(READY)
	$(BIN)/python -m budgetlens.reference

$(READY): setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version)'
	@if $(PYTHON) -c '$(OWN_TORCH)' 2>/dev/null; then \
	  echo "the torch that $(PYTHON) has is used, with what else fits it"; \
	  $(PYTHON) -m venv --system-site-packages $(VENV) && $(BIN)/python -m pip install --quiet --editable ".[dev]"; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --constraint constraints.txt torch \
	  && $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"; \
	fi
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
