# Two commands matter: `make demo` and `make test`. Both set everything up first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := src tests benchmarks examples

.PHONY: all demo test test-slow lint bench docs clean
all: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): about 0.9 GB with a CPU build of torch; the default build for Linux brings CUDA (several GB)."
	@echo "For the CPU build, set PIP_EXTRA_INDEX_URL to PyTorch's CPU index before you run make."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/openbook setup embedder
	touch $@

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

test: $(INSTALLED)
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)
	HYPOTHESIS_PROFILE=slow $(BIN)/python -m pytest -m "slow and not gpu" --timeout 900

lint: $(INSTALLED)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/answers.py
	$(BIN)/python benchmarks/splitting.py
	$(BIN)/python benchmarks/embed.py
	$(BIN)/python benchmarks/library.py
	$(BIN)/python benchmarks/search_speed.py
	$(BIN)/python benchmarks/search_live.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/follow_ups.py
	$(BIN)/python benchmarks/checked_sentences.py
	$(BIN)/python benchmarks/forward.py
	$(BIN)/python benchmarks/small_weights.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/tables.py

docs: $(INSTALLED)
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
