#!/usr/bin/python
# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The users of a tenant."""

from __future__ import annotations

DOCUMENTATION = r"""
module: users
short_description: Have these users on a tenant's server
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - All users of a server in one call, all of them or none. Everything that is wrong is reported at once, and nothing is
    changed then.
  - Each user gets a UUID, a line of C(authorized_keys) that permits its bridges and nothing else, and, where it sent a
    request, a certificate. A new key brings a new UUID.
  - A user whose host was not reached (C(host) without C(public_key)) keeps its key, UUID and certificate; what it may
    reach is as wanted all the same. One that is not known yet is skipped.
  - A user with C(bundle) gets keys made here, and a file with them, sealed here, so that nothing plain leaves the host.
    It is made when the user is new, and when O(renew_bundles) asks for it.
  - The daemon takes up the changed file at once; nobody else's connection is touched.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.files
options:
  tenant:
    description:
      - The tenant's name.
    type: str
    required: true
  users:
    description:
      - Users by name, as M(tunnel_whisperer.tw.plan) returned them for this tenant.
      - For a user with a managed host, C(public_key) and C(csr) are as M(tunnel_whisperer.tw.contexts) returned them.
    type: dict
    required: true
  apps:
    description:
      - The apps that users can be given, by name, as M(tunnel_whisperer.tw.plan) returned them for this tenant.
      - Without it the apps that are there stay. Users who have an app follow it when it changes.
    type: dict
  target_hosts:
    description:
      - Hosts behind the server that users may reach besides the server itself.
    type: list
    elements: str
    default: []
  identity_dir:
    description:
      - The folder of the tenant's identity, whose authority signs certificates.
    type: path
    default: /etc/tw/serve
  users_file:
    description:
      - The file the users are kept in. Its folder is made if need be.
    type: path
    default: /var/lib/tw/serve/users.json
  owner:
    description:
      - The user the file belongs to. By default it stays whose it is, and a new one belongs to the owner of its folder.
    type: str
  group:
    description:
      - The group the file belongs to, likewise.
    type: str
  renew_bundles:
    description:
      - Users whose bundle is made anew. What they had before, an enrolment or lasting keys, does not serve any more.
    type: list
    elements: str
    default: []
  passphrases:
    description:
      - For each user whose bundle is made now and is not sealed to a key (C(bundle.to)), the passphrase that seals it,
        at least 12 characters. Each takes about two seconds and up to 1 GiB of memory on the host.
    type: dict
    default: {}
  relay:
    description:
      - How users with a bundle reach the relay. It is needed when a bundle is made.
    type: dict
    suboptions:
      host:
        description:
          - The relay's public name.
        type: str
        required: true
      port:
        description:
          - Its port.
        type: int
        default: 443
      profile:
        description:
          - How links look from outside; V(h2) as a browser does, V(h1) is faster.
        type: str
        choices: [h2, h1]
        default: h2
      links:
        description:
          - How many links are held at once, 1 to 8.
        type: int
        default: 2
      roots:
        description:
          - The roots by which the relay's TLS certificate is known, in PEM form, where those of the system do not do.
        type: str
  return_uuids:
    description:
      - Whether the result has the users' UUIDs. They are secrets, so set C(no_log) on the task then.
    type: bool
    default: false
  purge:
    description:
      - Whether to remove users and apps that this module made and that are not in O(users) and O(apps). Others are
        never removed so.
    type: bool
    default: false
  regenerate:
    description:
      - When a UUID or a certificate that is there is made anew.
      - V(never) keeps it whatever its state.
      - V(missing) makes a certificate anew when it no longer serves, because of another key or authority, or because
        half of its life is over.
      - V(always) makes both anew in each run, for those users that sent a key.
    type: str
    choices: [never, missing, always]
    default: missing
seealso:
  - module: tunnel_whisperer.tw.users_info
  - module: tunnel_whisperer.tw.plan
  - module: tunnel_whisperer.tw.contexts
  - module: tunnel_whisperer.tw.tenant
"""

EXAMPLES = r"""
- name: Admit the users of the inventory, and nobody else
  tunnel_whisperer.tw.users:
    tenant: acme
    owner: tw
    group: tw
    purge: true
    apps:
      postgres:
        ports: [5432]
    users:
      alice:
        host: client1
        apps: [postgres]
        expires: 2027-01-31
        public_key: "{{ hostvars['client1'].client_identity.contexts.acme.ssh_public_key }}"
        csr: "{{ hostvars['client1'].client_identity.contexts.acme.csr }}"
      dora:
        apps: [postgres]
        bundle:
          to: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
      bob:
        state: absent
    relay:
      host: relay.example.com
  register: admitted

- name: Give dora another bundle; the one she had ends
  tunnel_whisperer.tw.users:
    tenant: acme
    users:
      dora:
        apps: [postgres]
        bundle: {}
    passphrases:
      dora: "{{ vault_passphrase_of_dora }}"
    renew_bundles: [dora]
    relay:
      host: relay.example.com
  register: admitted
"""

