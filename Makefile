# make train   sets up, then runs the whole method on the embedded default (CPU, minutes)
# make test    sets up, then runs the tests
# make setup   only sets up; a second call is instant where nothing changed
# make peers   TRL and verl, each in an environment of its own in .peers, for tests and benches against them
VENV ?= .venv
EXTRA ?= cpu
PYTHON ?= python3
RECIPE ?= recipes/quickstart.yaml

.PHONY: setup train test peers
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints-cpu.txt scripts/setup.sh scripts/torchvision_cpu_ops.py
	PYTHON="$(PYTHON)" bash scripts/setup.sh "$(VENV)" "$(EXTRA)"
	@touch $@

train: setup
	$(VENV)/bin/curlvpr train $(RECIPE)

test: setup
	$(VENV)/bin/python -m pytest -n 2 --dist loadgroup

peers:
	PYTHON="$(PYTHON)" bash scripts/peers.sh .peers
