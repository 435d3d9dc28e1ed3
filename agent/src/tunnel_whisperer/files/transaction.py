"""Changes to files, decided first and then made durably, all of them or none. Standard library only."""

import fcntl
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tunnel_whisperer.errors import ConfigError, RetryableError
from tunnel_whisperer.files.commit import LEFTOVER, commit
from tunnel_whisperer.files.paths import Found, open_directory, read_at
from tunnel_whisperer.files.steps import KEEP_OWNER, Directory, Owner, Step

_LOCK_PATIENCE = 20.0
"""Seconds another writer of the same directory is waited for."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, told to people: what a path was and will be; secrets are masked."""

    path: Path
    action: Literal["create", "change", "delete"]
    before: str
    after: str


class Transaction:
    """Plans changes to files and directories; `commit` makes them all, or none. Use it as a context manager."""

    def __init__(self) -> None:
        """Plan nothing yet."""
        self._directories: dict[Path, Directory] = {}
        self._steps: dict[Path, Step] = {}
        self._made: dict[Path, Step] = {}
        self._whole: dict[Path, Directory] = {}
        self._changes: dict[Path, Change] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for directory in self._directories.values():
            if directory.fd is not None:
                os.close(directory.fd)
        self._directories.clear()

    @property
    def changes(self) -> list[Change]:
        """What `commit` would do, in order."""
        return list(self._changes.values())

    def directory(self, path: Path, *, mode: int, owner: Owner = KEEP_OWNER) -> bool:
        """Have a directory with this mode and owner; its parent exists or was asked for. True if that is a change."""
        directory = self._at(path)
        found = directory.found
        if found is None:
            self._parent(directory)
        wanted = self._resolve(owner, found, directory.parent)
        if found is not None and _same(found, mode, wanted):
            return False
        self._made[path] = Step(directory, path.name, found is not None, b"", mode, wanted)
        before = "" if found is None else _attributes(found.st_mode, Owner(found.st_uid, found.st_gid))
        self._note(path, before, _attributes(mode, wanted), existed=found is not None)
        return True

    def whole(self, path: Path) -> None:
        """Have several changes of what is in this directory made in one step, which no power cut divides.

        Files that stay get another change time then. Where the file system cannot do that, each file is a step.
        """
        parent = self._at(path.parent, lock=True)
        directory = self._at(path, lock=True)
        directory.parent = parent
        self._whole[path] = directory

    def folders(self, path: Path, *, mode: int, owner: Owner = KEEP_OWNER) -> None:
        """Have a directory with its parents; those that are there already stay as they are."""
        if self._at(path).found is None and path not in self._made:
            self.folders(path.parent, mode=mode, owner=owner)
            self.directory(path, mode=mode, owner=owner)

    def read(self, path: Path) -> bytes | None:
        """Return a file's present content, None where there is no such file."""
        found = self._look(self._at(path.parent, lock=True), path.name)
        return found.content if found else None

    def names(self, path: Path) -> list[str]:
        """Return the names in a directory, sorted; none where it does not exist."""
        directory = self._at(path, lock=True)
        return [] if directory.fd is None else sorted(n for n in os.listdir(directory.fd) if not LEFTOVER.fullmatch(n))

    def folder_names(self, path: Path) -> list[str]:
        """Return the names of the directories in a directory, sorted; none where it does not exist."""
        fd = self._at(path, lock=True).fd
        return [n for n in self.names(path) if fd is not None and stat.S_ISDIR(os.lstat(n, dir_fd=fd).st_mode)]

    def write(
        self,
        path: Path,
        content: bytes,
        *,
        mode: int,
        owner: Owner = KEEP_OWNER,
        secret: bool = False,
        shown: tuple[str, str] | None = None,
    ) -> bool:
        """Have a file with this content, mode and owner; True if that is a change.

        `shown` replaces content in what is told of the change; a `secret` is never told.
        """
        directory = self._at(path.parent, lock=True)
        if directory.found is None and directory.path not in self._made:
            raise ConfigError("does not exist", where=str(directory.path), hint="the folder must be there first")
        found = self._look(directory, path.name)
        wanted = self._resolve(owner, found.stat if found else None, directory)
        same = found is not None and found.content == content
        if found is not None and same and _same(found.stat, mode, wanted):
            self._steps.pop(path, None)
            self._changes.pop(path, None)
            return False
        self._steps[path] = Step(directory, path.name, found is not None, content, mode, wanted)
        before, after = shown or _texts(found.content if found else None, content, secret=secret)
        if found is None or not _same(found.stat, mode, wanted):
            after = _attributes(mode, wanted) + after
            if found is not None:
                before = _attributes(found.stat.st_mode, Owner(found.stat.st_uid, found.stat.st_gid)) + before
        self._note(path, before, after, existed=found is not None)
        return True

    def remove(self, path: Path) -> bool:
        """Have no such file or directory (with all that is in it); True if that is a change."""
        directory = self._at(path.parent, lock=True)
        if directory.fd is None:
            return False
        try:
            os.lstat(path.name, dir_fd=directory.fd)
        except FileNotFoundError:
            return False
        self._steps[path] = Step(directory, path.name, existed=True)
        self._changes[path] = Change(path, "delete", "present\n", "")
        return True

    def commit(self) -> None:
        """Make every planned change; raises FatalError, with everything as it was, when one of them fails."""
        locked = [directory for directory in self._directories.values() if directory.locked]
        commit(self._made, self._steps, locked, self._whole)

    def _note(self, path: Path, before: str, after: str, *, existed: bool) -> None:
        self._changes[path] = Change(path, "change" if existed else "create", before, after)

    def _at(self, path: Path, *, lock: bool = False) -> Directory:
        directory = self._directories.get(path)
        if directory is None:
            fd = open_directory(path)
            directory = Directory(path, fd, os.fstat(fd) if fd is not None else None)
            self._directories[path] = directory
        if lock and not directory.locked:
            _lock(directory)
        return directory

    def _parent(self, directory: Directory) -> None:
        parent = self._at(directory.path.parent)
        if parent.found is None and parent.path not in self._made:
            raise ConfigError("does not exist", where=str(parent.path), hint="the folder must be there first")
        directory.parent = parent

    def _look(self, directory: Directory, name: str) -> Found | None:
        if directory.fd is None:
            return None
        return read_at(directory.fd, name, directory.path / name, trusted=directory.trusted)

    def _resolve(self, owner: Owner, found: os.stat_result | None, directory: Directory | None) -> Owner:
        """Say whom something will belong to: as asked, else as now, else (made by root) as its directory."""
        if found is not None:
            inherit = Owner(found.st_uid, found.st_gid)
        elif directory is None or os.geteuid() != 0:
            return owner
        elif directory.path in self._made:
            inherit = self._made[directory.path].owner
        elif directory.found is not None:
            inherit = Owner(directory.found.st_uid, directory.found.st_gid)
        else:
            return owner
        return Owner(inherit.uid if owner.uid is None else owner.uid, inherit.gid if owner.gid is None else owner.gid)


