# `make run` and `make test` do all the set-up on a fresh machine; `make help` lists the rest.
PYTHON ?= python3
PY := .venv/bin/python
# More for pytest: `make test ARGS="-k resume"`.
ARGS ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run stop test test-agents check format docs lock bench crash mutants clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: ## install what is needed, start the daemon on demo data of its own, say what to type next
	@$(PYTHON) tools/bootstrap.py run
	@$(PY) tools/demo.py up

stop: ## stop the daemon that `make run` started
	@$(PY) tools/demo.py down

test: .dev ## every test, from nothing, on SQLite and PostgreSQL
	@$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

test-agents: .dev ## install the real agents from npm into build/, drive them without a network, write down what was seen
	@$(PY) tests/agents/drive.py $(ARGS)

check: .dev ## lint, types, import contracts, gates, generated files
	@$(PY) tools/check.py

format: .dev ## put the code in its written form
	@$(PY) -m ruff format -q . && $(PY) -m ruff check -q --fix .

docs: .dev ## write the generated files anew: docs/reference and INTEGRATION-TESTS.md
	@$(PY) tools/reference.py && $(PY) tools/integration_tests.py

lock: .dev ## write requirements/*.txt anew from pyproject.toml
	@tools/lock

bench: ## this project, bare loops and other projects' queues side by side, on this machine
	@$(PYTHON) tools/bootstrap.py bench
	@$(PY) -m bench $(ARGS)

crash: .dev ## kill -9, power cuts and full disks, many more rounds than `make test`; walks every fault point
	@$(PY) tools/crashing.py $(ARGS)

mutants: .dev ## apply every deliberate break of tests/breaks and demand that its tests turn red
	@$(PY) tools/mutants.py $(ARGS)

clean: ## remove what was installed and generated here, and the demo's data
	@if [ -x $(PY) ] && [ -d .demo ]; then $(PY) tools/demo.py down; fi
	@rm -rf .venv .demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .schemathesis
	@find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: .dev
.dev:
	@$(PYTHON) tools/bootstrap.py dev
