"""The supervised child: its states, restarts and end, with small real programs for children."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.until import until
from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.carrier.child import ChildState, SupervisedChild, Timing
from tunnel_whisperer.errors import ConfigError, RetryableError

pytestmark = pytest.mark.usefixtures("no_leaks")

FAST = Timing(start=3.0, check_every=0.05, check_deadline=0.1, stop=0.5)
SLEEP = "import time; print('hello', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('hello', flush=True); time.sleep(60)"
)
DYING = "import sys; print('my last words'); sys.exit(3)"
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
time.sleep(60)
"""


class Stage:
    """A child whose health the test decides; it is ready once it has said hello."""

    def __init__(self, script: str, *, timing: Timing = FAST) -> None:
        self.lines: list[str] = []
        self.well = True
        self.prepared = 0
        self.broken: Exception | None = None
        self.child = SupervisedChild(
            command=(sys.executable, "-c", script),
            check=self.check,
            prepare=self.prepare,
            on_line=self.lines.append,
            logger=logging.getLogger("test"),
            timing=timing,
            backoff=Backoff(low=0.01, high=0.02),
        )

    async def check(self, _deadline: float) -> None:
        if not self.well or "hello" not in self.lines:
            raise RetryableError("not well")

    async def prepare(self) -> None:
        self.prepared += 1
        if self.broken:
            raise self.broken

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[SupervisedChild]:
        task = asyncio.create_task(self.child.run())
        try:
            yield self.child
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert self.child.state is ChildState.STOPPED
        assert self.child.pid is None


async def test_it_is_ready_when_its_check_passes() -> None:
    stage = Stage(SLEEP)
    async with stage.running() as child:
        await child.wait_ready()
        assert child.state is ChildState.READY
        assert child.restarts == 0
        assert child.last_error is None
    assert stage.prepared == 1


async def test_a_child_that_ends_is_started_again_and_its_last_words_are_kept() -> None:
    stage = Stage(DYING)
    async with stage.running() as child:
        await until(lambda: child.restarts >= 2)
        assert child.last_error == f"{sys.executable} ended with exit code 3, last saying: my last words"


async def test_a_child_that_is_killed_is_started_again() -> None:
    stage = Stage(SLEEP)
    async with stage.running() as child:
        await child.wait_ready()
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: child.restarts == 1)
        assert child.last_error
        assert "by signal SIGKILL" in child.last_error
        await child.wait_ready()


async def test_a_child_that_fails_its_check_twice_is_replaced_at_once() -> None:
    stage = Stage(SLEEP)
    async with stage.running() as child:
        await child.wait_ready()
        before = child.pid
        stage.well = False
        await until(lambda: child.restarts == 1)
        assert child.last_error == f"{sys.executable} is frozen: it does not answer"
        stage.well = True
        await child.wait_ready()
        assert child.pid != before


async def test_a_child_that_never_gets_ready_is_replaced() -> None:
    stage = Stage(SLEEP, timing=Timing(start=0.2, check_every=0.05, check_deadline=0.1, stop=0.5))
    stage.well = False
    async with stage.running() as child:
        await until(lambda: child.restarts == 1)
        assert child.last_error == f"{sys.executable} was not ready within 0.2 s"


@pytest.mark.parametrize("broken", [ConfigError("no such key", where="file"), OSError(2, "No such file")])
async def test_what_cannot_be_prepared_is_tried_again(broken: Exception) -> None:
    stage = Stage(SLEEP)
    stage.broken = broken
    async with stage.running() as child:
        await until(lambda: stage.prepared >= 3)
        assert child.last_error in {"file: no such key", f"{sys.executable} cannot be started: No such file"}
        stage.broken = None
        await child.wait_ready()


async def test_a_program_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    stage = Stage(SLEEP)
    stage.child.command = (str(tmp_path / "nothing"),)
    async with stage.running() as child:
        await until(lambda: child.restarts == 1)
        assert child.last_error
        assert child.last_error.endswith("nothing: No such file or directory")


async def test_a_child_that_does_not_want_to_end_is_killed() -> None:
    stage = Stage(STUBBORN)
    async with stage.running() as child:
        await child.wait_ready()
        pid = child.pid
    assert pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_second_cancel_does_not_leave_the_child_behind() -> None:
    stage = Stage(STUBBORN)
    task = asyncio.create_task(stage.child.run())
    await stage.child.wait_ready()
    pid = stage.child.pid
    assert pid
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_cancel_while_a_frozen_child_is_replaced_is_not_lost() -> None:
    stage = Stage(SLEEP)
    task = asyncio.create_task(stage.child.run())
    await stage.child.wait_ready()
    stage.well = False
    await until(lambda: stage.child.state is not ChildState.READY)
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_the_childs_children_go_with_it() -> None:
    stage = Stage(PARENT)
    async with stage.running() as child:
        await child.wait_ready()
        assert child.pid
        (grandchild,) = children(child.pid)
    assert "sleep" not in command_line(grandchild)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def test_lines_longer_than_any_buffer_do_not_stop_the_log() -> None:
    stage = Stage("import time; print('x' * 1_000_000); print('hello', flush=True); time.sleep(60)")
    async with stage.running() as child:
        await child.wait_ready()


def test_backoff_grows_is_jittered_and_starts_over_after_a_stable_life() -> None:
    backoff = Backoff(low=0.2, high=15.0, stable=30.0, random=lambda: 1.0)
    grown = [0.3, 0.5, 0.7, 1.0, 1.5, 2.3, 3.4, 5.1, 7.7, 11.5, 15.0, 15.0]
    assert [round(backoff.next(0.0), 1) for _ in grown] == grown
    assert backoff.next(31.0) == pytest.approx(0.3)
    assert Backoff(random=lambda: 0.0).next(0.0) == pytest.approx(0.2)
