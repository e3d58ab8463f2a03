# `make demo` and `make test` are all that a fresh machine needs; both work in .venv, which is made on demand.
PYTHON ?= python3
WORKERS ?= 2
# Random graphs whose receptive fields are compared with perturbations of the compiled module.
RF_GRAPHS ?= 2000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PINS := pyproject.toml constraints.txt
LIBRARIES := torch,safetensors,PIL,skimage,torchvision,timm,segmentation_models_pytorch,onnx,onnxruntime,onnxscript,pydensecrf,triton

.DELETE_ON_ERROR:
.PHONY: help demo test lint types layers golden docs bench parser clean

help:
	@echo "make demo     install, train a small U-Net on a real picture, segment it"
	@echo "make test     lint, types, layers, tests"
	@echo "make golden   rewrite the expected texts under tests/golden; read the difference"
	@echo "make docs     rewrite the generated pages under docs/"
	@echo "make bench    run every script of benchmarks/"
	@echo "make parser   rewrite the generated parser from segdsl/grammar.lark"
	@echo "make clean    remove .venv and the caches"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("segdsl needs Python 3.11 or newer; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# One stamp per set of dependencies: a second `make test` installs nothing.
$(VENV)/demo.stamp: $(PINS) | $(BIN)/python
	@echo "installing the pinned dependencies into $(VENV) ..."
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: $(PINS) | $(BIN)/python
	@echo "installing the pinned development dependencies into $(VENV) ..."
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp
	$(BIN)/python demo/run.py

test: lint types layers
	SEGDSL_REQUIRE=$(LIBRARIES) SEGDSL_RF_GRAPHS=$(RF_GRAPHS) $(BIN)/python -m pytest -q -n $(WORKERS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

layers: $(VENV)/dev.stamp
	$(BIN)/lint-imports

golden: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q -m golden --update-golden

docs: $(VENV)/dev.stamp
	$(BIN)/python docs/generate.py

bench: $(VENV)/dev.stamp
	@set -e; for script in $(filter-out benchmarks/gpu.py,$(wildcard benchmarks/[!_]*.py)); do echo "== $$script"; $(BIN)/python $$script; done

parser: $(VENV)/dev.stamp
	$(BIN)/python -m segdsl.parsing.generate

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
