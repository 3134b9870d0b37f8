# make demo        the whole flow on a small composed corpus, then where to look next
# make test        lint and all tests
# make omniboard   the run browser on the database of the runs (needs Node)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_SIZE ?= small

.PHONY: setup setup-test demo test test-browser lint omniboard clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on -r requirements.txt
	touch $@

setup-test: $(VENV)/.installed-test

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt requirements-peers.txt
	$(BIN)/python -m pip install --progress-bar on -r requirements-test.txt
	touch $@

demo: setup
	$(BIN)/python -m experiments.demo --size $(DEMO_SIZE)

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python -m pytest

test-browser: setup-test node_modules/.installed
	$(BIN)/python -m pytest tests/browser

node_modules/.installed: package.json package-lock.json
	npm ci --no-audit --no-fund
	touch $@

omniboard: setup node_modules/.installed
	$(BIN)/python ex_pretrain.py dashboard

clean:
	rm -rf $(VENV) node_modules
