PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= runs/demo
BENCH ?= runs/bench

.PHONY: install test test-slow test-speed lint docs demo bench clean

# The exact versions that the results in this repository came from.
install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --no-compile --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

# A worker for each core.
test: install
	$(BIN)/python -m pytest -q --numprocesses=auto --maxprocesses=4 \
	    --dist=worksteal

# Trainings that converge, real processes (two of one job, kills), and grids against
# their members alone.
test-slow: install
	$(BIN)/python -m pytest -q -m slow --ignore=tests/test_speed_ratios.py \
	    --numprocesses=2 --dist=loadfile

# Ratios of times inside one run, on one device, compiled as users compile.
SPEED_FLAGS := --xla_force_host_platform_device_count=1 \
    --xla_backend_optimization_level=3 --xla_cpu_use_fusion_emitters=true \
    --xla_cpu_parallel_codegen_split_count=32

test-speed: install
	XLA_FLAGS="$(SPEED_FLAGS)" \
	    $(BIN)/python -m pytest -q -m slow tests/test_speed_ratios.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site: open docs/_build/html/index.html. Warnings are errors.
docs: install
	$(BIN)/python -m sphinx -W --keep-going -n -c docs . docs/_build/html

# Dataset, teacher, reward models, CTD, RACTD, evaluation, report: see the README.
demo: install
	$(BIN)/python -m experiments.pipeline \
	    --config=configs/hopper_medium_expert.py --workdir=$(DEMO)

# Every speed figure, as one table; with PyTorch beside ours if it is installed
# (pip install torch==2.13.0).
bench: install
	$(BIN)/python -m benchmarks.run_all --output=$(BENCH)

clean:
	rm -rf $(VENV) build docs/_build *.egg-info
