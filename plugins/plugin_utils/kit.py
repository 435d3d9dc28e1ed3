# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kit: the agent, Xray and an installer in one archive, for machines that no playbook reaches."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils import binaries
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import COLLECTION, PartError
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.pythons import Wheelhouse, add_to_archive, sha256

_PARTS = (
    "roles/control/files/kit/install.py",
    "plugins/module_utils/offline_release.py",
    "plugins/module_utils/durable.py",
    "LICENSE",
)
_UNIT = "roles/agent/templates/daemon.service.j2"
_UNIT_VALUES = "roles/client/vars/main.yml"
_README = """\
The agent of Tunnel Whisperer, tw {version}, for Linux on {architecture} with Python {pythons}.

    python3 install.py      as root for the whole machine, else for yourself; nothing is fetched
    tw import FILE          with the file you were given
    tw connect

tw is under the GPL, version 3 or later (LICENSE). xray is Xray-core {xray}, under the MPL 2.0; its source is
the Go module xtls/xray-core, unchanged.
"""


@dataclass(frozen=True)
class Kit:
    """One kit: for one architecture and some Pythons."""

    houses: Sequence[Wheelhouse]
    xray: binaries.Wanted

    def __post_init__(self) -> None:
        if not self.houses:
            raise PartError("a kit needs at least one version of Python (control_fetch_pythons)")

    @cached_property
    def name(self) -> str:
        """The name of the folder in the archive; what is in it decides the last word."""
        releases = [house.release for house in self.houses]
        parts = [_unit(), *((COLLECTION / part).read_text() for part in _PARTS)]
        key = hashlib.sha256(json.dumps([releases, parts, self.xray.version, _README]).encode()).hexdigest()[:8]
        return f"tw-{self.houses[0].source.version}-{self.xray.machine}-{key}"

    @property
    def file_name(self) -> str:
        """The name of the archive."""
        return f"{self.name}.tar.gz"

    def write(self, path: Path, xray: binaries.Part) -> None:
        """Write the archive, whole or not at all; it holds no secret."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            with tarfile.open(part, "w:gz", compresslevel=1) as archive:
                for name, content, mode in self._entries(xray):
                    add_to_archive(archive, f"{self.name}/{name}", content, mode=mode)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def _entries(self, xray: binaries.Part) -> Iterator[tuple[str, bytes, int]]:
        version, wheels = self.houses[0].source.version, {}
        for house in self.houses:
            archive, file = house.archive(), f"wheels-{house.target.python}.tar"
            wheels[house.target.python] = {"file": file, "sha256": sha256(archive), "release": house.release}
            yield file, archive.read_bytes(), 0o644
        yield "xray", xray.path.read_bytes(), 0o755
        manifest: dict[str, Any] = {
            "version": version,
            "architecture": self.xray.machine,
            "xray": {"file": "xray", "sha256": xray.sha256, "version": self.xray.version},
            "wheels": wheels,
        }
        yield "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode(), 0o644
        readme = _README.format(
            version=version, architecture=self.xray.machine, pythons=", ".join(wheels), xray=self.xray.version
        )
        yield "README.txt", readme.encode(), 0o644
        yield "tw-connect@.service", _unit().encode(), 0o644
        for source in _PARTS:
            yield Path(source).name, (COLLECTION / source).read_bytes(), 0o644


def _unit() -> str:
    """Return the unit of a context's service, as role client installs it."""
    # ansible-core brings both along; the import test of ansible-test, which loads this file too, does not.
    import jinja2
    import yaml

    daemon = {**yaml.safe_load((COLLECTION / _UNIT_VALUES).read_text())["__client_daemon"], "by": "the kit's installer"}
    template = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=jinja2.select_autoescape(())
    )
    return template.from_string((COLLECTION / _UNIT).read_text()).render(daemon=daemon) + "\n"
