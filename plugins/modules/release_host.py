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

import glob
import hashlib
import os
import shutil
import tarfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.durable import point

MARKER = ".complete"
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(found.name)
"""


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

    def complete(self, folder: str) -> bool:
        """Whether all of a release is there, its interpreter too."""
        return os.path.exists(os.path.join(folder, MARKER)) and os.access(os.path.join(folder, "bin/python"), os.X_OK)

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
        kept = [folder for folder in found if self.complete(folder)][: self.module.params["keep"] - 1]
        return [folder for folder in found if folder not in kept]

    def run(self, argv: list[str], what: str) -> str:
        """Run a command; ends the module with the command's own words when it fails."""
        code, out, err = self.module.run_command(argv, environ_update={"PIP_CONFIG_FILE": os.devnull}, cwd="/")
        if code:
            text = (err.strip() or out.strip())[-2000:]
            raise OSError(f"{what} failed with code {code}: {text}")
        return str(out)

    def install(self) -> None:
        """Make the release's folder; it is removed again when anything fails."""
        params = self.module.params
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(params["releases"], mode=0o755, exist_ok=True)
        try:
            self.fill()
            open(os.path.join(self.folder, MARKER), "w").close()
        except (OSError, tarfile.TarError, KeyError) as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.module.fail_json(
                msg=f"release {self.release} could not be installed; what was in use stays so: {error}"
            )

    def fill(self) -> None:
        """Check the archive, install all wheels by hash, see that the command answers."""
        params = self.module.params
        self.check_archive()
        self.run([params["python"], "-m", "venv", "--without-pip", self.folder], "Making the environment")
        wheels = os.path.join(self.folder, ".wheels")
        os.mkdir(wheels, 0o700)
        with tarfile.open(params["archive"]) as archive:
            for entry in archive:
                source = archive.extractfile(entry)
                if source is None or not entry.isfile() or os.path.basename(entry.name) != entry.name:
                    raise KeyError(f"the archive holds {entry.name}")
                with source, open(os.path.join(wheels, entry.name), "wb") as target:
                    shutil.copyfileobj(source, target)
        python = os.path.join(self.folder, "bin/python")
        pip = glob.glob(os.path.join(wheels, "pip-*.whl"))[0]
        options = [
            "--no-index",
            "--find-links",
            wheels,
            "--require-hashes",
            "--no-deps",
            "--disable-pip-version-check",
            "--quiet",
        ]
        listed = os.path.join(wheels, "requirements.txt")
        self.run([python, os.path.join(pip, "pip"), "install", *options, "-r", listed], "Installing the wheels")
        shutil.rmtree(wheels)
        said = self.run([os.path.join(self.folder, "bin/tw"), "--version"], "The new release's 'tw --version'")
        if params["version"] not in said.split():
            raise OSError(f"the new release's 'tw --version' says {said.strip()!r}, not {params['version']}")
        self.run([python, "-c", IMPORT_ALL, params["package"]], "Importing all of the new release")

    def check_archive(self) -> None:
        """Compare the archive and the interpreter with what they have to be."""
        params = self.module.params
        with open(params["archive"], "rb") as file:
            found = hashlib.sha256(file.read()).hexdigest()
        if found != params["sha256"]:
            raise OSError(f"the archive that arrived has SHA-256 {found}, not {params['sha256']}")
        said = self.run([params["python"], "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], params["python"])
        if said.strip() != params["python_version"]:
            raise OSError(f"{params['python']} is Python {said.strip()}, not {params['python_version']}")

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
    before, missing = host.in_use(), not host.complete(host.folder)
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
