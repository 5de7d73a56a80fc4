# The house's commands. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 7860

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench tune docs new

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

bench: setup ## measure: make bench op=encoder ARGS=--save, or every claim in benchmarks/
	$(BIN)/python -m benchmarks.run $(op) $(if $(ARGS),-- $(ARGS))

tune: setup ## choose the kernels' launches on the GPU at hand and write kernels/launch_table.json
	$(BIN)/python -m benchmarks.tune

docs: setup ## write the generated pages of docs/ again (DATA=DIR: neighbours too)
	$(BIN)/python docs/make_systems.py
	$(BIN)/python docs/make_benchmarks.py
	$(BIN)/python docs/make_published.py
	$(BIN)/python docs/make_transfer.py
	$(BIN)/python docs/make_resolution.py
	$(BIN)/unimodal conformance --out docs/conformance.md
	$(if $(DATA),$(BIN)/python docs/make_neighbours.py --data $(DATA) --out out/neighbours)

new: setup ## start a part and its test: make new kind=mixer name=averaging
	@$(BIN)/python -m unimodal.scaffold "$(kind)" "$(name)"
