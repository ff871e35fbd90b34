# make train   sets up, then runs the whole method on the embedded default (CPU, minutes)
# make test    sets up, then runs the tests
# make setup   only sets up; a second call is instant where nothing changed
VENV ?= .venv
EXTRA ?= cpu
PYTHON ?= python3
RECIPE ?= recipes/quickstart.yaml

.PHONY: setup train test
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints-cpu.txt scripts/setup.sh scripts/torchvision_cpu_ops.py
	PYTHON="$(PYTHON)" bash scripts/setup.sh "$(VENV)" "$(EXTRA)"
	@touch $@

train: setup
	$(VENV)/bin/curlvpr train $(RECIPE)

test: setup
	$(VENV)/bin/python -m pytest
