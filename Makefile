# Both commands do all their set-up: a virtual environment in .venv with the tested versions.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test test-lowest torture lint bench clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: .venv/.installed          ## compare two embeddings of real images and draw the groups
	$(BIN)/specscale demo --overwrite

test: .venv/.installed          ## run the tests
	$(BIN)/python -m pytest

torture: .venv/.installed       ## kill every command at every file operation, and give it again (an hour or two)
	$(BIN)/python -m pytest tests/test_torture.py --every-crash --timeout 0

.venv-lowest/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[test]'
	touch $@

test-lowest: .venv-lowest/.installed  ## run the quick tests with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pytest -m "not slow"

lint: .venv/.installed          ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.installed         ## measure what the README claims (needs torch for the peer)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m bench

clean:
	rm -rf .venv .venv-lowest
