# What one does with this tree; `make help` lists it. The targets are thin: the work is in scripts/ and tests/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
IN_ENV := scripts/in-env

# The lab of the tests: one for each checkout, so that several can stand side by side.
TEST_LAB := t$(shell pwd | sha256sum | cut -c1-6)

-include tests/lab/lab.mk

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

.PHONY: test
test: ## everything: lint, unit, integration, sanity, molecule and end to end on the lab (root)
	@scripts/steps lint unit integration sanity lab-test

.PHONY: lint
lint: ## formats, types, Ansible's rules, and that specifications and documents agree with the code
	@scripts/lint

.PHONY: format
format: ## put all Python into the one format, and mend what can be mended without thinking
	@$(IN_ENV) ruff check --fix-only --quiet . ; $(IN_ENV) ruff format .

.PHONY: docs
docs: ## write docs/variables.md from the roles' specifications
	@$(IN_ENV) scripts/role_specs.py document

.PHONY: unit
unit: ## unit and property tests; PYTEST="-k name" narrows them, in all test targets
	@$(IN_ENV) pytest tests/unit $(PYTEST)

.PHONY: integration
integration: ## tests with real Xray, Caddy and sshd on this machine's loopback
	@scripts/with-binaries $(IN_ENV) pytest tests/integration $(PYTEST)

.PHONY: sanity
sanity: ## ansible-test sanity over the collection
	@scripts/sanity

.PHONY: molecule
molecule: ## molecule's default scenario in a lab of its own (root)
	@TW_LAB=$(TEST_LAB) scripts/lab-test molecule

.PHONY: e2e
e2e: ## the rows T1-T9 and their company in a lab of their own (root); KEEP=1 leaves the lab standing
	@TW_LAB=$(TEST_LAB) scripts/lab-test e2e

.PHONY: lab-test
lab-test: ## molecule, then end to end, in one and the same lab (root)
	@TW_LAB=$(TEST_LAB) scripts/lab-test molecule e2e

.PHONY: lock
lock: ## write requirements/*.txt anew from requirements/*.in
	@scripts/lock
