# The lab's targets: NAME=… names a lab (several can stand side by side), SERVERS=2 CLIENTS=2 make it larger.
NAME ?= demo
HOST ?= client
LAB_SHAPE = $(if $(RELAYS),--relays $(RELAYS)) $(if $(SERVERS),--servers $(SERVERS)) $(if $(CLIENTS),--clients $(CLIENTS)) \
  $(if $(GUESTS),--guests $(GUESTS))

.PHONY: demo
demo: ## the main job on this machine: hosts, playbook, a query through the bridge (root)
	@scripts/lab demo --name $(NAME) $(LAB_SHAPE)

.PHONY: lab-up
lab-up: ## boot the lab's bare hosts; NAME=… for a second lab, SERVERS=2 CLIENTS=2 for a larger one (root)
	@scripts/lab up --name $(NAME) $(LAB_SHAPE)

.PHONY: lab-shell
lab-shell: ## a shell in HOST=relay, server, client, ctl, outside, client-gate, server-gate (root)
	@scripts/lab shell --name $(NAME) $(HOST)

.PHONY: lab-status
lab-status: ## which parts of the lab run
	@scripts/lab status --name $(NAME)

.PHONY: lab-down
lab-down: ## remove the lab and everything it made on this machine (root)
	@scripts/lab down --name $(NAME)
