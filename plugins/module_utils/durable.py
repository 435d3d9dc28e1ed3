# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and links that are put in place whole or not at all, and are still there after a power cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO


class Drafts:
    """Files written beside where they belong, to be moved there one after the other."""

    def __init__(self) -> None:
        self._drafts: list[tuple[str, str]] = []

    def write(self, path: str, content: bytes | IO[bytes], mode: int, owner: tuple[str, str] | None = None) -> str:
        """Write what is to be at `path`, whose folder exists; `owner` is a user and a group. Return where it is."""
        handle, draft = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}.")
        self._drafts.append((draft, path))
        with os.fdopen(handle, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                shutil.copyfileobj(content, file)
            if owner:
                shutil.chown(draft, *owner)
            os.chmod(draft, mode)
            file.flush()
            os.fsync(file.fileno())
        return draft

    def place(self) -> None:
        """Move all of them to where they belong."""
        folders = {os.path.dirname(path) for _draft, path in self._drafts}
        while self._drafts:
            os.replace(*self._drafts[0])
            del self._drafts[0]
        for folder in folders:
            _keep(folder)

    def remove(self) -> None:
        """Remove those that were not moved."""
        for draft, _path in self._drafts:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)


@contextlib.contextmanager
def drafting() -> Iterator[Drafts]:
    """Hold drafts for as long as the block runs; those it did not place are removed."""
    drafts = Drafts()
    try:
        yield drafts
    finally:
        drafts.remove()


def point(link: str, target: str) -> None:
    """Let a link lead to a target, with no moment in which there is none."""
    part = f"{link}.part"
    if os.path.lexists(part):
        os.unlink(part)
    os.symlink(target, part)
    os.replace(part, link)
    _keep(os.path.dirname(link))


def _keep(folder: str) -> None:
    """Have what a folder lists written to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
