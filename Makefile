# Two commands: `make demo` shows the whole flow, `make test` proves it. Both install what they need first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup system demo check test test-long clean

BIN := $(CURDIR)/.venv/bin
BASE = $$(cat .venv/base)
# Tests run in an empty folder, on the installed package, so that nothing is picked up from the checkout by chance.
PYTEST = folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && \
	$(BIN)/python -P -m pytest -c $(CURDIR)/pyproject.toml --rootdir $(CURDIR) -p no:cacheprovider

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

setup: ## the locked environment, and this package installed into .venv
	@tools/setup.sh

system: setup ## what the tests need of the system (JDK, Maven, adb, ...): installed as root on Debian, named elsewhere
	@$(BIN)/mobilekd doctor --install

demo: setup ## the whole flow on synthetic photographs, offline, in minutes; prints the report's path last
	@$(BIN)/mobilekd demo --output $(CURDIR)/demo

check: setup ## lint, format, types
	@echo "ruff, mypy"
	@$(BASE)/bin/ruff check -q .
	@$(BASE)/bin/ruff format --check -q .
	@$(BASE)/bin/python -m mypy --no-error-summary

test: system check ## everything CI runs; T= chooses tests, for example make test T="tests/test_cli.py -k help"
	@$(PYTEST) -q -m "not long" $(or $(strip $(addprefix $(CURDIR)/,$(firstword $(T))) $(wordlist 2,99,$(T))),$(CURDIR)/tests)

test-long: system ## minutes more: arm64 emulated, everything compiled once more; leaves benchmarks/results/test-long.json
	@$(PYTEST) -m long --record $(CURDIR)/benchmarks/results/test-long.json $(CURDIR)/tests

clean: ## remove what make made inside the checkout
	rm -rf .venv build mobilekd.egg-info demo
