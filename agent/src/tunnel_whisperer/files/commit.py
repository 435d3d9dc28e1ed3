"""How planned changes are made: durably, all of them or none. Standard library only.

Everything is written beside its place first. Then each entry is put in place by one rename, and a directory that is to
change as a whole by one as well. What a run that was killed leaves beside is swept away by the next.
"""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from tunnel_whisperer.errors import FatalError
from tunnel_whisperer.files.exchange import exchange
from tunnel_whisperer.files.steps import Directory, Owner, Step

LEFTOVER = re.compile(r"\.[^/]+\.tw-(new|old)-[0-9a-f]{12}")
"""Names of what is written beside its place."""


@dataclass(slots=True)
class _Undo:
    """What takes back the steps done so far, what remains to be tidied once all are done, and where we are."""

    back: list[Callable[[], object]] = field(default_factory=list)
    tidy: list[Callable[[], object]] = field(default_factory=list)
    touched: list[int] = field(default_factory=list)
    place: Path = Path()


def commit(
    made: Mapping[Path, Step], steps: Mapping[Path, Step], locked: Iterable[Directory], whole: Mapping[Path, Directory]
) -> None:
    """Make the directories in `made` and carry out the `steps`; raises FatalError, with everything as it was.

    `locked` are the directories that nobody else is at, `whole` those whose content is to change in one step.
    """
    undo = _Undo()
    try:
        _carry_out(made, steps, locked, whole, undo)
    except BaseException as error:
        for action in reversed(undo.back):
            with contextlib.suppress(OSError):
                action()
        if isinstance(error, OSError):
            where = str(undo.place)
            raise FatalError(f"cannot be written, nothing was changed: {error.strerror}", where=where) from error
        raise
    for action in undo.tidy:
        with contextlib.suppress(OSError):
            action()


def _carry_out(
    made: Mapping[Path, Step],
    steps: Mapping[Path, Step],
    locked: Iterable[Directory],
    whole: Mapping[Path, Directory],
    undo: _Undo,
) -> None:
    for directory in locked:
        undo.place = directory.path
        _sweep(directory.descriptor())
    sets = {path: _inside(path, steps) for path in whole if _as_one(whole[path], made, steps)}
    for undo.place, step in made.items():
        if undo.place not in sets:
            _make(step, undo)
    swaps: list[tuple[Path, Callable[[_Undo], None]]] = []
    for undo.place, inside in sets.items():
        swaps.append((undo.place, _stage_whole(whole[undo.place], made.get(undo.place), inside, undo)))
    for undo.place, step in steps.items():
        if undo.place.parent not in sets:
            swaps.append((undo.place, _stage(step, undo)))
    for undo.place, swap in swaps:
        swap(undo)
    for fd in dict.fromkeys(undo.touched):
        os.fsync(fd)


def _inside(directory: Path, steps: Mapping[Path, Step]) -> dict[str, Step]:
    return {step.name: step for path, step in steps.items() if path.parent == directory}


def _as_one(directory: Directory, made: Mapping[Path, Step], steps: Mapping[Path, Step]) -> bool:
    """Say whether a directory is to be replaced: a single change is one step anyhow, and leaves other files alone."""
    if any(path.parent == directory.path for path in made):
        return False
    if directory.fd is None:
        return directory.path in made
    if len(_inside(directory.path, steps)) < 2:
        return False
    if any(stat.S_ISDIR(os.lstat(name, dir_fd=directory.fd).st_mode) for name in os.listdir(directory.fd)):
        return False
    assert directory.parent is not None
    return _exchanges(directory.parent.descriptor())


def _exchanges(at: int) -> bool:
    """Say whether two entries can be exchanged in this file system."""
    names = (_beside("one", "new"), _beside("other", "new"))
    try:
        for name in names:
            os.mkdir(name, 0o700, dir_fd=at)
        return exchange(at, *names)
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=at)