def _lock(directory: Directory) -> None:
    """Lock a directory, and make sure that it is the one at its path: who had it before may have replaced it."""
    while directory.fd is not None and not directory.locked:
        _wait_for(directory.fd, directory.path)
        now = open_directory(directory.path)
        if now is not None and os.path.samestat(os.fstat(now), os.fstat(directory.fd)):
            os.close(now)
            directory.locked = True
        else:
            os.close(directory.fd)
            directory.fd = now
            directory.found = None if now is None else os.fstat(now)


def _wait_for(fd: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise RetryableError("is being changed by another process", where=str(path)) from None
            time.sleep(0.05)
        else:
            return


def _same(found: os.stat_result, mode: int, owner: Owner) -> bool:
    return stat.S_IMODE(found.st_mode) == mode and (
        owner.uid in (None, found.st_uid) and owner.gid in (None, found.st_gid)
    )


def _attributes(mode: int, owner: Owner) -> str:
    shown = ":".join("unchanged" if number is None else str(number) for number in (owner.uid, owner.gid))
    return f"mode: {stat.S_IMODE(mode):04o}\nowner: {shown}\n"


def _texts(before: bytes | None, after: bytes, *, secret: bool) -> tuple[str, str]:
    """Return a file's content before and after, as told to people."""
    if secret:
        return ("" if before is None else "(secret)\n"), (
            "(secret)\n" if before in (None, after) else "(another secret)\n"
        )
    return (before or b"").decode("utf-8", "replace"), after.decode("utf-8", "replace")
