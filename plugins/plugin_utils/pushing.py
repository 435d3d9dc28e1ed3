# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins that push something have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class Pushing(ActionBase):
    """Runs modules and carries files to hosts."""

    def module(self, name: str, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run a module on the host and return its result."""
        result: dict[str, Any] = self._execute_module(module_name=name, module_args=args, task_vars=task_vars)
        return result

    @contextmanager
    def pushed(self, path: Path) -> Iterator[str]:
        """Bring a file to the host for as long as the block runs; yields its path there."""
        folder = self._make_tmp_path()
        try:
            remote = self._connection._shell.join_path(folder, path.name)
            self._transfer_file(str(path), remote)
            self._fixup_perms2((folder, remote))
            yield remote
        finally:
            self._remove_tmp_path(folder, force=True)
