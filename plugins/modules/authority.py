#!/usr/bin/python
# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority of a relay."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authority
short_description: Have the certificate authority of a relay on the control node
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Keeps one root for each relay below C(relays/<relay_name>) in O(dir); its private key is encrypted.
  - Signs an intermediate for each tenant that asked, held to names of the tenant's own domain, and keeps it.
  - Makes the operator's own identities, by which the relay is managed.
  - What is there and serves is kept; a certificate is made anew when half of its life is over.
  - Nothing that is no longer mentioned is removed.
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
  - tunnel_whisperer.tw.attributes.files
options:
  dir:
    description:
      - The control node's folder for all relays.
    type: path
    required: true
  relay_name:
    description:
      - The relay's public DNS name.
    type: str
    required: true
  passphrase:
    description:
      - Encrypts the private key of the root, and opens it again.
      - It has at least 8 characters. Changing it here does not change it in the file.
    type: str
    required: true
  tenants:
    description:
      - Tenants by name, each with C(csr), the request that module M(tunnel_whisperer.tw.tenant) returned.
      - Without C(csr) the tenant's certificate is returned as it is, and renewed when that is due.
    type: dict
    default: {}
  operators:
    description:
      - The operator's identities. A second one opens the relay when the first is lost.
    type: list
    elements: str
    default: [primary, spare]
  secrets:
    description:
      - Whether the result holds the operator's UUIDs, which are secrets. Set C(no_log) on the task then.
    type: bool
    default: false
seealso:
  - module: tunnel_whisperer.tw.tenant
"""

EXAMPLES = r"""
- name: Have the relay's authority
  tunnel_whisperer.tw.authority:
    dir: ~/.local/share/tunnel-whisperer
    relay_name: relay.example.com
    passphrase: "{{ control_pki_passphrase }}"
    tenants:
      acme:
        csr: "{{ hostvars['server1'].server_identity.csr }}"
  delegate_to: localhost
  register: authority
"""

RETURN = r"""
root_certificate:
  description: The root, in PEM form; V(none) in check mode where the agent is not installed yet.
  returned: success
  type: str
tenants:
  description: The certificate of each tenant, with the root behind it; V(none) for one that has not asked yet.
  returned: success
  type: dict
  sample:
    acme:
      certificate: "-----BEGIN CERTIFICATE-----..."
operators:
  description: The UUID of each of the operator's identities.
  returned: when O(secrets) is V(true)
  type: dict
  sample:
    primary:
      uuid: 6f1f0c0e-6f0c-4d5e-9f65-6a7b9a3c9f10
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
  sample: ['tenants.acme.csr: is not signed by the key it names']
"""

from typing import Any

from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import engine


def execute(call: engine.Call) -> dict[str, Any]:
    """Plan the authority's files."""
    from tunnel_whisperer.provision.authority import provision_authority

    secrets = call.params["secrets"]
    state = provision_authority(
        call.transaction,
        call.path("dir"),
        call.params["relay_name"],
        call.params["passphrase"],
        now=call.now,
        tenants=call.params["tenants"],
        operators=call.params["operators"],
    )
    return {
        "root_certificate": state.root_certificate,
        "tenants": {name: {"certificate": chain} for name, chain in state.tenants.items()},
        **({"operators": {name: {"uuid": uuid} for name, uuid in state.operators.items()}} if secrets else {}),
    }


def without_agent(params: dict[str, Any]) -> dict[str, Any]:
    """Tell what can be told when the engine is not there."""
    return {
        "root_certificate": None,
        "tenants": {name: {"certificate": None} for name in params["tenants"]},
        **({"operators": {name: {"uuid": None} for name in params["operators"]}} if params["secrets"] else {}),
    }


def main() -> None:
    """Run the module."""
    engine.run(
        {
            "dir": {"type": "path", "required": True},
            "relay_name": {"type": "str", "required": True},
            "passphrase": {"type": "str", "required": True, "no_log": True},
            "tenants": {"type": "dict", "default": {}},
            "operators": {"type": "list", "elements": "str", "default": ["primary", "spare"]},
            "secrets": {"type": "bool", "default": False, "no_log": False},
        },
        execute,
        without_agent=without_agent,
    )


if __name__ == "__main__":
    main()
