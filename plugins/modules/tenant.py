#!/usr/bin/python
# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity of a tenant's server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant
short_description: Have the identity of a tenant's server
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Makes the tenant's private keys on the server host, where they stay, and the request for the tenant's certificate.
  - With O(ca_certificate), installs it after checking that it is for this host's key and for this tenant, and makes the
    server's own certificate with it. That is made anew when half of its life is over.
  - Keys that are there are kept; remove a file to have another made.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.files
options:
  dir:
    description:
      - The folder of the identity. Its parent must be there.
    type: path
    default: /etc/tw/serve
  tenant:
    description:
      - The tenant's name, a lower-case DNS label of at most 24 characters.
    type: str
    required: true
  group:
    description:
      - The group of the daemon, which may read the files. By default files keep theirs.
    type: str
  ca_certificate:
    description:
      - The tenant's certificate with the relay's root behind it, as M(tunnel_whisperer.tw.authority) returned it.
      - Without it, what was installed before stays.
    type: str
  secrets:
    description:
      - Whether the result holds the server's UUID, which is a secret. Set C(no_log) on the task then.
    type: bool
    default: false
seealso:
  - module: tunnel_whisperer.tw.authority
  - module: tunnel_whisperer.tw.users
"""

EXAMPLES = r"""
- name: Have the tenant's keys, and the request for its certificate
  tunnel_whisperer.tw.tenant:
    tenant: acme
    group: tw
  register: identity

- name: Install the certificate the relay's authority made
  tunnel_whisperer.tw.tenant:
    tenant: acme
    group: tw
    ca_certificate: "{{ authority.tenants.acme.certificate }}"

- name: Have the server's UUID
  tunnel_whisperer.tw.tenant:
    tenant: acme
    group: tw
    secrets: true
  no_log: true
  register: identity_secrets
"""

RETURN = r"""
csr:
  description: The request for the tenant's certificate, in PEM form; V(none) in check mode without the agent, as below.
  returned: success
  type: str
ssh_public_key:
  description: The key by which the server logs in to its cell on the relay.
  returned: success
  type: str
  sample: ssh-ed25519 AAAA... server@acme
host_public_key:
  description: The host key of the server's embedded SSH server, which its users pin.
  returned: success
  type: str
  sample: ssh-ed25519 AAAA... host@acme
uuid:
  description: The server's own VLESS UUID; V(none) in check mode without the agent.
  returned: when O(secrets) is V(true)
  type: str
certified:
  description: Whether the server has all its certificates.
  returned: success
  type: bool
paths:
  description: The files and folders that were changed, or would be in check mode.
  returned: success
  type: list
  elements: str
problems:
  description: What is wrong, one line each.
  returned: failure
  type: list
  elements: str
  sample: ['ca_certificate: is not for tenant acme']
"""

import os
from typing import Any

from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import engine


def execute(call: engine.Call) -> dict[str, Any]:
    """Plan the identity's files."""
    from tunnel_whisperer.files import Owner
    from tunnel_whisperer.provision.tenant import provision_tenant

    identity = provision_tenant(
        call.transaction,
        call.path("dir"),
        call.params["tenant"],
        now=call.now,
        ca_certificate=call.params["ca_certificate"],
        owner=Owner(os.geteuid(), call.owner(group=call.params["group"]).gid),
    )
    return {
        "csr": identity.csr,
        "ssh_public_key": identity.ssh_public_key,
        "host_public_key": identity.host_public_key,
        "certified": identity.certified,
        **({"uuid": identity.uuid} if call.params["secrets"] else {}),
    }


def without_agent(params: dict[str, Any]) -> dict[str, Any]:
    """Tell what can be told when the engine is not there."""
    told = dict.fromkeys(("csr", "ssh_public_key", "host_public_key", *(["uuid"] if params["secrets"] else [])))
    return {**told, "certified": False}


def main() -> None:
    """Run the module."""
    engine.run(
        {
            "dir": {"type": "path", "default": "/etc/tw/serve"},
            "tenant": {"type": "str", "required": True},
            "group": {"type": "str"},
            "ca_certificate": {"type": "str"},
            "secrets": {"type": "bool", "default": False, "no_log": False},
        },
        execute,
        without_agent=without_agent,
    )


if __name__ == "__main__":
    main()
