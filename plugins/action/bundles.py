# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the bundles that a server made onto the control node; documented in plugins/modules/bundles.py."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils import agent_source

LARGEST = 1024 * 1024


class ActionModule(ActionBase):
    """Runs on the controller only: all files of a server in one go, all of them or none."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset({"dir", "tenant", "users", "bundles"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the files, and say which they are."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        errors = agent_source.load("errors")
        folder, tenant = Path(self._task.args["dir"]).expanduser(), self._task.args["tenant"]
        users, bundles = self._task.args["users"], self._task.args["bundles"]
        try:
            return {**result, **self._write(folder, tenant, users, bundles)}
        except errors.TwError as error:
            hint = ""
            if bundles:
                names = ",".join(sorted(bundles))
                hint = f"\nThe users are admitted; to make the files anew: -e tw_renew_bundles=[{names}]"
            return {**result, "failed": True, "msg": f"Bundles of {tenant}: {error}{hint}"}

    def _write(
        self, folder: Path, tenant: str, users: Mapping[str, Any], bundles: Mapping[str, str | None]
    ) -> dict[str, Any]:
        files = agent_source.load("files")
        made, missing = [], []
        with files.Transaction() as transaction:
            if bundles:
                transaction.folders(folder, mode=0o700)
            for name, user in users.items():
                if name not in bundles and not user.get("enrolment"):
                    continue
                path = folder / file_name(tenant, name)
                if name in bundles:
                    content = decoded(name, bundles[name] or "")
                    transaction.write(path, content, mode=0o600, secret=True)
                    made.append({"tenant": tenant, "user": name, "file": str(path), **user["bundle"]})
                elif transaction.read(path) is None:
                    missing.append({"tenant": tenant, "user": name, "until": user["enrolment"]})
            changed = bool(transaction.changes)
            if changed and not self._task.check_mode:
                transaction.commit()
        return {"changed": changed, "made": made, "missing": missing}


def file_name(tenant: str, user: str) -> str:
    """Return what the file of a user's bundle is called; raises ConfigError for what cannot be in a name."""
    names, errors = agent_source.load("names"), agent_source.load("errors")
    fault = names.tenant_fault(tenant) or names.user_fault(user)
    if fault:
        raise errors.ConfigError(fault)
    return f"{tenant}-{user}.age"


def decoded(user: str, text: str) -> bytes:
    """Return the content of a file that came as base64; raises ConfigError."""
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error:
        content = None
    if content is None or len(content) > LARGEST:
        errors = agent_source.load("errors")
        raise errors.ConfigError("what the server returned is no bundle", where=user)
    return content
