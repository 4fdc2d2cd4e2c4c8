# make demo    the main job: find and remove wrong labels in real digits
# make quick   lint, types and the fast tests, in under three minutes on two cores
# make test    lint, types and every test
# make docs    the documentation, in docs/_build/html; runs the examples too
# make links   every link of the documentation, to other sites as well
# Another interpreter (3.11 or newer): make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo docs links lint quick test

demo: $(VENV)/.installed-examples
	$(BIN)/python examples/wrong_labels/plot_clean_digits.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread per worker: the workers fill the cores
quick test: export OMP_NUM_THREADS = 1
quick: lint
	$(BIN)/pytest -n auto --dist loadgroup -m "not slow" tests
test: lint
	$(BIN)/pytest -n auto --dist loadgroup

# The gallery leaves its pictures in docs/auto_examples and runs again when an example changes
docs: export OMP_NUM_THREADS = 1
docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

links: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -q -b linkcheck -D plot_gallery=0 docs docs/_build/links

# The stamp keeps a second call from installing again until the requirements change
$(VENV)/.installed-%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable ".[$*]"
	touch $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); exit 1)
