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
  - Users without C(state=absent) need one way to their credentials, which is a managed host, where keys are made, a
    bundle (a file that is handed to them), or a public key.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.action
options:
  apps:
    description:
      - Named lists of ports, by name. Each has C(ports) and may have C(host) (one of the server's C(target_hosts); by
        default the server itself), C(local_ports) (where they appear on clients, by port) and C(description).
    type: dict
    default: {}
  users:
    description:
      - Users by name. Each has C(tenant), C(apps) or C(ports) or both, or C(groups) that have them, and one of
        C(host) (a managed client), C(bundle) and C(public_key). A port is a number, or C(host:port).
      - A C(bundle) has C(to) (an age recipient or an SSH public key that it is encrypted to; without it a passphrase is
        needed when it is made), C(kind) (V(enrolment), the default, or V(identity)) and C(hours) (so long an enrolment
        may be used).
      - Each may have C(not_before) and C(expires) (a day or a moment, UTC), C(single_session) (V(off), V(refuse) or
        V(takeover)), C(local_ports) (a mapping from port to local port), C(context) (by default the tenant's name),
        C(comment) and C(state) (V(present) or V(absent)).
    type: dict
    default: {}
  groups:
    description:
      - Named lists of C(apps) and C(ports) that users can be given together, by name.
    type: dict
    default: {}
  renew_bundles:
    description:
      - The names of users whose bundle is to be made anew.
    type: list
    elements: str
    default: []
  servers:
    description:
      - Servers by inventory host. Each has C(tenant), C(relay) where there are several relays, and C(target_hosts)
        where users may reach hosts behind it.
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
      target_hosts: []
      renew_bundles: []
      apps:
        postgres: {ports: [5432], host: 127.0.0.1, local_ports: {}, description: ""}
      users:
        alice:
          state: present
          host: client1
          context: acme
          public_key: null
          csr: null
          bundle: null
          apps: [postgres]
          ports: []
          local_ports: {}
          not_before: null
          expires: null
          single_session: "off"
          comment: ""
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
