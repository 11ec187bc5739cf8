# Everything below runs in .venv, which `make setup` fills from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
SCORES ?= results/scores
WORKERS := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-full test test-fuzz test-numeric test-all gpu lint tables report docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

setup: .venv/ready ## make .venv with everything that zsiqa needs (about 6 GB, mostly PyTorch)

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "zsiqa needs Python >= 3.11; say which with make PYTHON=python3.12 ..."; exit 1; }
	@echo "installing PyTorch and the rest into .venv (about 6 GB, a few minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: setup ## score 30 pairs of real photographs with the embedded default; a table and a report
	@PYTHON=$(BIN)/python scripts/demo.sh

demo-full: setup ## all 240 pairs, and the slow baselines on original images
	@PYTHON=$(BIN)/python scripts/demo.sh full

test: setup ## the essential tests, about five minutes on two cores: no GPU, no download, no data set
	$(BIN)/python -m pytest -q -m "not slow" $(WORKERS)

test-all: setup ## all tests, and those that rounding can reach again on other instruction sets
	$(BIN)/python -m pytest -q $(WORKERS)
	@$(MAKE) test-fuzz test-numeric

test-fuzz: setup ## 8 times the damaged images, weights and label files
	ZSIQA_FUZZ=8 $(BIN)/python -m pytest -q $(WORKERS) tests/datasets/test_fuzz.py tests/datasets/test_images.py \
		tests/backbones/test_state_dicts.py

# Other vectors sum in another order. MKL heeds its variable on Intel's processors only. Each setting compiles anew:
# PyTorch's cache would hand code for AVX2 to a process without it.
test-numeric: setup ## the tests that rounding can reach, on other instruction sets and numbers of threads
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 TORCHINDUCTOR_CACHE_DIR="$(CURDIR)/.venv/compiled-default" \
		$(BIN)/python -m pytest -q -m numeric $(WORKERS)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OMP_NUM_THREADS=2 \
		TORCHINDUCTOR_CACHE_DIR="$(CURDIR)/.venv/compiled-avx2" \
		$(BIN)/python -m pytest -q -m numeric $(WORKERS)

# Not in .venv: on whatever PyTorch the machine with the GPU has. scripts/fetch_wheels.sh fetches what it may lack.
OUT ?= results/gpu
gpu: ## device tests and the benchmark on a GPU, at most nine minutes: gpu.md and gpu.json in OUT=results/gpu
	PYTHONPATH= $(PYTHON) scripts/gpu.py --out "$(OUT)" $(GPU_OPTIONS)

lint: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

tables: setup ## the paper's tables from results/scores, or from SCORES=DIR; files in results/tables
	$(BIN)/zsiqa tables --scores "$(SCORES)" --out results/tables

report: setup ## one page of results/scores, or of SCORES=DIR: results/report/index.html
	$(BIN)/zsiqa report --scores "$(SCORES)" --out results/report

docs: setup ## the documents as a site that needs no network: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

clean: ## remove .venv and caches; results and data stay
	rm -rf .venv site .pytest_cache .mypy_cache .ruff_cache *.egg-info
