"""Changes to files, decided first and then made durably, all of them or none. Standard library only."""

import contextlib
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tunnel_whisperer.errors import ConfigError, FatalError, RetryableError
from tunnel_whisperer.files.paths import Found, only_ours, open_directory, read_at

_LOCK_PATIENCE = 20.0
"""Seconds another writer of the same directory is waited for."""

_LEFTOVER = re.compile(r"\.[^/]+\.tw-(new|old)-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a file belongs to. None keeps what is there; a new file then belongs to whom its directory belongs to."""

    uid: int | None = None
    gid: int | None = None


KEEP_OWNER = Owner()


@dataclass(frozen=True, slots=True)
class Change:
    """One change, told to people: what a path was and will be; secrets are masked."""

    path: Path
    action: Literal["create", "change", "delete"]
    before: str
    after: str


@dataclass(slots=True)
class _Directory:
    path: Path
    fd: int | None
    found: os.stat_result | None
    """Both None for a directory that is still to be made."""
    parent: "_Directory | None" = None
    locked: bool = False

    @property
    def trusted(self) -> bool:
        return self.found is None or only_ours(self.found)

    def descriptor(self) -> int:
        if self.fd is None:
            raise FatalError("does not exist", where=str(self.path))
        return self.fd


@dataclass(frozen=True, slots=True)
class _Step:
    """A planned change of one entry: a new content, new attributes of a directory, or (content None) its removal."""

    directory: _Directory
    name: str
    existed: bool
    content: bytes | None = None
    mode: int = 0
    owner: Owner = KEEP_OWNER


@dataclass(slots=True)
class _Undo:
    """What takes back the steps done so far, and what remains to be tidied once all are done."""

    back: list[Callable[[], None]] = field(default_factory=list)
    tidy: list[Callable[[], None]] = field(default_factory=list)
    touched: list[int] = field(default_factory=list)


class Transaction:
    """Plans changes to files and directories; `commit` makes them all, or none. Use it as a context manager."""

    def __init__(self) -> None:
        """Plan nothing yet."""
        self._directories: dict[Path, _Directory] = {}
        self._steps: dict[Path, _Step] = {}
        self._made: dict[Path, _Step] = {}
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
        if found is None and directory.parent is None:
            self._parent(directory)
        wanted = self._resolve(owner, found, directory.parent)
        if found is not None and _same(found, mode, wanted):
            return False
        self._made[path] = _Step(directory, path.name, found is not None, b"", mode, wanted)
        before = "" if found is None else _attributes(found.st_mode, Owner(found.st_uid, found.st_gid))
        self._note(path, before, _attributes(mode, wanted), existed=found is not None)
        return True

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
        return [] if directory.fd is None else sorted(n for n in os.listdir(directory.fd) if not _LEFTOVER.fullmatch(n))

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
        self._steps[path] = _Step(directory, path.name, found is not None, content, mode, wanted)
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
        self._steps[path] = _Step(directory, path.name, existed=True)
        self._changes[path] = Change(path, "delete", "present\n", "")
        return True

    def commit(self) -> None:
        """Make every planned change; raises FatalError, with everything as it was, when one of them fails."""
        undo = _Undo()
        place = ""
        try:
            for path, step in self._made.items():
                place = str(path)
                self._make(step, undo)
            staged = []
            for path, step in self._steps.items():
                place = str(path)
                staged.append((path, step, self._stage(step, undo)))
            for path, step, temporary in staged:
                place = str(path)
                _swap(step, temporary, undo)
            for fd in dict.fromkeys(undo.touched):
                os.fsync(fd)
        except BaseException as error:
            for action in reversed(undo.back):
                with contextlib.suppress(OSError):
                    action()
            if isinstance(error, OSError):
                raise FatalError(f"cannot be written, nothing was changed: {error.strerror}", where=place) from error
            raise
        for action in undo.tidy:
            with contextlib.suppress(OSError):
                action()

    def _note(self, path: Path, before: str, after: str, *, existed: bool) -> None:
        self._changes[path] = Change(path, "change" if existed else "create", before, after)

    def _at(self, path: Path, *, lock: bool = False) -> _Directory:
        directory = self._directories.get(path)
        if directory is None:
            fd = open_directory(path)
            directory = _Directory(path, fd, os.fstat(fd) if fd is not None else None)
            self._directories[path] = directory
        if lock and not directory.locked and directory.fd is not None:
            _lock(directory.fd, path)
            directory.locked = True
        return directory

    def _parent(self, directory: _Directory) -> None:
        parent = self._at(directory.path.parent)
        if parent.found is None and parent.path not in self._made:
            raise ConfigError("does not exist", where=str(parent.path), hint="the folder must be there first")
        directory.parent = parent

    def _look(self, directory: _Directory, name: str) -> Found | None:
        if directory.fd is None:
            return None
        return read_at(directory.fd, name, directory.path / name, trusted=directory.trusted)

    def _resolve(self, owner: Owner, found: os.stat_result | None, directory: _Directory | None) -> Owner:
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

    def _make(self, step: _Step, undo: _Undo) -> None:
        directory = step.directory
        if not step.existed:
            assert directory.parent is not None
            parent = directory.parent.descriptor()
            os.mkdir(step.name, 0o700, dir_fd=parent)
            undo.back.append(lambda: os.rmdir(step.name, dir_fd=parent))
            undo.touched.append(parent)
            directory.fd = os.open(step.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            directory.found = os.fstat(directory.fd)
            _give(directory.fd, step)
            return
        fd, found = directory.descriptor(), directory.found
        assert found is not None
        undo.back.append(lambda: os.fchmod(fd, stat.S_IMODE(found.st_mode)))
        undo.back.append(lambda: os.fchown(fd, found.st_uid, found.st_gid))
        _give(fd, step)

    def _stage(self, step: _Step, undo: _Undo) -> str | None:
        """Write the new content beside its place; nothing but this process can open it yet."""
        at = step.directory.descriptor()
        if at not in undo.touched:
            _sweep(at)
            undo.touched.append(at)
        if step.content is None:
            return None
        temporary = _beside(step.name, "new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
        undo.back.append(lambda: os.unlink(temporary, dir_fd=at))
        with open(fd, "wb") as file:
            file.write(step.content)
            file.flush()
            _give(fd, step)
            os.fsync(fd)
        return temporary


def _swap(step: _Step, temporary: str | None, undo: _Undo) -> None:
    at, name = step.directory.descriptor(), step.name
    old = _beside(name, "old")
    if temporary is None:
        os.rename(name, old, src_dir_fd=at, dst_dir_fd=at)
        undo.back.append(lambda: os.rename(old, name, src_dir_fd=at, dst_dir_fd=at))
        undo.tidy.append(lambda: _remove_tree(at, old))
        return
    if step.existed:
        os.link(name, old, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
        undo.back.append(lambda: _restore(at, old, name))
        undo.tidy.append(lambda: os.unlink(old, dir_fd=at))
    os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    if not step.existed:
        undo.back.append(lambda: os.unlink(name, dir_fd=at))


def _lock(fd: int, path: Path) -> None:
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


def _restore(at: int, old: str, name: str) -> None:
    os.rename(old, name, src_dir_fd=at, dst_dir_fd=at)
    with contextlib.suppress(FileNotFoundError):  # a rename between two names of one file leaves both
        os.unlink(old, dir_fd=at)


def _remove_tree(at: int, name: str) -> None:
    """Remove a file or a directory with all in it, through descriptors, following no link."""
    if not stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
        os.unlink(name, dir_fd=at)
        return
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        for inner in os.listdir(fd):
            _remove_tree(fd, inner)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=at)


def _sweep(at: int) -> None:
    """Remove what a run that was killed left behind; the directory is locked, so no other run is at it."""
    for name in os.listdir(at):
        if _LEFTOVER.fullmatch(name):
            with contextlib.suppress(OSError):
                _remove_tree(at, name)


def _beside(name: str, kind: Literal["new", "old"]) -> str:
    return f".{name[:180]}.tw-{kind}-{secrets.token_hex(6)}"


def _give(fd: int, step: _Step) -> None:
    """Hand a file or directory to its owner and set its mode; in this order, as changing hands can drop bits."""
    found = os.fstat(fd)
    if (step.owner.uid, step.owner.gid) != (found.st_uid, found.st_gid):
        os.fchown(
            fd, -1 if step.owner.uid is None else step.owner.uid, -1 if step.owner.gid is None else step.owner.gid
        )
    os.fchmod(fd, step.mode)


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
