"""Folders for the tests of changes to files, and how they look."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tunnel_whisperer.files import Transaction

NOBODY = 65534
ROOT = os.geteuid() == 0
"""Only root can give files away; for others the tests look at the refusal instead."""

Tree = dict[str, tuple[int, int, int, bytes | None]]


def tree(root: Path) -> Tree:
    """Everything below `root`: mode, owner and content."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        at = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(at.st_mode) else None
        found[str(path.relative_to(root))] = (stat.S_IMODE(at.st_mode), at.st_uid, at.st_gid, content)
    return found


def change(root: Path) -> Transaction:
    """A transaction of every kind of change: files and folders made, changed, mended and removed."""
    planned = Transaction()
    planned.write(root / "new", b"new", mode=0o600)
    planned.write(root / "old", b"newer", mode=0o600)
    planned.write(root / "mode", b"same", mode=0o600)
    planned.remove(root / "gone")
    planned.remove(root / "folder")
    planned.directory(root / "made", mode=0o750)
    planned.write(root / "made" / "inside", b"inside", mode=0o640)
    planned.directory(root / "mended", mode=0o700)
    return planned


def prepare(root: Path) -> None:
    root.mkdir(mode=0o750)
    for name, content in (("old", b"older"), ("mode", b"same"), ("gone", b"x"), ("kept", b"kept")):
        (root / name).write_bytes(content)
        (root / name).chmod(0o644)
    (root / "folder" / "deeper").mkdir(parents=True)
    (root / "folder" / "deeper" / "file").write_bytes(b"x")
    (root / "mended").mkdir(mode=0o755)
    (root / "context").mkdir(mode=0o750)
    for name in ("key", "certificate", "roots", "kept"):
        (root / "context" / name).write_bytes(name.encode())


def change_whole(root: Path) -> Transaction:
    """A transaction that replaces what is in one folder, and makes another."""
    planned = Transaction()
    for name in ("context", "new"):
        planned.whole(root / name)
        planned.directory(root / name, mode=0o710)
        planned.write(root / name / "key", b"new key", mode=0o600)
        planned.write(root / name / "certificate", b"new certificate", mode=0o644)
        planned.remove(root / name / "roots")
    return planned


def without_leftovers(found: Tree) -> Tree:
    return {name: entry for name, entry in found.items() if ".tw-" not in name}
