"""The control channel, the server's end: requests of a user over its own link, one line each, one after the other.

docs/protocol.md has what can be asked. What is meant to hurt here is bounded: how long a line may be, how long a
channel may stay silent or leave an answer unread, how many channels and how many requests there may be.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import asyncssh

from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.states import Clock

SUBSYSTEM = "tw"
LONGEST = 64 * 1024
"""Bytes of a request with its end of line."""

CHANNELS = 4
"""So many control channels may one connection have at once."""

REQUESTS = 30
"""So many requests may one connection make within `PERIOD`."""

PERIOD = 60.0
PATIENCE = 10.0
"""Seconds a channel may take to ask, and to read an answer."""

WINDOW = 2 * LONGEST

Answer = Callable[[bytes], Awaitable[bytes]]
Own = Callable[[Coroutine[Any, Any, None]], object]
"""Takes care of a task."""


class Allowance:
    """How many more requests a connection may make."""

    def __init__(self, clock: Clock) -> None:
        """Begin with all."""
        self._clock = clock
        self._since = clock()
        self._made = 0

    def take(self) -> bool:
        """Take one; say whether there was one."""
        now = self._clock()
        if now - self._since >= PERIOD:
            self._since, self._made = now, 0
        self._made += 1
        return self._made <= REQUESTS


class ControlChannel(asyncssh.SSHServerSession[bytes]):
    """One channel. `answer` answers a request, `refuse` puts what is wrong with one into an answer."""

    def __init__(
        self,
        answer: Answer,
        refuse: Callable[[str], bytes],
        own: Own,
        allowance: Allowance,
        closed: Callable[["ControlChannel"], None],
    ) -> None:
        """Tell `closed` at the end."""
        self._answer = answer
        self._refuse = refuse
        self._own = own
        self._allowance = allowance
        self._closed = closed
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._read = asyncio.Event()
        self._read.set()
        self._got = bytearray()
        self._busy = False
        self._ended = False

    # -- said by asyncssh --

    def connection_made(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
        """Begin; there is so much time to say what is wanted."""
        ssh.refuse_environment(chan)
        chan.set_write_buffer_limits(high=0)
        self._channel = chan
        self._wait()

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """Refuse."""
        return False

    def subsystem_requested(self, subsystem: str) -> bool:
        """Be the one subsystem there is; shells and commands are refused by default."""
        return subsystem == SUBSYSTEM

    def data_received(self, data: bytes, datatype: Any) -> None:
        """Take a part of a request."""
        self._got += data
        self._go_on()

    def eof_received(self) -> bool:
        """Answer what was asked; there will be no more."""
        self._ended = True
        self._go_on()
        return True

    def pause_writing(self) -> None:
        """Note that an answer is not read."""
        self._read.clear()

    def resume_writing(self) -> None:
        """Note that an answer was read."""
        self._read.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._channel = None
        self._read.set()
        if self._deadline is not None:
            self._deadline.cancel()
        self._closed(self)

    # -- what follows --

    def _wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(PATIENCE, self._drop)

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.abort()

    def _go_on(self) -> None:
        """Take the next request, if there is one and the last one has been answered."""
        if self._channel is None or self._busy:
            return
        line, end, rest = bytes(self._got).partition(b"\n")
        if len(line) >= LONGEST:
            self._begin(self._last(f"a request may have {LONGEST} bytes"))
        elif end and not self._allowance.take():
            self._begin(self._last(f"{REQUESTS} requests within {PERIOD:.0f} s are enough"))
        elif end:
            self._got = bytearray(rest)
            self._begin(self._reply(line))
        elif self._ended:
            self._channel.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Read no more until this is done."""
        assert self._channel is not None
        self._busy = True
        self._channel.pause_reading()
        if self._deadline is not None:
            self._deadline.cancel()
        self._own(work)

    async def _reply(self, line: bytes) -> None:
        answer = await self._answer(line)
        if not await self._write(answer):
            return
        self._busy = False
        self._wait()
        if self._channel is not None:
            self._channel.resume_reading()
            self._go_on()

    async def _last(self, why: str) -> None:
        self._got.clear()
        if await self._write(self._refuse(why)) and self._channel is not None:
            self._channel.close()

    async def _write(self, answer: bytes) -> bool:
        """Write an answer; say whether it went out, before the patience with its reader was over."""
        if self._channel is None:
            return False
        self._channel.write(answer + b"\n")
        try:
            async with asyncio.timeout(PATIENCE):
                await self._read.wait()
        except TimeoutError:
            self._drop()
        return self._channel is not None
