# make train   sets up, then runs the whole method on the embedded default (CPU, minutes)
# make test    sets up, then runs the tests
# make setup   only sets up; a second call is instant where nothing changed
# make bench   sets up, then every comparison with a peer, and docs/performance.md from it (two quiet cores: half an hour)
# make peers   TRL and verl, each in an environment of its own in .peers, for tests and benches against them
VENV ?= .venv
EXTRA ?= cpu
PYTHON ?= python3
RECIPE ?= recipes/quickstart.yaml

.PHONY: setup train test bench peers
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints-cpu.txt scripts/setup.sh scripts/torchvision_cpu_ops.py
	PYTHON="$(PYTHON)" bash scripts/setup.sh "$(VENV)" "$(EXTRA)"
	@touch $@

train: setup
	$(VENV)/bin/curlvpr train $(RECIPE)

test: setup
	$(VENV)/bin/python -m pytest -n 2 --no-loadscope-reorder

bench: setup peers
	$(VENV)/bin/python -m bench.performance

peers:
	PYTHON="$(PYTHON)" bash scripts/peers.sh .peers
