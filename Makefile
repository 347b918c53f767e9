# `make help` lists what there is.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: audit-dependencies help run demo test test-service test-faults test-long test-deploy test-keycloak lint format lock clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'

run: .venv/installed ## Start the service and a database of its own on 127.0.0.1:8088 (PORT, ORCHESTRATOR_VAR, DATABASE_URL)
	@exec $(BIN)/python -m orchestrator.run

demo: .venv/installed ## Take a company's quarter through the running service
	@exec $(BIN)/python docs/demo/demo.py

test: .venv/installed-dev ## The everyday tests, on a real PostgreSQL (TEST_DATABASE_URL, or the wheel's)
	@exec $(BIN)/python -m pytest -n 2

test-service: .venv/installed-dev ## The service as a whole: started, killed, started again, and the demo run on it
	@exec $(BIN)/python -m pytest -n 2 -m 'slow and not long and not keycloak' --ignore=tests/faults --ignore=tests/concurrency --ignore=tests/deploy

test-faults: .venv/installed-dev ## Everything that must be survived: killed workers, restarted databases, cut connections, Redis trouble
	@exec $(BIN)/python -m pytest -m 'not keycloak and not long' -s tests/faults tests/concurrency

test-deploy: .venv/installed-dev ## As it is deployed: behind nginx (Debian's), installed as the image is, stopped and replaced under load
	@exec $(BIN)/python -m pytest -m slow tests/deploy

test-long: .venv/installed-dev ## What takes many minutes: a million events exported, thousands of mixed rounds
	@exec $(BIN)/python -m pytest -m long -s

test-keycloak: .venv/installed-dev ## Tokens, logins, rotated keys and an outage with Keycloak itself (Maven, JDK 17, Chromium)
	@exec $(BIN)/python -m pytest -m keycloak tests/keycloak

.PHONY: bench
bench: .venv/installed-dev ## What the promises of speed come to, on a million sessions; some minutes (PARTS=keyed for one part)
	@exec $(BIN)/python -m benchmarks.bench $(PARTS)

lint: .venv/installed-dev ## ruff, mypy, the import arrows, missing migrations and those that would stop a running service, pages written from the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -W ignore -m tests.manage makemigrations --check --dry-run
	$(BIN)/python -W ignore -m tests.manage draw_states --check
	$(BIN)/python -W ignore -m tests.lint_migrations
	$(BIN)/python -W ignore -m tests.manage list_problems --check
	$(BIN)/python -W ignore -m tests.manage list_settings --check
	$(BIN)/python -W ignore -m tests.manage list_environment --check

format: .venv/installed-dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: .venv/installed-dev ## Lock requirements*.in with hashes
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header requirements-dev.in -o requirements-dev.txt

.PHONY: sbom
sbom: .venv/installed-dev ## Print the software bill of materials (CycloneDX 1.6) of what is locked
	@$(BIN)/python docker/sbom.py requirements.txt

audit-dependencies: .venv/installed-dev ## Ask the package index for known vulnerabilities of what is locked; fails where it does not tell
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements.txt

clean: ## Remove .venv and caches; var/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed (on Debian: python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install -q --require-hashes -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt | .venv/bin/python
	$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.txt
	@touch $@ .venv/installed
