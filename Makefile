# `make run` and `make test` need Python >= 3.11 and a package index, nothing else.

PYTHON ?= python3
BIN := .venv/bin
# Half of the tests wait for servers and clocks: two processes a core. Files with few tests are the slow ones: they keep
# their place, for at the end one process would have them all.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

.PHONY: run test chaos late-commits lint format clean

# Migrations, demo data where the database is empty, then the server. A second time it starts in seconds.
run: .venv/installed
	@$(BIN)/flask --app wsgi db upgrade
	@$(BIN)/flask --app wsgi demo --if-empty
	@exec $(BIN)/gunicorn wsgi:app

# Servers and commands start hundreds of times; without byte code each would compile the application anew.
test: .venv/installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

# Devices on a bad network against a server whose workers are killed, on both databases; about three minutes.
chaos: .venv/installed-dev
	$(BIN)/python -m tests.exactly_once.chaos

# Writers and readers of the change feed at once, a minute on each database: whether anything is ever skipped.
late-commits: .venv/installed-dev
	TEST_FEED_SECONDS=60 $(BIN)/pytest tests/core/sync/test_late_commits.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Fieldpost needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/installed-dev: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ .venv/installed
