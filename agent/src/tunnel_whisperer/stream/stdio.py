"""Joins a stream to standard input and output, as OpenSSH wants it from a ProxyCommand."""

import asyncio
import contextlib
import os
import stat
from typing import IO

from tunnel_whisperer.errors import ConfigError, RetryableError
from tunnel_whisperer.stream import StreamDialer

_CHUNK = 256 * 1024


async def join(dialer: StreamDialer, host: str, port: int, source: IO[bytes], sink: IO[bytes]) -> None:
    """Carry bytes between `source`, `sink` and `host:port` until the far end closes, or nobody reads `sink` any more.

    The end of `source` is passed on, and what still comes is delivered. Raises RetryableError where the stream ends
    before it brought a byte, ConfigError where `source` or `sink` is a plain file.
    """
    for end in (source, sink):
        if stat.S_ISREG(os.fstat(end.fileno()).st_mode):
            raise ConfigError("standard input and output have to be pipes, sockets or terminals, not files")
    far_reader = asyncio.StreamReader(limit=_CHUNK)
    far_protocol = asyncio.StreamReaderProtocol(far_reader)
    transport, _ = await dialer.create_connection(lambda: far_protocol, host, port)
    far_writer = asyncio.StreamWriter(transport, far_protocol, far_reader, asyncio.get_running_loop())
    try:
        brought = await _carry(far_reader, far_writer, source, sink)
    finally:
        transport.abort()
    if not brought:
        raise RetryableError("the stream ended before anything came")


async def _carry(
    far_reader: asyncio.StreamReader, far_writer: asyncio.StreamWriter, source: IO[bytes], sink: IO[bytes]
) -> bool:
    """Copy both ways; return whether anything came, or nobody was left to take it."""
    loop = asyncio.get_running_loop()
    near_reader = asyncio.StreamReader(limit=_CHUNK)
    near_input, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(near_reader), source)
    near_output, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink
    )
    near_writer = asyncio.StreamWriter(near_output, protocol, None, loop)
    up = asyncio.create_task(_copy(near_reader, far_writer), name="standard input")
    down = asyncio.create_task(_copy(far_reader, near_writer), name="standard output")
    gone = asyncio.create_task(near_writer.wait_closed(), name="standard output is read")
    try:
        # The end of what comes closes standard output, once everything is written; so does a reader that left.
        await asyncio.wait((gone,))
        return not down.done() or down.result() > 0
    finally:
        for task in (up, down, gone):
            task.cancel()
        await asyncio.gather(up, down, gone, return_exceptions=True)
        near_input.close()
        near_output.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Copy until the end of either and pass that end on; return the number of bytes."""
    count = 0
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            count += len(data)
            writer.write(data)
            await writer.drain()
    writer.write_eof()
    return count
