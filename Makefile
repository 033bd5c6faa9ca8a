# VENV may be one environment that several checkouts share: an editable install points to one of
# them only, so PYTHONPATH puts this checkout first.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

# Named after what pyproject.toml says, not its age: a fresh clone's file is younger than any stamp.
STAMP := $(VENV)/.snnexp-$(firstword $(shell cksum < pyproject.toml))

.PHONY: help setup train test bench lint format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf 'make %-8s %s\n' "$$target" "$$text"; done

setup: $(STAMP) ## make VENV (default: .venv) and install snnexp and the tools into it

$(STAMP):
	test -x "$(VENV)/bin/python" || $(PYTHON) -m venv "$(VENV)"
	"$(VENV)/bin/python" -m pip install --disable-pip-version-check -e ".[dev]"
	touch "$@"

train: setup ## train a network: make train ARGS="model=lif dataset=yinyang"
	"$(VENV)/bin/python" train.py $(ARGS)

test: setup ## run the tests, a process a core: make test ARGS="tests/test_config.py -x -n 0"
	"$(VENV)/bin/python" -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

bench: setup ## time training steps against a plain loop: make bench ARGS="W1 W3"
	"$(VENV)/bin/python" scripts/benchmark.py $(ARGS)

lint: setup ## check style, format and types
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/ruff" format --check .
	"$(VENV)/bin/pyright" --pythonpath "$(VENV)/bin/python"

format: setup ## format the code, and mend what ruff can mend by itself
	"$(VENV)/bin/ruff" check --fix .
	"$(VENV)/bin/ruff" format .

clean: ## remove caches and build products; outputs/ and VENV stay
	rm -rf build dist .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -path ./.git -prune -o -path ./outputs -prune -o \
		-name __pycache__ -type d -prune -exec rm -rf {} +
