# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows which bundles were made, on the controller; documented in plugins/modules/handover.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.handover import lines


class ActionModule(ActionBase):
    """Runs on the controller only: it shows, and changes nothing."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset({"made", "missing"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show what was made."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        for line in lines(args["made"], args["missing"], would=self._task.check_mode):
            self._display.display(line)
        return {**result, "changed": False}
