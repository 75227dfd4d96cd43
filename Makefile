# Two commands: `make demo` shows the whole flow, `make test` proves it. Both install what they need first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup system demo editor check format quick test test-long reliability architecture docs docs-serve docs-reference docs-results docs-notices docs-pictures clean

BIN := $(CURDIR)/.venv/bin
BASE = $$(cat .venv/base)
# What a first change needs: every test of the house's rules, of the command line and of what computes without lowering.
QUICK := house/test_floors.py cli formats data metrics losses figures
# Tests run in an empty folder, on the installed package, so that nothing is picked up from the checkout by chance.
PYTEST = folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && \
	$(BIN)/python -P -m pytest -c $(CURDIR)/pyproject.toml --rootdir $(CURDIR) -p no:cacheprovider

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

setup: ## the locked environment, and this package installed into .venv
	@tools/setup.sh

system: setup ## what the tests need of the system (JDK, Maven, adb, ...): installed as root on Debian, named elsewhere
	@set -o pipefail; $(BIN)/mobilekd doctor --install | sed '/^ok /d'

demo: setup ## the whole flow on synthetic photographs, offline, in minutes; prints the report's path last
	@$(BIN)/mobilekd demo --output $(CURDIR)/demo

editor: setup ## .venv-editor, an interpreter for an editor: it imports this checkout as you change it
	@test -x .venv-editor/bin/python || $(BASE)/bin/python -m venv --without-pip .venv-editor
	@for each in .venv-editor .venv; do $$each/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; done | \
		{ read -r editor && read -r own && cp "$$own/locked-dependencies.pth" "$$editor"; }
	@$(BASE)/bin/python -m pip --python .venv-editor/bin/python install -q --no-deps --no-build-isolation -e .
	@echo .venv-editor/bin/python

check: setup ## lint, format, types; changes nothing
	@echo "ruff, mypy"
	@$(BASE)/bin/ruff check -q .
	@$(BASE)/bin/ruff format --check -q .
	@$(BASE)/bin/python -m mypy --no-error-summary

format: setup ## put the code into the house's form: what ruff can mend, it mends
	@$(BASE)/bin/ruff check -q --fix-only . && $(BASE)/bin/ruff format .

quick: check ## check, and the tests that take seconds: what to run before every commit
	@$(PYTEST) -q -m "not long and not reliability" -n auto $(addprefix $(CURDIR)/tests/,$(QUICK))

ifdef T
test: setup
	@$(PYTEST) -q -m "not long and not reliability" $(addprefix $(CURDIR)/,$(firstword $(T))) $(wordlist 2,99,$(T))
else
test: system check ## everything CI runs, files side by side; T="tests/cli/test_cli.py -k help" runs those alone, at once
	@$(PYTEST) -q -m "not long and not reliability" -n auto --durations=10 $(CURDIR)/tests
endif

test-long: system ## minutes more: arm64 emulated, everything compiled once more; leaves benchmarks/results/test-long.json
	@$(PYTEST) -m long --record $(CURDIR)/benchmarks/results/test-long.json $(addprefix $(CURDIR)/,$(or $(firstword $(T)),tests)) $(wordlist 2,99,$(T))

reliability: system ## hours: kills, full disks, flipped bytes, fuzzing; leaves docs/reliability.md; SHARE=0.1 does a tenth
	@$(PYTEST) -m reliability --reliability $(CURDIR)/benchmarks/results/reliability.json --share $(or $(SHARE),1) $(CURDIR)/tests/faults

architecture: setup ## draw docs/architecture.svg from the imports, and write the floors into docs/architecture.md
	@$(BIN)/python -B docs/architecture.py

docs: setup ## build the documentation strictly into build/site
	@$(BASE)/bin/python -m mkdocs build --quiet --strict && echo build/site/index.html

docs-serve: setup ## show the documentation on http://127.0.0.1:8000 while one writes
	@$(BASE)/bin/python -m mkdocs serve

docs-reference: setup ## write docs/reference and docs/schemas from the code
	@$(BIN)/python -B docs/reference.py

docs-results: setup ## write the tables of results from benchmarks/results
	@$(BIN)/python -B docs/results.py

docs-notices: setup ## write third-party notices and bills of materials of wheel and APK
	@$(BIN)/python -B docs/notices.py

docs-pictures: setup ## draw the README's picture, light and dark; needs Chromium
	@$(BIN)/python -B docs/pictures.py

clean: ## remove what make made inside the checkout
	rm -rf .venv build mobilekd.egg-info demo
