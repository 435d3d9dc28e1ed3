# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node's half of module release: build the wheels, and push them where they are missing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import Cache, PartError
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.pushing import Pushing
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.pythons import Target, Wheelhouse, sha256

_ASK = "import json, platform; print(json.dumps([platform.python_version(), platform.machine()]))"


class ActionModule(Pushing, ActionBase):
    """Names the release, compares, builds, pushes."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(
            argument_spec={
                "cache": {"type": "path", "required": True},
                "python": {"type": "path", "required": True},
                "python_version": {"type": "str"},
                "architecture": {"type": "str"},
                "releases": {"type": "path"},
                "current": {"type": "path"},
                "command": {"type": "path"},
            },
            required_together=(("releases", "current", "command"),),
        )
        cache = Cache(Path(args["cache"]).expanduser(), self._display.display)
        try:
            house = Wheelhouse(cache, self._target(args))
            return self._install(house, args, task_vars)
        except PartError as error:
            raise AnsibleActionFail(str(error)) from error

    def _target(self, args: dict[str, Any]) -> Target:
        version, machine = args["python_version"], args["architecture"]
        if not (version and machine):
            if self._connection.transport != "local":
                raise PartError(
                    "python_version and architecture have to be given for a host that is not the control node"
                )
            version, machine = _own_python(args["python"])
        return Target(".".join(version.split(".")[:2]), machine)

    def _install(self, house: Wheelhouse, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        if args["releases"] is None:
            if not self._task.check_mode:
                house.archive()
            return {"changed": False, "release": house.release}
        common = {key: args[key] for key in ("python", "releases", "current", "command")}
        common |= {"release": house.release, "version": house.source.version, "python_version": house.target.python}
        result = self.module("tunnel_whisperer.tw.release_host", common, task_vars)
        if result.get("missing") and not self._task.check_mode:
            archive = house.archive()
            with self.pushed(archive) as incoming:
                more = {"archive": incoming, "sha256": sha256(archive)}
                result = self.module("tunnel_whisperer.tw.release_host", common | more, task_vars)
        return {**result, "release": house.release}


def _own_python(python: str) -> tuple[str, str]:
    try:
        answer = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PartError(f"{python} cannot be run as a Python: {error}") from error
    version, machine = json.loads(answer.stdout)
    return version, machine
