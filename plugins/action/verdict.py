# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what the proofs of all clients come to, on the controller; documented in plugins/modules/verdict.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.verdict import judge


class ActionModule(ActionBase):
    """Runs on the controller only: it shows, and changes nothing."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset({"clients", "proofs", "away"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show the table; fail when anything of it is wrong."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        verdict = judge(args["clients"], args["proofs"], args.get("away") or {})
        for line in verdict.lines:
            self._display.display(line)
        told = {**result, "changed": False, "not_tried": list(verdict.untried)}
        if not verdict.failed:
            return told
        problems = "\n".join(f"- {line}" for line in verdict.failed)
        return {**told, "failed": True, "msg": f"Not everything works:\n{problems}", "problems": list(verdict.failed)}
