PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(sort $(wildcard proto/tqbroker/v1/*.proto))

$(VENV)/ready: pyproject.toml
	$(PY) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
