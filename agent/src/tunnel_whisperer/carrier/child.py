"""A process that is kept alive: started, watched, restarted with backoff, and gone when we are.

One coroutine (`run`) owns the state; everybody else only reads it.
"""

import asyncio
import contextlib
import enum
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.carrier.tether import tethered
from tunnel_whisperer.errors import RetryableError, TwError


class ChildState(enum.Enum):
    """Where a child is in its life; `_LEGAL` says what may follow what."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    STOPPING = "stopping"


_LEGAL = {
    ChildState.STOPPED: {ChildState.STARTING},
    ChildState.STARTING: {ChildState.READY, ChildState.STOPPING},
    ChildState.READY: {ChildState.STOPPING},
    ChildState.STOPPING: {ChildState.WAITING, ChildState.STOPPED},
    ChildState.WAITING: {ChildState.STARTING, ChildState.STOPPED},
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A frozen child is found after at most `check_every` + 2 x `check_deadline`."""

    start: float = 10.0
    check_every: float = 2.0
    check_deadline: float = 2.5
    stop: float = 2.0


@dataclass(slots=True)
class SupervisedChild:
    """Keeps `command` running; `check` raises RetryableError while the child is not doing its work.

    `prepare` is awaited before each start, and may take its time.
    """

    command: Sequence[str]
    check: Callable[[float], Awaitable[None]]
    prepare: Callable[[], Awaitable[None]]
    on_line: Callable[[str], None]
    logger: logging.Logger
    timing: Timing = field(default_factory=Timing)
    backoff: Backoff = field(default_factory=Backoff)
    state: ChildState = field(default=ChildState.STOPPED, init=False)
    pid: int | None = field(default=None, init=False)
    restarts: int = field(default=0, init=False)
    last_error: str | None = field(default=None, init=False)
    _ready: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _unwanted: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _last_line: str = field(default="nothing", init=False)

    async def run(self) -> None:
        """Keep the child alive until cancelled; it is gone when this returns."""
        try:
            while True:
                began = time.monotonic()
                self.last_error = await self._live()
                delay = self.backoff.next(time.monotonic() - began)
                self._go(ChildState.WAITING)
                self.logger.warning("%s; starting it again in %.1f s", self.last_error, delay)
                await asyncio.sleep(delay)
                self.restarts += 1
        finally:
            self._go(ChildState.STOPPED)

    async def wait_ready(self) -> None:
        """Wait until the child does its work."""
        await self._ready.wait()

    def start_anew(self) -> None:
        """End the child that runs, if any; the next one is prepared as always."""
        self._unwanted.set()

    async def _live(self) -> str:
        """Let the child live one life; return in words why it ended."""
        self._go(ChildState.STARTING)
        try:
            await self.prepare()
            return await self._keep(await self._spawn())
        except OSError as error:
            return f"{self.command[0]} cannot be started: {error.strerror}"
        except TwError as error:
            return str(error)
        finally:
            self._go(ChildState.STOPPING)

    async def _keep(self, process: asyncio.subprocess.Process) -> str:
        """Look after a process until it ends or freezes; it is gone when this returns."""
        self.pid = process.pid
        self._unwanted.clear()
        frozen = False
        pump = asyncio.create_task(self._pump(process), name=f"log of child {process.pid}")
        watch = asyncio.create_task(self._watch(), name=f"watch of child {process.pid}")
        ended = asyncio.create_task(process.wait(), name=f"end of child {process.pid}")
        unwanted = asyncio.create_task(self._unwanted.wait(), name=f"wish that child {process.pid} ends")
        try:
            await asyncio.wait((watch, ended, unwanted), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await asyncio.wait((pump,), timeout=1.0)
                return f"{self.command[0]} ended {_how(ended.result())}, last saying: {self._last_line}"
            if unwanted.done():
                return f"{self.command[0]} was told to end"
            frozen = True
            return watch.result()
        finally:
            self._ready.clear()
            self._go(ChildState.STOPPING)
            watch.cancel()
            unwanted.cancel()
            await self._end(process.pid, ended, patience=0.0 if frozen else self.timing.stop)
            self.pid = None
            await asyncio.gather(watch, pump, unwanted, return_exceptions=True)

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *tethered(self.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    async def _watch(self) -> str:
        """Wait for the child to be ready, then check it for ever; return in words what is wrong with it."""
        try:
            async with asyncio.timeout(self.timing.start):
                await self._first_sign()
        except TimeoutError:
            return f"{self.command[0]} was not ready within {self.timing.start:g} s"
        self._go(ChildState.READY)
        self._ready.set()
        while True:
            await asyncio.sleep(self.timing.check_every)
            # Asked twice: when we were stopped ourselves, the first deadline has passed before the answer is read.
            if not await self._well() and not await self._well():
                return f"{self.command[0]} is frozen: it does not answer"

    async def _first_sign(self) -> None:
        delay = 0.005
        while not await self._well():
            await asyncio.sleep(delay)
            delay = min(2 * delay, 0.1)

    async def _well(self) -> bool:
        try:
            await self.check(self.timing.check_deadline)
        except RetryableError:
            return False
        return True

    async def _pump(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line longer than the buffer, which readline has dropped
                continue
            if not line:
                return
            self._last_line = line.decode("utf-8", "replace").rstrip()
            self.on_line(self._last_line)

    async def _end(self, pid: int, ended: "asyncio.Task[int]", *, patience: float) -> None:
        """End the child and its group: politely for `patience` seconds, then for good; a cancel cannot skip that."""
        cancelled: asyncio.CancelledError | None = None
        if not ended.done() and patience:
            _signal_group(pid, signal.SIGTERM)
            try:
                await asyncio.wait((ended,), timeout=patience)
            except asyncio.CancelledError as error:
                cancelled = error
        _signal_group(pid, signal.SIGKILL)
        while not ended.done():
            try:
                await asyncio.wait((ended,))
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled:
            raise cancelled

    def _go(self, state: ChildState) -> None:
        if state is self.state:
            return
        if state not in _LEGAL[self.state]:
            raise AssertionError(f"a child cannot go from {self.state.value} to {state.value}")
        self.state = state


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _how(code: int) -> str:
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
