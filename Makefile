# The house's commands. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 7860

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench docs new

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install the project with locked versions

# Written last, so an interrupted setup goes on where it stopped and a finished one is not repeated.
$(STAMP): pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh .ci/setup
	@touch $@

demo: setup ## open the demo in a browser (PORT=7860)
	$(BIN)/unimodal demo --port $(PORT)

test: setup ## run the whole test suite
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: setup ## format, lint and types, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: setup ## apply the formatter and the safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## measure every claim in benchmarks/ and write benchmarks/results/
	@for script in benchmarks/*.py; do \
	    name=$$(basename $$script .py); \
	    case $$name in paired | inputs) continue ;; esac; \
	    echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; \
	done

docs: setup ## write the generated pages of docs/ again
	$(BIN)/python docs/make_systems.py
	$(BIN)/python docs/make_benchmarks.py
	$(BIN)/python docs/make_published.py
	$(BIN)/unimodal conformance --out docs/conformance.md

new: setup ## start a part and its test: make new kind=mixer name=averaging
	@$(BIN)/python -m unimodal.scaffold "$(kind)" "$(name)"
