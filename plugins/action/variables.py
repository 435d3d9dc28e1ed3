# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the names of a host's variables, on the controller; documented in plugins/modules/variables.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.cache import COLLECTION
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.spelling import known_variables, misspelt


class ActionModule(ActionBase):
    """Runs on the controller only: it reads nothing and changes nothing, so check mode is the same."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return success, or every name that is nearly one of ours."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        wrong = misspelt(task_vars or {}, known_variables(COLLECTION / "roles"))
        if not wrong:
            return {**result, "changed": False}
        host = (task_vars or {}).get("inventory_hostname", "")
        lines = (f"- {name}: there is no such variable; did you mean {meant}?" for name, meant in wrong.items())
        return {
            **result,
            "failed": True,
            "msg": f"Variables of {host} are misspelt:\n" + "\n".join(lines),
            "misspelt": wrong,
        }
