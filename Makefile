# Socle: `make lab` builds the whole cloud on this machine, `make test` proves it.
PYTHON ?= python3
BIN := .venv/bin
LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
# Where this is set, every process would compile Ansible anew: a second each, and three of ten in a run.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev lab lab-down test lint unit coverage molecule test-guest audit-guest bench-deploy bench-failover bench-gateway bench-rie fault-kill harden-order docs docs-site clean lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv and the pinned collections (nothing to do: well under a second)
	@$(PYTHON) scripts/setup

setup-dev: ## The same, and what the tests and linters need
	@$(PYTHON) scripts/setup dev

lab: setup ## Build the node image, boot the lab, deploy, wire the tenants and verify
	$(BIN)/socle secrets init -i lab
	$(BIN)/socle lab up
	$(BIN)/socle deploy -i lab
	$(BIN)/socle verify -i lab

lab-down: setup ## Remove every machine, link, rule and sysctl of the lab
	$(BIN)/socle lab down

test: setup-dev ## Lint, unit and property tests, then every molecule scenario
	@$(BIN)/python scripts/test lint unit molecule

lint: setup-dev ## ruff (rules, format), lint-imports, mypy, yamllint, ansible-lint and sanity tests of the built collection
	@$(BIN)/python scripts/test lint

unit: setup-dev ## Unit and property tests
	@$(BIN)/python scripts/test unit

coverage: setup-dev ## The unit and property tests again, with the lines of plugins and socle that they run (twice the time)
	@$(BIN)/python scripts/test coverage

molecule: setup-dev ## Every molecule scenario, or those named in SCENARIOS="a b"
	@$(BIN)/python scripts/test molecule $(SCENARIOS)

test-guest: setup-dev ## The hardening on an emulated machine with a kernel, a boot loader and disks of its own (10 minutes)
	@$(BIN)/python scripts/test guest

audit-guest: setup ## Compare a plain Debian and the nodes of the audited lab by the rules that apply to the plain one (20 minutes)
	$(BIN)/python tests/guest/audit_guest.py --lab .socle/reports/lab/audit.json

bench-deploy: setup ## Measure the floor of a deployment and the deployment itself in one run
	$(BIN)/python tests/bench/deploy.py

bench-failover: setup ## Break parts of the wiring of the deployed lab, and measure what tenants lose
	$(BIN)/python tests/bench/failover.py

bench-gateway: setup ## Measure a gateway of 100 VRFs: a run that changes nothing, and one that adds a VRF
	$(BIN)/python tests/bench/gateway.py

bench-rie: setup-dev ## Measure tenant networks against openstack.cloud and the bare API, on the deployed lab
	$(BIN)/python tests/bench/rie.py

harden-order: setup ## Harden the lab after its deployment, then before it, and compare all that is in /etc
	$(BIN)/python tests/faults/harden_order.py

fault-kill: setup ## Kill a deployment of the lab at a dozen moments, then let it finish
	$(BIN)/python tests/faults/kill_deploy.py

docs: setup ## Write the reference again: the roles' variables, the schema of the intent
	$(BIN)/python scripts/docs

docs-site: setup ## Build the documentation as a site that needs no server and no network, in .site/html (30 seconds)
	@$(PYTHON) scripts/setup docs
	@$(BIN)/python scripts/docs-site

lock: setup ## Resolve pyproject.toml again, and the package the collections come from (needs uv)
	uv pip compile $(LOCK) --group dev --group build pyproject.toml --output-file requirements-dev.lock
	uv pip compile $(LOCK) --group build --constraint requirements-dev.lock pyproject.toml --output-file requirements.lock
	uv pip compile $(LOCK) --group docs --constraint requirements.lock --output-file requirements-docs.lock
	echo 'ansible==12.3.0' | uv pip compile --no-deps --generate-hashes --no-header --no-annotate \
		--output-file requirements-collections.lock -

clean: ## Remove what set-up and the runs made in this checkout (not the lab: see lab-down)
	rm -rf .venv .ansible .socle .site socle.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage cloudwatt-socle-*.tar.gz
