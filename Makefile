# Each target does all of its own set-up, in ./.venv. Paths are relative: the checkout may be anywhere,
# in a folder with spaces too. `make PYTHON=python3.12 test` chooses the interpreter of a new .venv.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?=
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST_ARGS ?=

.PHONY: help setup demo test lint bench bench-store schedules frameworks frameworks-ci links test-wheel wheel-ci test-lowest wheel clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' Makefile | expand -t 14

setup: .venv/.dev links  ## everything that development needs, in ./.venv

demo: .venv/.demo  ## install, then record an agent, replay it, change one tool, see where it diverges
	$(PY) -m rashomon.cli demo

test: .venv/.dev links  ## the whole test suite, by two processes or more; PYTEST_ARGS="-k journal" narrows it
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

lint: .venv/.dev links  ## ruff, mypy --strict, import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c "from importlinter.cli import lint_imports_command as lint; lint()"

bench: .venv/.dev  ## measure the recorder beside bare calls and beside vcrpy
	$(PY) tests/bench/run.py

bench-store: .venv/.dev links  ## measure the store with a million steps (kept in ~/.cache/rashomon-bench)
	$(PY) tests/bench/store_at_scale.py

schedules: .venv/.dev links  ## 10,500 random schedules, 1,000 orders of events, 100 replays of each of 4 recordings
	$(PY) -m tests.schedules.run --way inside --count 10000 --seed 1800001 --jobs 2
	$(PY) -m tests.schedules.run --way launched --count 500 --seed 1400001 --jobs 2
	$(PY) -m tests.schedules.run --way order --count 1000 --seed 1700001 --jobs 2
	$(PY) -m tests.schedules.run --way order --count 4 --replays 100 --seed 1 --jobs 2

frameworks: .venv/.dev links  ## agents on other people's frameworks, recorded and replayed 20 times each
	$(PY) tests/frameworks/set_up.py
	$(PY) -m pytest tests/frameworks --frameworks all --replays 20 $(PYTEST_ARGS)

frameworks-ci: .venv/.dev links  ## two of them and mcp 1, 2 replays each
	$(PY) tests/frameworks/set_up.py openai_agents smolagents mcp1
	$(PY) -m pytest tests/frameworks --frameworks openai_agents,smolagents,mcp1 --replays 2 \
	    --numprocesses 2 --dist worksteal $(PYTEST_ARGS)

wheel: .venv/.dev  ## build the sdist and the wheel into dist/
	rm -rf dist build
	$(PY) -m build --no-isolation --outdir dist .

test-wheel: .venv/.dev  ## build the wheel and test it in a fresh environment without the checkout
	$(PY) tools/test_wheel.py $(PYTEST_ARGS)

wheel-ci: .venv/.dev  ## a part of it: what goes through the wheel's commands, files and imports
	$(PY) tools/test_wheel.py tests/architecture tests/integration/launch \
	    tests/integration/cli/test_demo.py tests/integration/cli/test_reading.py \
	    'tests/snapshots/test_tui.py::test_screens[trace-keys1-160x45]' $(PYTEST_ARGS)

test-lowest: .venv/.dev  ## the same with the lowest versions of what it needs
	$(PY) tools/test_wheel.py --lowest $(PYTEST_ARGS)

links: .venv/.base  ## show the root folders inside rashomon/ (for mypy and import-linter)
	@$(PY) tools/link_folders.py

clean:  ## remove everything that make made
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info

# The stamps: each is written last, so that an interrupted set-up is done again.
.venv/.base: constraints.txt tools/make_venv.sh
	PYTHON="$(PYTHON)" sh tools/make_venv.sh
	$(PIP) pip setuptools
	@touch $@

.venv/.demo: .venv/.base pyproject.toml
	$(PIP) --no-build-isolation --editable '.[demo]'
	@touch $@

.venv/.dev: .venv/.demo
	$(PIP) --no-compile --group dev  # most of it is never imported
	$(PIP) --no-compile --upgrade --target .venv/apart --group apart
	@touch $@
