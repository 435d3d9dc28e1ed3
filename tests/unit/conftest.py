"""Fixtures of the unit tests."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.leaks import SETTLE_ROUNDS, child_processes, open_descriptors, running_tasks


@pytest_asyncio.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fail the test that leaves a task running, a descriptor open or a child process behind."""
    tasks_before, open_before = running_tasks(), open_descriptors()
    yield
    for _ in range(SETTLE_ROUNDS):  # what was closed gets the few rounds of the loop that closing takes
        gc.collect()
        if running_tasks() <= tasks_before and not open_descriptors() - open_before:
            break
        await asyncio.sleep(0.01)
    tasks, opened = running_tasks() - tasks_before, open_descriptors() - open_before
    assert not tasks, f"still running: {sorted(task.get_name() for task in tasks)}"
    assert not opened, f"still open: {dict(opened)}"
    assert not child_processes(), f"child processes left: {child_processes()}"