def _make(step: Step, undo: _Undo) -> None:
    directory = step.directory
    if not step.existed:
        assert directory.parent is not None
        parent = directory.parent.descriptor()
        os.mkdir(step.name, 0o700, dir_fd=parent)
        undo.back.append(partial(os.rmdir, step.name, dir_fd=parent))
        undo.touched.append(parent)
        directory.fd = os.open(step.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        directory.found = os.fstat(directory.fd)
        _give(directory.fd, step.mode, step.owner)
        return
    fd, found = directory.descriptor(), directory.found
    assert found is not None
    undo.back.append(partial(os.fchmod, fd, stat.S_IMODE(found.st_mode)))
    undo.back.append(partial(os.fchown, fd, found.st_uid, found.st_gid))
    _give(fd, step.mode, step.owner)


def _stage(step: Step, undo: _Undo) -> Callable[[_Undo], None]:
    """Write the new content beside its place; nothing but this process can open it yet."""
    at = step.directory.descriptor()
    undo.touched.append(at)
    if step.content is None:
        return partial(_swap_out, at, step.name)
    temporary = _beside(step.name, "new")
    undo.back.append(partial(os.unlink, temporary, dir_fd=at))
    _write(at, temporary, step)
    return partial(_swap, at, temporary, step.name, step.existed)


def _stage_whole(
    directory: Directory, attributes: Step | None, steps: Mapping[str, Step], undo: _Undo
) -> Callable[[_Undo], None]:
    """Put together beside a directory what it is to be: what stays under a second name, what changes as new files."""
    assert directory.parent is not None
    parent, name = directory.parent.descriptor(), directory.path.name
    temporary = _beside(name, "new")
    os.mkdir(temporary, 0o700, dir_fd=parent)
    undo.back.append(partial(_remove_tree, parent, temporary))
    undo.touched.append(parent)
    at = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        for kept in [] if directory.fd is None else os.listdir(directory.fd):
            if kept not in steps:
                os.link(kept, kept, src_dir_fd=directory.fd, dst_dir_fd=at, follow_symlinks=False)
        for step in steps.values():
            if step.content is not None:
                _write(at, step.name, step)
        if attributes is not None:
            _give(at, attributes.mode, attributes.owner)
        elif directory.found is not None:
            found = directory.found
            _give(at, stat.S_IMODE(found.st_mode), Owner(found.st_uid, found.st_gid))
        os.fsync(at)
    finally:
        os.close(at)
    return partial(_swap, parent, temporary, name, directory.fd is not None)


def _write(at: int, name: str, step: Step) -> None:
    assert step.content is not None
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
    try:
        left = memoryview(step.content)
        while left:
            left = left[os.write(fd, left) :]
        _give(fd, step.mode, step.owner)
        os.fsync(fd)
    finally:
        os.close(fd)


def _swap(at: int, temporary: str, name: str, existed: bool, undo: _Undo) -> None:
    """Put a file or directory in its place."""
    if not existed:
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
        undo.back.append(partial(os.rename, name, temporary, src_dir_fd=at, dst_dir_fd=at))
    elif exchange(at, temporary, name):
        undo.back.append(partial(exchange, at, temporary, name))
        undo.tidy.append(partial(_remove_tree, at, temporary))
    else:
        old = _beside(name, "old")
        os.link(name, old, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
        undo.back.append(partial(_restore, at, old, name))
        undo.tidy.append(partial(os.unlink, old, dir_fd=at))
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)


def _swap_out(at: int, name: str, undo: _Undo) -> None:
    """Take a file or directory from its place."""
    old = _beside(name, "old")
    os.rename(name, old, src_dir_fd=at, dst_dir_fd=at)
    undo.back.append(partial(os.rename, old, name, src_dir_fd=at, dst_dir_fd=at))
    undo.tidy.append(partial(_remove_tree, at, old))


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
        if LEFTOVER.fullmatch(name):
            with contextlib.suppress(OSError):
                _remove_tree(at, name)


def _beside(name: str, kind: Literal["new", "old"]) -> str:
    return f".{name[:180]}.tw-{kind}-{secrets.token_hex(6)}"


def _give(fd: int, mode: int, owner: Owner) -> None:
    """Hand a file or directory to its owner and set its mode; in this order, as changing hands can drop bits."""
    found = os.fstat(fd)
    if (owner.uid, owner.gid) != (found.st_uid, found.st_gid):
        os.fchown(fd, -1 if owner.uid is None else owner.uid, -1 if owner.gid is None else owner.gid)
    os.fchmod(fd, mode)
