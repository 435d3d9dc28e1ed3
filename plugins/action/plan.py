# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks what the inventory says about users as a whole, on the controller; documented in plugins/modules/plan.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils import agent_source

ARGUMENTS = ("apps", "groups", "users", "servers", "client_hosts", "relay_hosts", "renew_bundles")


class ActionModule(ActionBase):
    """Runs on the controller only: it reads nothing and changes nothing, so check mode is the same."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(ARGUMENTS)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan, or all that is wrong with the inventory."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        inventory = agent_source.load("users.inventory")
        problems = agent_source.load("problems")
        given = self._task.args
        try:
            found = inventory.resolve(
                inventory.Inventory(
                    apps=given.get("apps"),
                    users=given.get("users"),
                    servers=given.get("servers"),
                    client_hosts=tuple(given.get("client_hosts") or ()),
                    relay_hosts=tuple(given.get("relay_hosts") or ()),
                    groups=given.get("groups"),
                    renew_bundles=listed(given.get("renew_bundles")),
                )
            )
        except problems.InvalidInputError as error:
            count = len(error.problems)
            heading = "The inventory has a problem" if count == 1 else f"The inventory has {count} problems"
            lines = "\n".join(f"- {problem}" for problem in error.problems)
            return {**result, "failed": True, "msg": f"{heading}:\n{lines}", "problems": list(error.problems)}
        return {**result, "changed": False, **found}


def listed(value: object) -> object:
    """Return a list that was given as in -e tw_renew_bundles=[bob,dora], which Ansible takes as text."""
    if not isinstance(value, str):
        return value
    return [word.strip() for word in value.strip(" []").split(",") if word.strip()]
