"""Ask the carrier's socket for a byte stream to a host and port at the relay.

The socket speaks HTTP's CONNECT. Xray answers at once, before it has tried anything: a destination that refuses shows
as the end of the stream.

A protocol of our own asks and then gives its transport away. Asking with `loop.sock_*` and handing the socket over
would be shorter, but uvloop 0.23 mixes up descriptors that were once waited for and then became a transport.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from tunnel_whisperer.errors import RetryableError

P = TypeVar("P", bound=asyncio.BaseProtocol)

_GRANTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_ASK_HEALTH = b"GET / HTTP/1.1\r\nHost: health\r\n\r\n"
_HEALTHY = b"HTTP/1.1 400"


async def dial(
    path: Path, protocol_factory: Callable[[], P], host: str, port: int, *, deadline: float
) -> tuple[asyncio.Transport, P]:
    """Open a stream to `host:port` through the carrier's socket at `path`.

    Raises RetryableError when the carrier does not grant it within `deadline` seconds.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode("ascii")
    protocol = protocol_factory()

    def give(transport: asyncio.Transport, first: bytes) -> None:
        """Let the stream's protocol have the transport, and what came right behind the answer."""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if first:
            cast(asyncio.Protocol, protocol).data_received(first)

    return await _ask(path, request, _GRANTED, give, deadline), protocol


async def check_health(path: Path, *, deadline: float) -> None:
    """Make Xray answer something by itself; nothing leaves this host.

    Raises RetryableError when it does not answer within `deadline` seconds.
    """
    await _ask(path, _ASK_HEALTH, _HEALTHY, lambda transport, first: transport.abort(), deadline)


class _Question(asyncio.Protocol):
    """Asks, and calls `then` with the transport and what followed when the answer is the right one."""

    def __init__(
        self, path: Path, request: bytes, answer: bytes, then: Callable[[asyncio.Transport, bytes], None]
    ) -> None:
        self._path = str(path)
        self._request = request
        self._answer = answer
        self._then = then
        self._got = b""
        self._transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self.answered.done() or (len(self._got) < len(self._answer) and self._answer.startswith(self._got)):
            return
        if not self._got.startswith(self._answer):
            self._fail(f"the carrier's Xray answers {self._got[: len(self._answer)]!r}")
            return
        assert self._transport is not None
        self.answered.set_result(None)
        self._then(self._transport, self._got[len(self._answer) :])

    def eof_received(self) -> None:
        self._fail(f"the carrier's Xray answers {self._got!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the carrier's Xray answers {self._got!r}")

    def _fail(self, why: str) -> None:
        if not self.answered.done():
            self.answered.set_exception(RetryableError(why, where=self._path))


async def _ask(
    path: Path, request: bytes, answer: bytes, then: Callable[[asyncio.Transport, bytes], None], deadline: float
) -> asyncio.Transport:
    """Ask on a new connection to `path`; it lives on only when the answer came and `then` was called."""
    transport: asyncio.Transport | None = None
    try:
        async with asyncio.timeout(deadline):
            transport, question = await asyncio.get_running_loop().create_unix_connection(
                lambda: _Question(path, request, answer, then), str(path)
            )
            await question.answered
        kept, transport = transport, None
    except TimeoutError:
        raise RetryableError(f"the carrier's Xray does not answer within {deadline:g} s", where=str(path)) from None
    except OSError as error:
        raise RetryableError(f"the carrier is not up: {error.strerror or error}", where=str(path)) from None
    finally:
        if transport is not None:
            transport.abort()
    return kept
