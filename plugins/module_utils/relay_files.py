# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders whose files are root's and readable by one group: compared with what they should say, and written whole."""

from __future__ import annotations

import grp
import os
import shutil
import stat
from collections.abc import Callable, Mapping

from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.durable import drafting

FOLDER_MODE = 0o750
FILE_MODE = 0o640


def read_text(path: str) -> str | None:
    """Return what a file says, or None when there is none; one that is no text says something else than it should."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


class Tree:
    """One folder and the files it should hold."""

    def __init__(self, folder: str, wanted: Mapping[str, str], group: str) -> None:
        self.folder = folder
        self.wanted = wanted
        self._group = group
        self._before = {name: read_text(f"{folder}/{name}") for name in wanted}
        self.pending = [
            name for name, text in wanted.items() if self._before[name] != text or not self._kept_safe(name)
        ]

    def _kept_safe(self, name: str) -> bool:
        status = os.stat(f"{self.folder}/{name}")
        try:
            group = grp.getgrnam(self._group).gr_gid
        except KeyError:
            return False
        return (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (FILE_MODE, 0, group)

    def make_folder(self) -> None:
        """Make the folder, or mend its owner and mode."""
        os.makedirs(self.folder, mode=FOLDER_MODE, exist_ok=True)
        shutil.chown(self.folder, "root", self._group)
        os.chmod(self.folder, FOLDER_MODE)

    def write(self) -> None:
        """Put the pending files in place: all written aside first, then moved one after the other."""
        with drafting() as drafts:
            for name in self.pending:
                drafts.write(f"{self.folder}/{name}", self.wanted[name].encode(), FILE_MODE, ("root", self._group))
            drafts.place()

    def diff(self, mask: Callable[[str], str]) -> list[dict[str, str]]:
        """Show what would be written, in Ansible's form."""
        return [
            {
                "before_header": f"{self.folder}/{name}",
                "after_header": f"{self.folder}/{name}",
                "before": mask(self._before[name] or ""),
                "after": mask(self.wanted[name]),
            }
            for name in self.pending
        ]
