"""What a test may have left behind: tasks, descriptors, child processes."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

SETTLE_ROUNDS = 20


def open_descriptors() -> Counter[str]:
    """What this process has open, by what it leads to."""
    found: Counter[str] = Counter()
    for entry in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{entry}")] += 1
        except FileNotFoundError:  # the descriptor that listed the folder
            continue
    return found


def running_tasks() -> set[asyncio.Task[object]]:
    """All tasks of this loop but the one that asks."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current and not task.done()}


def child_processes() -> list[str]:
    """The ids of this process's children."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
