# All commands do their set-up themselves: a virtual environment in .venv with the tested versions.
PYTHON ?= python3
BIN = .venv/bin

# Many tests wait, for servers and for other processes: more of them at a time than there are processors.
WORKERS ?= 4
# Tests that need nothing but a process of Python, and those of them that take no time.
ALONE = not (process or cluster or s3 or data or gpu or install)
QUICK = $(ALONE) and not slow

.PHONY: demo check test test-lowest torture wheel lint bench clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: .venv/.installed          ## compare two embeddings of real images and draw the groups
	$(BIN)/specscale demo --overwrite

check: .venv/.installed         ## run the tests that answer in a minute
	$(BIN)/python -m pytest -n logical --dist worksteal -m "$(QUICK)" --hypothesis-profile few

test: .venv/.installed          ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

torture: .venv/.installed       ## kill every command at every file operation, draw many examples (an hour or two)
	$(BIN)/python -m pytest tests/test_torture.py --every-crash --timeout 0
	$(BIN)/python -m pytest -n logical --dist worksteal -m "$(ALONE)" --hypothesis-profile many --timeout 0

wheel: .venv/.installed         ## build the package, install it into an empty environment and run the demo there
	$(BIN)/python -m pytest -m install

.venv-lowest/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[test]'
	touch $@

test-lowest: .venv-lowest/.installed  ## run the tests that need no more with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pytest -n logical --dist worksteal -m "$(ALONE)"

lint: .venv/.installed          ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.installed         ## measure what the README claims (needs torch for the peer)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m bench

clean:
	rm -rf .venv .venv-lowest
