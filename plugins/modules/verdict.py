#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verdict
short_description: Show what the proofs of all clients come to
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Prints one table of what was tried on all client hosts, and fails when any of it failed.
  - Contexts of hosts that were left out or out of reach are shown as not tried; they are no failure here.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.action
options:
  clients:
    description:
      - The contexts of each client host, as M(tunnel_whisperer.tw.plan) returned them.
    type: dict
    required: true
  proofs:
    description:
      - What M(tunnel_whisperer.tw.proof) returned, by client host.
    type: dict
    required: true
  away:
    description:
      - Why a client host was not tried, by host.
    type: dict
    default: {}
seealso:
  - module: tunnel_whisperer.tw.proof
"""

EXAMPLES = r"""
- name: Show what it comes to
  tunnel_whisperer.tw.verdict:
    clients: "{{ control_result.plan.clients }}"
    proofs:
      client1: "{{ hostvars.client1.client_proof }}"
  run_once: true
"""

RETURN = r"""
not_tried:
  description: Contexts that were not tried, each with the reason.
  returned: always
  type: list
  elements: str
problems:
  description: What failed, one line each.
  returned: failure
  type: list
  elements: str
"""
