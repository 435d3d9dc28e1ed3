"""Servers for bridges to lead to, and clients that use them. All without frameworks: sockets and callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
import time
from collections.abc import AsyncIterator

BANNER = b"220 you are welcome, whoever you are\r\n"
PIECE = 64 * 1024


@contextlib.asynccontextmanager
async def serving(handler: object) -> AsyncIterator[int]:
    """Serve on a free port while inside; yields the port. The handler's connections are over when this ends."""
    open_now: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            await handler(reader, writer)  # type: ignore[operator]  # any of the functions below
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            open_now.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
        await server.wait_closed()


async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first, then wait for the other side to leave."""
    writer.write(BANNER)
    await reader.read()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, and end when it ends."""
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
    await reader.read()


async def answer_after_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say how much came and its hash, once the other side has shut down writing; then end."""
    seen, size = hashlib.sha256(), 0
    while piece := await reader.read(PIECE):
        seen.update(piece)
        size += len(piece)
    writer.write(f"{size} {seen.hexdigest()}\n".encode())
    writer.write_eof()
    await writer.drain()
    await asyncio.sleep(30)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send half of an answer, then fall over."""
    writer.write(b"half of an ")
    await writer.drain()
    await reader.readexactly(4)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Be connected to a local port while inside."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def hear(port: int) -> bytes:
    """Return the first line somebody says at a local port, or how it ended."""
    async with connected(port) as (reader, _), asyncio.timeout(12):
        try:
            return await reader.readline()
        except ConnectionResetError:
            return b"reset"


async def echoed(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    """Whether an echo comes back."""
    reader, writer = stream
    try:
        writer.write(b"still here?")
        async with asyncio.timeout(5):
            return await reader.readexactly(11) == b"still here?"
    except (ConnectionError, asyncio.IncompleteReadError, RuntimeError):  # uvloop: closed already
        return False


async def seconds_until_cut(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> float:
    """Wait for a reset; a clean end is none."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(30):
            assert await stream[0].read() == b"", "ended cleanly"
    except ConnectionResetError:
        return time.monotonic() - began
    raise AssertionError("ended cleanly")


def pattern(size: int, seed: int = 1) -> bytes:
    """Bytes in which nothing can be swapped unnoticed."""
    block = b"".join(hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(2048))
    return (block * (size // len(block) + 1))[:size]


@contextlib.asynccontextmanager
async def carrying(port: int) -> AsyncIterator[None]:
    """Send through an echo all the time while inside; every byte has to come back as it was."""
    stop = asyncio.Event()

    async def carry() -> int:
        rounds = 0
        async with connected(port) as (reader, writer):
            while not stop.is_set() or rounds < 3:
                piece = pattern(PIECE, rounds)
                writer.write(piece)
                async with asyncio.timeout(5):
                    assert await reader.readexactly(PIECE) == piece
                rounds += 1
        return rounds

    task = asyncio.create_task(carry(), name="a transfer of somebody else")
    try:
        yield
    finally:
        stop.set()
        print(f"{await task * PIECE / 1e6:.0f} MB of somebody else went through meanwhile")
