#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a program on a host, and installs what was pushed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: binary_host
short_description: The host's half of module binary
description:
  - Compares the program on the host, puts a pushed one in its place, and switches the link.
  - M(tunnel_whisperer.tw.binary) runs it; playbooks use that one.
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
options:
  name:
    description: The program.
    type: str
    required: true
  version:
    description: Its version.
    type: str
    required: true
  sha256:
    description: Its SHA-256, when the control node knows it.
    type: str
  dest:
    description: The folder it belongs in.
    type: path
    required: true
  incoming:
    description: The pushed file. Without one nothing but the link is changed.
    type: path
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: linux
"""

EXAMPLES = r"""
- name: See whether a program is in place
  tunnel_whisperer.tw.binary_host:
    name: xray
    version: 26.6.1
    dest: /opt/tw/bin
"""

RETURN = r"""
missing:
  description: Whether the host lacks the program or has another one under its name.
  returned: success
  type: bool
path:
  description: The program, named after its version.
  returned: success
  type: str
link:
  description: The link to it.
  returned: success
  type: str
paths:
  description: That link, when it or what it leads to was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

import hashlib
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.durable import drafting, point


def digest(path: str) -> str | None:
    """Return a file's SHA-256, or None where there is none."""
    if not os.path.isfile(path):
        return None
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            total.update(chunk)
    return total.hexdigest()


def link_target(link: str) -> str | None:
    """Return where a link leads, or None where there is none."""
    return os.readlink(link) if os.path.islink(link) else None


def install(incoming: str, path: str) -> None:
    """Put a file in place, whole or not at all."""
    with drafting() as drafts, open(incoming, "rb") as source:
        drafts.write(path, source, 0o755)
        drafts.place()


def main() -> None:
    """Look, and install what was pushed."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "sha256": {"type": "str"},
            "dest": {"type": "path", "required": True},
            "incoming": {"type": "path"},
        },
        supports_check_mode=True,
    )
    name, dest = module.params["name"], module.params["dest"]
    expected, incoming = module.params["sha256"], module.params["incoming"]
    target = f"{name}-{module.params['version']}"
    path, link = os.path.join(dest, target), os.path.join(dest, name)
    found, led_to = digest(path), link_target(link)
    right = found is not None and expected in (None, found)
    result = {"changed": not right or led_to != target, "missing": not right, "path": path, "link": link}
    result["paths"] = [link] if result["changed"] else []
    result["diff"] = {"before": f"{led_to}\n" if led_to else "", "after": f"{target}\n"}
    if module.check_mode or not result["changed"] or not (right or incoming):
        module.exit_json(**result)
    try:
        if not right:
            pushed = digest(incoming)
            if pushed != expected:
                module.fail_json(
                    msg=f"{name}: what arrived on this host has SHA-256 {pushed}, not {expected}; try again"
                )
            os.makedirs(dest, mode=0o755, exist_ok=True)
            install(incoming, path)
        point(link, target)
        for entry in os.listdir(dest):
            if entry.startswith(name + "-") and entry not in (target, led_to):
                os.unlink(os.path.join(dest, entry))
    except OSError as error:
        module.fail_json(msg=f"{name} could not be put into {dest}: {error}")
    result["missing"] = False
    module.exit_json(**result)


if __name__ == "__main__":
    main()
