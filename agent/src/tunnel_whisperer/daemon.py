"""What the two daemons share: their life from start to stop, signals, the log, and the service manager."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

import uvloop

from tunnel_whisperer import __version__
from tunnel_whisperer.control import ControlServer
from tunnel_whisperer.errors import ConfigError, RetryableError, TwError
from tunnel_whisperer.link.pool import LinkPool
from tunnel_whisperer.link.wake import WakeWatch
from tunnel_whisperer.logs import log_to_stderr
from tunnel_whisperer.notify import Notifier
from tunnel_whisperer.stream import StreamDialer
from tunnel_whisperer.tls_chain import Chain
from tunnel_whisperer.words import count

DRAIN = 3.0
"""Seconds that flows have to end by themselves when the daemon is told to stop."""
LOOK = 0.5
"""Seconds between looks at what the status says."""

_logger = logging.getLogger("tunnel_whisperer.daemon")


class Carrier(StreamDialer, Protocol):
    """A dialer that has a life of its own."""

    async def run(self) -> None:
        """Live until cancelled."""
        ...

    def status(self) -> dict[str, Any]:
        """Tell `state` and `last_error`."""
        ...

    @property
    def chain(self) -> Chain | None:
        """Our certificate in use, if there is one."""
        ...


class Daemon(ABC):
    """One daemon. Its parts are tasks of one group: whichever fails for good ends all of them."""

    kind = ""

    def __init__(self, name: str, runtime_dir: Path, carrier: Carrier) -> None:
        """`name` is the tenant or the context."""
        self.name = name
        self._runtime_dir = runtime_dir
        self._carrier = carrier
        self._since = time.time()
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._notifier = Notifier()
        self._parts: list[asyncio.Task[None]] = []
        self._group = asyncio.TaskGroup()
        self.ready = asyncio.Event()

    # -- what a daemon is made of --

    @property
    @abstractmethod
    def pool(self) -> LinkPool[Any]:
        """The links."""

    @abstractmethod
    async def start(self) -> None:
        """Listen; may raise TwError. Long-lived work goes into `part`."""

    @abstractmethod
    async def drain(self) -> None:
        """Take nothing new and wait until what flows has ended; cut short by the caller."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what `start` took."""

    @abstractmethod
    async def reread(self) -> Mapping[str, Any]:
        """Read the files again and follow them; return what changed. A broken file changes nothing: TwError."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """Tell what only this kind of daemon has."""

    @abstractmethod
    def condition(self) -> tuple[str, str]:
        """Tell the state in one word ("up" when everything is) and the reason in a few."""

    # -- its life --

    async def run(self) -> None:
        """Live until `stop`; raises TwError when it cannot."""
        _make_directory(self._runtime_dir)
        control = ControlServer(self._runtime_dir, {"status": self._status, "reload": self.reload})
        controlled = asyncio.Event()
        try:
            async with self._group:
                self.part("control", control.run(controlled.set))
                await controlled.wait()
                try:
                    self.part("carrier", self._carrier.run())
                    await self.start()
                    self.part("links", self.pool.run())
                    self.part("wake", WakeWatch().run(self._woken))
                    self.part("watchdog", self._notifier.beat(self.pool.answer))
                    self.part("status", self._tell())
                    self._notifier.ready(self._words())
                    self.ready.set()
                    _logger.info("tw %s %s %s is ready", __version__, self.kind, self.name)
                    await self._stopping.wait()
                    await self._drain()
                finally:
                    await self._end()
        except* TwError as failed:
            raise _first(failed) from None

    def stop(self) -> None:
        """Stop: nothing new, a little time for what flows, then the end."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    def reload_soon(self) -> None:
        """Reload, with nobody waiting for the answer."""
        self._group.create_task(self._reload_for_nobody(), name="reload")

    def part(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Let `work` go on for as long as the daemon lives."""
        self._parts.append(self._group.create_task(work, name=name))

    async def reload(self) -> Mapping[str, Any]:
        """Follow the files as they are now; raises TwError when they are no good, and goes on with the old ones."""
        async with self._reloading:
            self._notifier.reloading()
            try:
                answer = await self.reread()
            except TwError as error:
                _logger.error("not reloaded: %s", error)
                raise
            finally:
                self._notifier.ready(self._words())
            _logger.info("reloaded: %s", "; ".join(answer.get("changed", ())) or "nothing changed")
            return answer

    async def _reload_for_nobody(self) -> None:
        with contextlib.suppress(TwError):  # the log has it
            await self.reload()

    async def _drain(self) -> None:
        self._notifier.stopping()
        _logger.info("stopping")
        try:
            async with asyncio.timeout(DRAIN):
                await self.drain()
        except TimeoutError:
            _logger.info("flows are cut that did not end within %g s", DRAIN)

    async def _end(self) -> None:
        await self.close()
        for part in self._parts:
            part.cancel()

    def _woken(self, what: str) -> None:
        _logger.info("%s: looking after the links", what)
        self.pool.probe()

    # -- what it tells --

    async def _status(self) -> Mapping[str, Any]:
        state, reason = self.condition()
        return {
            "kind": self.kind,
            "name": self.name,
            "version": __version__,
            "pid": os.getpid(),
            "since": self._since,
            "state": state,
            "reason": reason,
            "carrier": self._carrier.status(),
            "links": self.pool.status(),
            **self.details(),
        }

    def _words(self) -> str:
        state, reason = self.condition()
        return f"{state}: {reason}"

    async def _tell(self) -> None:
        while True:
            self._notifier.status(self._words())
            await asyncio.sleep(LOOK)

    def links_condition(self) -> tuple[str, str]:
        """Tell how the links are, as a whole."""
        links = self.pool.links
        live = sum(link.live for link in links)
        if live:
            return "up", f"{live} of {count(len(links), 'link')}"
        if not links or not links[0].attempts:
            return "connecting", "first attempt"
        return "down", links[0].life.reason.removeprefix("after: ")


def run(make: Callable[[], Daemon]) -> int:
    """Be a daemon until a signal ends it; returns the exit code. Raises TwError when it cannot be one."""
    log_to_stderr()
    _take_all_descriptors()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(make))


async def _live(make: Callable[[], Daemon]) -> int:
    daemon = make()
    main = asyncio.current_task()
    assert main is not None
    forced = False

    def on_stop() -> None:
        nonlocal forced
        if daemon.stopping:
            forced = True
            _logger.warning("told to stop again: stopping at once")
            main.cancel()
        daemon.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.reload_soon)
    try:
        await daemon.run()
    except asyncio.CancelledError:
        if not forced:
            raise
        return 1
    return 0


def _first(group: BaseExceptionGroup[TwError]) -> TwError:
    """Return the first error of a group; a configuration error before others, which may only follow from it."""
    found: list[TwError] = []
    todo: list[BaseException] = [group]
    while todo:
        error = todo.pop(0)
        if isinstance(error, BaseExceptionGroup):
            todo.extend(error.exceptions)
        elif isinstance(error, TwError):
            found.append(error)
    return min(found, key=lambda error: not isinstance(error, ConfigError))


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RetryableError(f"cannot be made: {error.strerror}", where=str(path), hint="key 'runtime_dir'") from None


def _take_all_descriptors() -> None:
    """Allow ourselves as many descriptors as we may have: every flow takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
