#!/usr/bin/python
# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contexts of a client host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: contexts
short_description: Have the contexts of a client host
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - A context is what one user of one tenant connects with. Its private keys are made on the client host and stay there.
  - Called without C(certificate), a context gets its keys and returns its public key and its certificate request; what
    an earlier run installed stays. Called with all of it, the certificate, the UUID and C(connect.yml) are installed.
  - C(connect.yml) is read by the agent before it lands. Everything that is wrong is reported at once, and nothing is
    changed then.
  - Contexts that somebody else made are neither changed nor removed.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.files
options:
  dir:
    description:
      - The folder of all contexts; each has a folder in it.
    type: path
    default: /etc/tw/connect
  contexts:
    description:
      - Contexts by name. Each has C(tenant) and C(user).
      - To be installed, it also has C(certificate), as M(tunnel_whisperer.tw.users) returned it, C(relay) (C(host), and
        maybe C(port), C(profile), C(links), and C(roots), PEM text that replaces the system's trusted roots),
        C(server_host_keys) (a list), C(bridges) (as M(tunnel_whisperer.tw.plan) returned them), and its UUID among
        O(uuids).
    type: dict
    required: true
  uuids:
    description:
      - The UUIDs of contexts that are to be installed, by the names of the contexts, as M(tunnel_whisperer.tw.users)
        returned them. They are secrets, and of O(contexts) Ansible logs all.
    type: dict
    default: {}
  group:
    description:
      - The group of the daemon, which may read the files. By default files keep theirs.
    type: str
  xray:
    description:
      - The program that carries the tunnel.
    type: path
    default: /opt/tw/bin/xray
  purge:
    description:
      - Whether to remove contexts that this module made and that are not in O(contexts).
    type: bool
    default: false
seealso:
  - module: tunnel_whisperer.tw.plan
  - module: tunnel_whisperer.tw.users
"""

EXAMPLES = r"""
- name: Have the keys of a context
  tunnel_whisperer.tw.contexts:
    group: tw
    contexts:
      acme: {tenant: acme, user: alice}
  register: client_identity

- name: Install a context
  tunnel_whisperer.tw.contexts:
    group: tw
    purge: true
    contexts:
      acme:
        tenant: acme
        user: alice
        certificate: "{{ admitted.users.alice.certificate }}"
        relay:
          host: relay.example.com
        server_host_keys:
          - "{{ identity.host_public_key }}"
        bridges:
          - {name: postgres, host: 127.0.0.1, port: 5432, local_port: 5432}
    uuids:
      acme: "{{ admitted.users.alice.uuid }}"
"""

RETURN = r"""
contexts:
  description:
    - Every context by name. C(ssh_public_key) and C(csr) go to the server; V(none) in check mode without the agent.
    - C(changed) says whether anything of this context changes, C(ready) whether it has all it connects with.
  returned: success
  type: dict
  sample:
    acme:
      changed: true
      ready: true
      ssh_public_key: ssh-ed25519 AAAA... alice@acme
      csr: "-----BEGIN CERTIFICATE REQUEST-----..."
purged:
  description: The contexts that were removed.
  returned: success
  type: list
  elements: str
  sample: [old]
others:
  description: The contexts that somebody else made, such as those of C(tw import); they stay as they are.
  returned: success
  type: list
  elements: str
  sample: [home]
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
  sample: ['contexts.acme.certificate: it is for another key']
"""

import os
from dataclasses import replace
from typing import Any

from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import engine


def with_uuids(contexts: dict[str, Any], uuids: dict[str, Any]) -> dict[str, Any]:
    """Put each UUID to its context; raises InvalidInputError for one that lies where Ansible logs it, or nowhere."""
    from tunnel_whisperer.problems import Problems, below

    problems = Problems()
    together = dict(contexts)
    for name, fields in contexts.items():
        if isinstance(fields, dict) and "uuid" in fields:
            problems.add(f"{below('contexts', name)}.uuid", f"is logged there; give it as {below('uuids', name)}")
    for name, uuid in uuids.items():
        if problems.one_of("context", name, contexts, below("uuids", name)) and isinstance(contexts[name], dict):
            together[name] = {**contexts[name], "uuid": uuid}
    problems.check()
    return together


def execute(call: engine.Call) -> dict[str, Any]:
    """Plan the contexts' files."""
    from tunnel_whisperer.files import Owner
    from tunnel_whisperer.provision.contexts import FOR_DAEMON, provision_contexts
    from tunnel_whisperer.users.grants import ORIGIN_INVENTORY

    contexts = with_uuids(call.params["contexts"], call.params["uuids"])
    outcome = provision_contexts(
        call.transaction,
        call.path("dir"),
        contexts,
        now=call.now,
        origin=ORIGIN_INVENTORY,
        access=replace(FOR_DAEMON, owner=Owner(os.geteuid(), call.owner(group=call.params["group"]).gid)),
        xray=call.path("xray"),
        purge=call.params["purge"],
    )
    return {
        "contexts": {
            name: {
                "ssh_public_key": context.ssh_public_key,
                "csr": context.csr,
                "changed": context.changed,
                "ready": context.ready,
            }
            for name, context in outcome.contexts.items()
        },
        "purged": list(outcome.purged),
        "others": list(outcome.others),
    }


def without_agent(params: dict[str, Any]) -> dict[str, Any]:
    """Tell what can be told when the engine is not there."""
    told = {"ssh_public_key": None, "csr": None, "changed": True, "ready": False}
    return {"contexts": {name: dict(told) for name in params["contexts"]}, "purged": [], "others": []}


def main() -> None:
    """Run the module."""
    engine.run(
        {
            "dir": {"type": "path", "default": "/etc/tw/connect"},
            "contexts": {"type": "dict", "required": True},
            "uuids": {"type": "dict", "default": {}, "no_log": True},
            "group": {"type": "str"},
            "xray": {"type": "path", "default": "/opt/tw/bin/xray"},
            "purge": {"type": "bool", "default": False},
        },
        execute,
        without_agent=without_agent,
    )


if __name__ == "__main__":
    main()
