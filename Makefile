# make train   sets up, then runs the whole method on the embedded default (CPU, minutes)
# make check   sets up, then checks format, style, layers and types (under a minute)
# make test    sets up, then runs the tests
# make fuzz    sets up, then gives the front door new odd inputs, for ten minutes or FUZZ_SECONDS
# make setup   only sets up; a second call is instant if nothing has changed
# make bench   sets up, then runs every comparison with a peer and writes docs/performance.md (half an hour on two quiet cores)
# make peers   installs TRL and verl, each in its own environment in .peers, for the tests and benches against them
VENV ?= .venv
EXTRA ?= cpu
PYTHON ?= python3
RECIPE ?= recipes/quickstart.yaml
FUZZ_SECONDS ?= 600

.PHONY: setup train check test fuzz bench peers
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints-$(EXTRA).txt scripts/setup.sh scripts/torchvision_cpu_ops.py
	PYTHON="$(PYTHON)" bash scripts/setup.sh "$(VENV)" "$(EXTRA)"
	@touch $@

train: setup
	$(VENV)/bin/curlvpr train $(RECIPE)

check: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/mypy

test: setup
	$(VENV)/bin/python -m pytest -n 2 --no-loadscope-reorder

fuzz: setup
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(VENV)/bin/python -m pytest tests/fuzz

bench: setup peers
	$(VENV)/bin/python -m bench.performance

peers:
	PYTHON="$(PYTHON)" bash scripts/peers.sh .peers