RETURN = r"""
users:
  description:
    - What happened to each user that was mentioned or removed.
    - C(action) is one of V(create), V(change), V(delete), V(keep) and V(skip), C(reasons) say why.
    - C(certificate) is the user's certificate with the tenant's behind it, C(enrolment) the moment up to which a user
      may enrol that has not yet.
    - C(bundle) tells of a bundle that is made now, the C(context) it sets up, its C(kind), what opens it (C(lock),
      V(passphrase) or V(keys)), and C(until) when it is of use.
  returned: success
  type: dict
  sample:
    alice:
      action: change
      changed: true
      reasons: ['it may also reach 127.0.0.1:8080']
      certificate: "-----BEGIN CERTIFICATE-----..."
      enrolment:
      bundle:
    dora:
      action: create
      changed: true
      reasons: [it is new]
      certificate:
      enrolment: "2026-11-28T12:00:00Z"
      bundle: {context: acme, kind: enrolment, lock: keys, until: "2026-11-28T12:00:00Z"}
bundles:
  description: The bundles that were made now, by user, each a sealed file in base64; V(none) in check mode.
  returned: success
  type: dict
  sample:
    dora: YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB...
uuids:
  description: The UUID of each user that was mentioned and is there.
  returned: when O(return_uuids)
  type: dict
  sample:
    alice: 6f1f0c0e-6f0c-4d5e-9f65-6a7b9a3c9f10
generation:
  description: Grows by one with every change of the file; V(none) in check mode where the agent is not installed yet.
  returned: success
  type: int
paths:
  description: The files and folders that were changed, or would be in check mode.
  returned: success
  type: list
  elements: str
problems:
  description: Everything that is wrong, one line each.
  returned: failure
  type: list
  elements: str
  sample: ['users.alice.public_key: is cut short']
"""

import base64
from typing import Any

from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import engine

RELAY: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 443},
    "profile": {"type": "str", "choices": ["h2", "h1"], "default": "h2"},
    "links": {"type": "int", "default": 2},
    "roots": {"type": "str"},
}


def execute(call: engine.Call) -> dict[str, Any]:
    """Plan the users file, and make bundles."""
    from tunnel_whisperer.bundle import Relay
    from tunnel_whisperer.provision.sealing import Sealer, admit
    from tunnel_whisperer.provision.users import Place
    from tunnel_whisperer.users.plan import Policy

    params = call.params
    outcome, sealed = admit(
        call.transaction,
        params["users"],
        Policy(
            params["tenant"],
            purge=params["purge"],
            regenerate=params["regenerate"],
            renew=frozenset(params["renew_bundles"]),
        ),
        Place(
            call.path("identity_dir"), call.path("users_file"), call.owner(user=params["owner"], group=params["group"])
        ),
        Sealer(
            params["tenant"], Relay(**params["relay"]) if params["relay"] else None, params["passphrases"], call.now
        ),
        apps=params["apps"],
        target_hosts=tuple(params["target_hosts"]),
        pretend=call.check_mode,
    )
    users = {name: {**outcome.result(action), "bundle": None} for name, action in outcome.plan.actions.items()}
    bundles = {}
    for name, one in sealed.items():
        users[name]["bundle"] = one.as_data()
        bundles[name] = None if one.content is None else base64.b64encode(one.content).decode()
    result = {"users": users, "bundles": bundles, "generation": outcome.users.generation}
    return {**result, "uuids": outcome.uuids} if params["return_uuids"] else result


UNKNOWN = ("certificate", "enrolment", "bundle")
"""What nobody knows of a user before the engine is there."""


def without_agent(params: dict[str, Any]) -> dict[str, Any]:
    """Tell what can be told when the engine is not there."""
    told = {"action": "create", "changed": True, "reasons": ["it is new"], **dict.fromkeys(UNKNOWN)}
    result = {"users": {name: dict(told) for name in params["users"]}, "bundles": {}, "generation": None}
    return {**result, "uuids": {}} if params["return_uuids"] else result


def main() -> None:
    """Run the module."""
    engine.run(
        {
            "tenant": {"type": "str", "required": True},
            "users": {"type": "dict", "required": True},
            "apps": {"type": "dict"},
            "target_hosts": {"type": "list", "elements": "str", "default": []},
            "identity_dir": {"type": "path", "default": "/etc/tw/serve"},
            "users_file": {"type": "path", "default": "/var/lib/tw/serve/users.json"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "renew_bundles": {"type": "list", "elements": "str", "default": []},
            "passphrases": {"type": "dict", "default": {}, "no_log": True},
            "relay": {"type": "dict", "options": RELAY},
            "return_uuids": {"type": "bool", "default": False},
            "purge": {"type": "bool", "default": False},
            "regenerate": {"type": "str", "choices": ["never", "missing", "always"], "default": "missing"},
        },
        execute,
        without_agent=without_agent,
    )


if __name__ == "__main__":
    main()
