# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0

PYTHON_VENV := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup build demo test check lint format clean

# Tests without a graph, a simulator or a large model.
FAST := test/control test/reasoning test/perception test/bringup/test_description.py \
	test/bringup/test_launch_files.py test/test_package_interfaces.py \
	test/test_package_manifest.py test/test_package_rooms.py

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup:  ## make .venv with all packages and build the interfaces; quick when nothing changed
	@tools/setup

build: setup  ## build again after a change of msg, srv, action or CMakeLists.txt (part of setup)

demo: setup  ## the main job: drive the simulated arm through its tasks; ARGS='...' is passed on
	@.venv/bin/efficient-vla demo $(ARGS)

test: setup  ## every test; ARGS='-k NAME' is passed on to pytest
	@$(PYTHON_VENV) -m pytest -n 2 --dist loadfile -m 'not alone' $(ARGS) || [ $$? = 5 ]
	@$(PYTHON_VENV) -m pytest -m alone $(ARGS) || [ $$? = 5 ]

check: lint  ## lint, types and the fast tests, in less than 90 s; before each commit
	@$(PYTHON_VENV) -m pytest -q -n 2 --dist loadfile -m 'not alone' $(FAST)

lint: setup  ## ruff and mypy; they are part of make test too
	@$(PYTHON_VENV) -m ruff check .
	@$(PYTHON_VENV) -m ruff format --check .
	@$(PYTHON_VENV) -m mypy

format: setup  ## let ruff mend what it can
	@$(PYTHON_VENV) -m ruff check --fix .
	@$(PYTHON_VENV) -m ruff format .

clean:  ## remove the environment and all build results; models, data and runs stay
	rm -rf .venv build install log .mypy_cache .pytest_cache .ruff_cache
