# Everything runs in .venv, which `make setup` fills from pyproject.toml with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= cpu,lightly,sweeps,transformers,dev,docs
CONSTRAINTS ?= constraints.txt
# Of the campaign of odd inputs: how many cases, and which.
N ?= 1000
SEED ?= 0
# Of the faults of the machine: how often each command meets each.
TIMES ?= 20
# One process a core, eight at most; each begins with neighbours, and who has finished takes over from the others.
PYTEST := -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo test docs oldest lint format mutants fuzz faults bench clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.installed ## make the environment

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[$(EXTRAS)]'
	touch $@

# stable-pretraining adds callbacks of its own to every Trainer, so its example has an environment above the other one.
$(VENV)/trainers/.installed: $(VENV)/.installed
	$(BIN)/python -m venv $(VENV)/trainers
	$(BIN)/python -c "import sysconfig; print(f'import site; site.addsitedir({sysconfig.get_path(\"purelib\")!r})')" \
	  > $$($(VENV)/trainers/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/beneath.pth
	$(VENV)/trainers/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) stable-pretraining
	touch $@

demo: setup ## the whole story on the embedded data: pre-train, measure, fuse, transfer, judge, report
	$(BIN)/solo-invariance demo

test: setup $(VENV)/trainers/.installed lint ## tests, lint, types and the documentation, strictly
	$(BIN)/python $(PYTEST)

docs: setup ## the documentation, into docs/_build/html: strict, offline, its notebooks run
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	@echo docs/_build/html/index.html

oldest: ## the tests with the oldest versions of everything, whose own warnings do not count
	$(MAKE) setup VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt EXTRAS=cpu,lightly,dev
	PYTHONWARNINGS=ignore .venv-oldest/bin/python $(PYTEST) --override-ini filterwarnings=ignore

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: setup ## plant the listed faults, one at a time, and see whether the tests notice
	$(BIN)/python -m mutants

fuzz: setup ## try odd, damaged and hostile inputs: make fuzz N=1000 SEED=0
	$(BIN)/python -m fuzz --cases $(N) --seed $(SEED)

faults: setup ## kill, terminate and double commands, and fill their disks: make faults TIMES=20 SEED=0
	$(BIN)/python -m faults --times $(TIMES) --seed $(SEED)

bench: setup ## speed and memory, row by row, as JSON and tables; benchmarks/device.sh for a GPU
	$(BIN)/python -m benchmarks

clean: ## remove the environment, what the demo wrote and the built documentation
	rm -rf $(VENV) .venv-oldest runs docs/_build
