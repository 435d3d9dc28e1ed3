#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs a release of the agent from pushed wheels, and switches to it once it is known to run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_host
short_description: The host's half of module release
description:
  - Sees whether a release of the agent is installed and in use, and installs it from an archive of wheels, offline and
    by hash.
  - A release counts as installed only when all of it is there, C(tw --version) answered, and every part of it could be
    imported; half a one is removed.
  - M(tunnel_whisperer.tw.release) runs it; playbooks use that one.
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
options:
  release:
    description: The release's name.
    type: str
    required: true
  version:
    description: The version that C(tw --version) has to say.
    type: str
    required: true
  python:
    description: The interpreter it is made with.
    type: path
    required: true
  python_version:
    description: The version that interpreter has to have.
    type: str
    required: true
  releases:
    description: The folder with the releases.
    type: path
    required: true
  current:
    description: The link to the release in use.
    type: path
    required: true
  command:
    description: A link to the command C(tw).
    type: path
    required: true
  package:
    description: The package all of whose parts have to be importable.
    type: str
    default: tunnel_whisperer
  keep:
    description: How many releases stay installed.
    type: int
    default: 2
  archive:
    description: The pushed archive of wheels. Without one nothing is installed.
    type: path
  sha256:
    description: The archive's SHA-256.
    type: str
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
- name: See whether a release is in place
  tunnel_whisperer.tw.release_host:
    release: 0.1.0-cp311-x86_64-0123456789ab
    version: 0.1.0
    python: /usr/bin/python3
    python_version: '3.11'
    releases: /opt/tw/releases
    current: /opt/tw/current
    command: /usr/local/bin/tw
"""

RETURN = r"""
missing:
  description: Whether the release has yet to be installed.
  returned: success
  type: bool
paths:
  description: The links that were changed, or lead to a release that was made, or would be in check mode.
  returned: success
  type: list
  elements: str
interpreter:
  description: The Python of the agent as it is after this task; empty where there is none yet.
  returned: success
  type: str
"""

import os
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils import offline_release
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.durable import point
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.offline_release import complete


class Host:
    """The releases of one host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        params = module.params
        self.release = params["release"]
        self.folder = os.path.join(params["releases"], self.release)
        self.links = {
            params["current"]: os.path.relpath(self.folder, os.path.dirname(params["current"])),
            params["command"]: os.path.join(params["current"], "bin/tw"),
        }

    def wrong_links(self) -> list[str]:
        """Return the links that do not lead where they should."""
        return [link for link, target in self.links.items() if not os.path.islink(link) or os.readlink(link) != target]

    def in_use(self) -> str:
        """Return the name of the release in use, or an empty text."""
        current = self.module.params["current"]
        return os.path.basename(os.readlink(current)) if os.path.islink(current) else ""

    def interpreter(self) -> str:
        """Return the agent's Python, or an empty text."""
        path = os.path.join(self.module.params["current"], "bin/python")
        return path if os.access(path, os.X_OK) else ""

    def superfluous(self) -> list[str]:
        """Return the releases that nobody needs any more: all but the newest, and half-made ones."""
        releases = self.module.params["releases"]
        if not os.path.isdir(releases):
            return []
        found = [os.path.join(releases, name) for name in os.listdir(releases) if name != self.release]
        found.sort(key=os.path.getmtime, reverse=True)
        kept = [folder for folder in found if complete(folder)][: self.module.params["keep"] - 1]
        return [folder for folder in found if folder not in kept]

    def install(self) -> None:
        """Make the release's folder; it is removed again when anything fails."""
        params = self.module.params
        archive = offline_release.Archive(params["archive"], params["sha256"], params["version"], params["package"])
        try:
            offline_release.install(self.folder, archive, params["python"], params["python_version"])
        except offline_release.ReleaseError as error:
            self.module.fail_json(msg=str(error))

    def switch(self) -> None:
        """Let the links lead to the release, each with no moment in which there is none."""
        for link in self.wrong_links():
            os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
            point(link, self.links[link])


def main() -> None:
    """Look, and install what was pushed."""
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "python": {"type": "path", "required": True},
            "python_version": {"type": "str", "required": True},
            "releases": {"type": "path", "required": True},
            "current": {"type": "path", "required": True},
            "command": {"type": "path", "required": True},
            "package": {"type": "str", "default": "tunnel_whisperer"},
            "keep": {"type": "int", "default": 2},
            "archive": {"type": "path"},
            "sha256": {"type": "str"},
        },
        required_together=[("archive", "sha256")],
        supports_check_mode=True,
    )
    host = Host(module)
    before, missing = host.in_use(), not complete(host.folder)
    old = host.superfluous()
    paths = [link for link in host.links if missing or link in host.wrong_links()]
    result: dict[str, Any] = {"changed": bool(paths), "missing": missing, "paths": paths}
    result["diff"] = {"before": f"{before}\n" if before else "", "after": f"{host.release}\n"}
    if not module.check_mode and (not missing or module.params["archive"]):
        if missing:
            host.install()
        try:
            host.switch()
            for folder in old:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            module.fail_json(msg=f"cannot switch to release {host.release}: {error}")
        result["missing"] = False
    module.exit_json(interpreter=host.interpreter(), **result)


if __name__ == "__main__":
    main()
