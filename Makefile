# make setup    prepares .venv                      make test     passes the tests
# make train    trains the default recipe           make lint     checks the style
# make fuzz     ten minutes of random arguments against Keras
# make keras-suite  Keras's own tests against our classes; MODULES="dense_test ..." for some
# make mutants  plants mistakes in the library, one at a time, and tells which no test notices (hours);
#               MUTANTS="lstm pooling" for some, JOBS=2 for two at a time
# make recipes  trains every recipe that needs no network, briefly; each must beat its baseline
# make benchmark  measures every comparison and draws docs/scaling.png; wants a quiet machine, and
#                TORCH_PYTHON=... for those beside PyTorch and PyG

PYTHON ?= python3
PY := .venv/bin/python

# Without bytecode files TensorFlow takes 16 s to import instead of 4.
unexport PYTHONDONTWRITEBYTECODE
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: setup train recipes test fuzz keras-suite mutants benchmark lint format clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing TensorFlow and what goes with it into .venv: a few minutes, about 3 GB."
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

train: setup
	$(PY) -m scripts.train digits-convnet --overwrite

recipes: setup
	$(PY) -m scripts.every_recipe

test: setup
	$(PY) -m pytest -n auto --dist worksteal

fuzz: setup
	$(PY) -m pytest -n auto tests/promises/test_fuzz.py --hypothesis-profile=long

keras-suite: setup
	$(PY) tests/promises/keras_suite/run.py $(MODULES)

mutants: setup
	$(PY) -m tests.mutants.run --jobs $(or $(JOBS),1) $(MUTANTS)

BENCHMARK = $(PY) -m scripts.benchmark --csv
AGAINST = $(BENCHMARK) --torch-python $(TORCH_PYTHON) --against

benchmark: setup
	$(BENCHMARK) --sizes all
	$(BENCHMARK) --mode xla --sizes all
	$(BENCHMARK) --mode eager
	$(BENCHMARK) models
	$(BENCHMARK) models --mode xla
	$(BENCHMARK) lengths
	$(BENCHMARK) first
	$(PY) -m scripts.export_table --csv
	$(PY) -m scripts.benchmark.scaling
ifdef TORCH_PYTHON
	$(AGAINST) torch
	$(AGAINST) torch models
	$(AGAINST) pyg --mode xla --threads 1 GCN GAT
	$(AGAINST) pyg --mode xla --sizes all GraphConv GATConv GIN
endif
	$(PY) -m scripts.benchmark --markdown

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf .venv build *.egg-info
