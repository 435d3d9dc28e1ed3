"""Byte streams to a tenant.

The link layer asks for "a byte stream to that tenant's host and port at the relay" and knows nothing of what carries
it: today one carrier each (`carrier.XrayCarrier` is a dialer by itself), later several at once under one stream.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)


class StreamDialer(Protocol):
    """Opens byte streams; the shape is what asyncssh takes as its `tunnel`."""

    async def create_connection(
        self, protocol_factory: Callable[[], P], host: str, port: int
    ) -> tuple[asyncio.Transport, P]:
        """Open a stream to `host:port` as the relay's side sees it, and hand it to a new protocol.

        Raises RetryableError when there is no way to the relay just now. A destination that refuses shows as the end
        of the stream. After `write_eof` what the far end still sends arrives, but the far end is not told: a protocol
        on top that needs a half-close must say so itself, as SSH does.
        """
        ...
