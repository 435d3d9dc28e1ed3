# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the agent for machines that no playbook reaches; documented in plugins/modules/kit.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils import binaries
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import Cache, PartError
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.kit import Kit
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.pythons import Target, Wheelhouse


class ActionModule(ActionBase):
    """Runs on the controller only."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Have the kit in its folder."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _checked, args = self.validate_argument_spec(
            argument_spec={
                "cache": {"type": "path", "required": True},
                "dest": {"type": "path", "required": True},
                "pythons": {"type": "list", "elements": "str", "required": True},
                "architecture": {"type": "str", "required": True},
                "xray": {"type": "dict", "required": True, "options": binaries.SETTINGS},
            }
        )
        cache = Cache(Path(args["cache"]).expanduser(), self._display.display)
        try:
            wanted = binaries.Wanted.from_settings("xray", args["architecture"], args["xray"])
            kit = Kit([Wheelhouse(cache, Target(python, args["architecture"])) for python in args["pythons"]], wanted)
            path = Path(args["dest"]).expanduser() / kit.file_name
            changed = not path.exists()
            if changed and not self._task.check_mode:
                kit.write(path, binaries.obtain(cache, wanted))
        except (PartError, OSError) as error:
            raise AnsibleActionFail(str(error)) from error
        return {**result, "changed": changed, "path": str(path)}
