#!/usr/bin/python
# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Check what the inventory says about users, and tell each server and client its part
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Reads apps, users, servers and clients together, on the controller, before any host is touched.
  - Reports everything that is wrong at once, each problem naming the item and the field it is about.
  - Users without C(state=absent) need either a managed host, which makes its own keys, or a public key.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.action
options:
  apps:
    description:
      - Named lists of ports, by name. Each has C(ports) and may have a C(description).
    type: dict
    default: {}
  users:
    description:
      - Users by name. Each has C(tenant), C(apps) or C(ports) or both, C(host) (a managed client) or C(public_key).
      - Each may have C(local_ports) (a mapping from port to local port), C(context) (by default the name of the tenant)
        and C(state) (V(present) or V(absent)).
    type: dict
    default: {}
  servers:
    description:
      - Servers by inventory host. Each has C(tenant) and, where there are several relays, C(relay).
    type: dict
    default: {}
  client_hosts:
    description:
      - The inventory's client hosts.
    type: list
    elements: str
    default: []
  relay_hosts:
    description:
      - The inventory's relay hosts.
    type: list
    elements: str
    default: []
seealso:
  - module: tunnel_whisperer.tw.users
  - module: tunnel_whisperer.tw.contexts
"""

EXAMPLES = r"""
- name: Check the inventory
  tunnel_whisperer.tw.plan:
    apps:
      postgres:
        ports: [5432]
    users:
      alice:
        tenant: acme
        apps: [postgres]
        host: client1
    servers:
      server1:
        tenant: acme
        relay: relay1
    client_hosts: [client1]
    relay_hosts: [relay1]
  register: plan
"""

RETURN = r"""
tenants:
  description: What the server of each tenant is to admit.
  returned: success
  type: dict
  sample:
    acme:
      server: server1
      relay: relay1
      users:
        alice:
          state: present
          host: client1
          context: acme
          public_key: null
          apps: [postgres]
          ports: []
          bridges:
            - {name: postgres, host: 127.0.0.1, port: 5432, local_port: 5432}
clients:
  description: The contexts each client host is to have.
  returned: success
  type: dict
  sample:
    client1:
      acme:
        tenant: acme
        user: alice
        server: server1
        relay: relay1
        bridges:
          - {name: postgres, host: 127.0.0.1, port: 5432, local_port: 5432}
problems:
  description: Everything that is wrong with the inventory, one line each.
  returned: failure
  type: list
  elements: str
  sample:
    - 'tw_users.alice.apps[0]: unknown app "postgre" (did you mean "postgres"? known: postgres)'
"""
