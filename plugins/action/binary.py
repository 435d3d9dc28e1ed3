# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node's half of module binary: have the program, and push it where it is missing."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils import binaries
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import Cache, PartError
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.pushing import Pushing


class ActionModule(Pushing, ActionBase):
    """Fetches, compares, pushes."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(
            argument_spec={
                "name": {"type": "str", "choices": sorted(binaries.RELEASES), "required": True},
                "settings": {"type": "dict", "required": True, "options": binaries.SETTINGS},
                "cache": {"type": "path", "required": True},
                "architecture": {"type": "str"},
                "dest": {"type": "path"},
            }
        )
        cache = Cache(Path(args["cache"]).expanduser(), self._display.display)
        try:
            machine = args["architecture"] or self.own_architecture()
            wanted = binaries.Wanted.from_settings(args["name"], machine, args["settings"])
            source = binaries.plan(wanted)
            part = binaries.cached(cache, wanted) if self._task.check_mode else binaries.obtain(cache, wanted)
        except PartError as error:
            raise AnsibleActionFail(str(error)) from error
        if args["dest"] is None:
            return {
                "changed": False,
                "source": source,
                **({"path": str(part.path), "sha256": part.sha256} if part else {}),
            }
        result = self._place(wanted, part, args["dest"], task_vars)
        return {**result, "source": source, **({"sha256": part.sha256} if part else {})}

    def own_architecture(self) -> str:
        """The control node's architecture, for a task that runs on the control node."""
        if self._connection.transport != "local":
            raise PartError("architecture has to be given for a host that is not the control node")
        if platform.system() != "Linux":
            raise PartError(f"the control node's programs are for Linux, and this is {platform.system()}")
        return platform.machine()

    def _place(
        self, wanted: binaries.Wanted, part: binaries.Part | None, dest: str, task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        common = {"name": wanted.name, "version": wanted.version, "sha256": part.sha256 if part else None, "dest": dest}
        result = self.module("tunnel_whisperer.tw.binary_host", common, task_vars)
        if part is None or self._task.check_mode or not result.get("missing"):
            return result
        self._display.vv(f"{wanted.label}: pushing it")
        with self.pushed(part.path) as incoming:
            return self.module("tunnel_whisperer.tw.binary_host", {**common, "incoming": incoming}, task_vars)
