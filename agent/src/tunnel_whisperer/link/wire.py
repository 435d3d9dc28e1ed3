"""What lies between a byte stream and the SSH connection on it.

asyncssh hears nothing of back-pressure: it writes whatever its channels' windows allow. The wire hears for it, so that
flows can stop reading while a slow path drains. It also sees every sign of life of the far end.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.states import Clock
from tunnel_whisperer.stream import StreamDialer

P = TypeVar("P", bound=asyncio.BaseProtocol)

WRITE_HIGH = 256 * 1024
"""Bytes that may wait to be written before flows are asked to stop: much more only makes others' bytes wait longer."""


class Waiter(Protocol):
    """Something that stopped because the wire was congested."""

    def wire_drained(self) -> None:
        """Go on."""
        ...


class Wire(asyncio.Protocol):
    """One stream below an SSH connection (`inner`); also takes an SSH channel for its stream."""

    def __init__(self, inner: asyncio.BaseProtocol, clock: Clock = time.monotonic) -> None:
        """Lie below `inner`."""
        self._inner = cast(Any, inner)
        self._clock = clock
        self._waiting: list[Waiter] = []
        self.congested = False
        self.heard = False
        """Whether the far end has ever said anything."""
        self.alive_at = clock()
        """When the far end last gave a sign of life: sent something, or took what had to wait for it."""

    @property
    def silent(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self.alive_at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        ssh.spare_ignores(self._inner)
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=WRITE_HIGH)
        self.alive_at = self._clock()
        self._inner.connection_made(transport)

    def session_started(self) -> None:
        """Begin, where the stream is an SSH channel; nothing is left to do."""

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Pass on what came; an SSH channel says its type, which is always the ordinary one."""
        self.alive_at = self._clock()
        self.heard = True
        self._inner.data_received(data)

    def eof_received(self) -> bool:
        """End: SSH has no use for half a connection."""
        self._inner.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End; whoever waited finds its channel closed."""
        self.congested = False
        self._waiting.clear()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Note that the path is slower than we are."""
        self.congested = True

    def resume_writing(self) -> None:
        """Let everybody go on."""
        self.congested = False
        self.alive_at = self._clock()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.wire_drained()

    def wait(self, waiter: Waiter) -> None:
        """Call `waiter` once when the wire is no longer congested."""
        self._waiting.append(waiter)


class WireDialer:
    """A dialer that puts a wire below the one connection it makes."""

    def __init__(self, dialer: StreamDialer, clock: Clock = time.monotonic) -> None:
        """Dial through `dialer`."""
        self._dialer = dialer
        self._clock = clock
        self.wire: Wire | None = None

    async def create_connection(
        self, protocol_factory: Callable[[], P], host: str, port: int
    ) -> tuple[asyncio.Transport, P]:
        """Dial, and return the protocol above the wire."""
        made: list[P] = []

        def make() -> Wire:
            made[:] = [protocol_factory()]
            self.wire = Wire(made[0], self._clock)
            return self.wire

        transport, _ = await self._dialer.create_connection(make, host, port)
        return transport, made[0]
