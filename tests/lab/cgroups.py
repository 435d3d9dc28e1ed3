"""Cgroups: each host is booted in one of its own, and whatever a lab started can be found and ended by its cgroup."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from tests.lab.commands import LabError, wait_until


def hierarchies(mountinfo: str) -> list[Path]:
    """Find the trees that systemd keeps its units in: the unified one and, where there is one, ``name=systemd``."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if len(fields) < 5 or len(tail) < 3 or fields[3] != "/":
            continue
        if tail[0] == "cgroup2" or (tail[0] == "cgroup" and "name=systemd" in tail[2].split(",")):
            found.append(Path(fields[4]))
    return found


def roots() -> list[Path]:
    """Return this machine's cgroup trees."""
    found = hierarchies(Path("/proc/self/mountinfo").read_text())
    if not found:
        raise LabError("this machine has no cgroups that systemd could boot in", hint="mount cgroup2 on /sys/fs/cgroup")
    return found


def make(name: str) -> list[Path]:
    """Make a cgroup in every tree and return its folders."""
    folders = [root / name for root in roots()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def join(folders: list[Path]) -> None:
    """Move the calling process into the folders."""
    for folder in folders:
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def processes(name: str) -> list[int]:
    """List all processes in a cgroup and below."""
    found: set[int] = set()
    for root in roots():
        for folder, _, _ in os.walk(root / name):
            try:
                found.update(map(int, Path(folder, "cgroup.procs").read_text().split()))
            except OSError:
                continue  # it has just gone
    return sorted(found)


def kill(name: str) -> None:
    """End everything in a cgroup and below at once, and wait until it is gone."""

    def none_left() -> bool:
        left = processes(name)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    wait_until(none_left, 20, f"the processes of {name} to end", interval=0.02)


def remove(name: str, *, itself: bool = True) -> None:
    """Remove a cgroup's children and, unless told otherwise, the cgroup; nothing may live in it."""
    for root in roots():
        for folder, _, _ in os.walk(root / name, topdown=False):
            if itself or Path(folder) != root / name:
                wait_until(partial(_rmdir, Path(folder)), 10, f"the cgroup {folder} to be empty", interval=0.02)


def _rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
