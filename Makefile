# Two commands matter: `make demo` (run everything on the simulated plant) and `make test`.
# Nothing has to be prepared: the first target that needs it builds .venv from the lock files.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv pip install --python $(BIN)/python -q

# What Python compiled is kept, whatever the shell says (containers often forbid it): tests and demo start it by the
# hundred, and without it every start compiles every library again.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache

.PHONY: setup demo test lint imported campaign-short campaign bench bench-bi models lock screenshots clean

setup: $(VENV)/.dev  ## everything a developer needs
demo: $(VENV)/.demo  ## the whole system on the simulated plant, dashboard at http://127.0.0.1:8080
	$(BIN)/triflow demo

test: $(VENV)/.dev  ## all checks and all tests, against real servers
	bash tests/install_parts.sh
	$(MAKE) -j2 lint imported  # the type checker has one core, this the other
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder  # they wait more than they compute; what shares a server stays in one process
	$(BIN)/python -m tests.campaign --short

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

imported: $(VENV)/.dev  ## every test and all it imports compiled once, not by each process of the run
	-@$(BIN)/pytest --collect-only -qq >/dev/null 2>&1  # what is wrong with it, the run itself says

campaign-short: $(VENV)/.dev  ## faults by the thousand, the part that belongs to every commit
	bash tests/install_parts.sh
	$(BIN)/python -m tests.campaign --short

campaign: $(VENV)/.dev  ## the part that belongs to a release: hours; Ctrl-C stops it, the same command goes on
	bash tests/install_parts.sh
	$(BIN)/python -m tests.campaign --long --report docs/reliability.md

bench: $(VENV)/.dev  ## measure, print the table of goals; exits 0 either way
	bash tests/install_parts.sh
	$(BIN)/python -m bench

bench-bi: $(VENV)/.dev  ## figures over 0.1, 1 and 10 million production facts, both databases: about seventeen minutes
	bash tests/install_parts.sh
	$(BIN)/python -m bench bi_long bi_superset

models: $(VENV)/.dev  ## rebuild the shipped model packages from the simulated plant; KEY=file signs and replaces them
	$(BIN)/python -m demo.training_data build/plant/fillers.npz
	for name in bearing_wear fill_quality filler_anomaly; do \
	  $(BIN)/python -m models.library.$$name.build build/plant/fillers.npz \
	    $(if $(KEY),models/library/$$name,build/models)/$$name.tfm $(if $(KEY),--key $(KEY)) || exit 1; \
	done

screenshots: $(VENV)/.dev  ## retake the pictures in docs/
	$(BIN)/python -m tests.screenshots

lock: $(VENV)/bin/uv  ## renew the lock files after a change to pyproject.toml
	for extra in edge sql cloud demo dev; do \
	  $(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade \
	    --extra $$extra pyproject.toml -o requirements/$$extra.lock || exit 1; \
	done

clean:
	rm -rf $(VENV) .demo .pytest_cache .ruff_cache build dist

$(VENV)/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Triflow needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check "uv>=0.9"

# A stamp per set of dependencies: made again only when the lock or pyproject.toml changes.
$(VENV)/.%: requirements/%.lock pyproject.toml triflow.py | $(VENV)/bin/uv
	$(UV) --require-hashes -r requirements/$*.lock
	$(UV) --no-deps -e .
	touch $@
