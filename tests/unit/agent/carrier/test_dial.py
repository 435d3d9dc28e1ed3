"""Asking a carrier's socket for a stream, with a socket that answers in every way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tunnel_whisperer.carrier.dial import check_health, dial
from tunnel_whisperer.errors import RetryableError

pytestmark = pytest.mark.usefixtures("no_leaks")

GRANTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def carrier(path: Path, answer: Answer) -> AsyncIterator[list[bytes]]:
    """A socket that answers so; gives what it was asked."""
    asked: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield asked
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def stream(path: Path, host: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.Transport]:
    reader = asyncio.StreamReader()
    transport, _ = await dial(path, lambda: asyncio.StreamReaderProtocol(reader), host, 22, deadline=0.5)
    return reader, transport


@pytest.mark.parametrize("cut", [0, 1, 20, len(GRANTED)])
async def test_the_streams_first_bytes_are_not_lost_however_they_come(tmp_path: Path, cut: int) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (GRANTED[:cut], GRANTED[cut:] + b"SSH-2.0-x\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    async with carrier(tmp_path / "s", answer) as asked:
        reader, transport = await stream(tmp_path / "s")
        assert await reader.read() == b"SSH-2.0-x\r\n"
        transport.close()
    assert asked == [b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n"]


async def test_an_ipv6_address_is_put_in_brackets(tmp_path: Path) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GRANTED)

    async with carrier(tmp_path / "s", answer) as asked:
        _, transport = await stream(tmp_path / "s", "::1")
        transport.close()
    assert asked == [b"CONNECT [::1]:22 HTTP/1.1\r\nHost: [::1]:22\r\n\r\n"]


async def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RetryableError, match="the carrier is not up: No such file or directory"):
        await stream(tmp_path / "s")


async def test_a_socket_that_nobody_serves(tmp_path: Path) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with carrier(tmp_path / "s", answer):
        pass
    with pytest.raises(RetryableError, match="the carrier is not up: "):
        await stream(tmp_path / "s")


async def test_a_frozen_carrier(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with carrier(tmp_path / "s", answer):
        with pytest.raises(RetryableError, match=r"does not answer within 0\.5 s"):
            await stream(tmp_path / "s")
        with pytest.raises(RetryableError, match=r"does not answer within 0\.2 s"):
            await check_health(tmp_path / "s", deadline=0.2)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"SSH-2.0-x\r\n"])
async def test_any_other_answer(tmp_path: Path, said: bytes) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    async with carrier(tmp_path / "s", answer):
        with pytest.raises(RetryableError, match="the carrier's Xray answers b"):
            await stream(tmp_path / "s")


async def test_health_is_xrays_own_refusal(tmp_path: Path) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    async with carrier(tmp_path / "s", answer) as asked:
        await check_health(tmp_path / "s", deadline=0.5)
    assert asked[0].startswith(b"GET / ")


async def test_a_cancelled_dial_leaves_nothing(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with carrier(tmp_path / "s", answer):
        task = asyncio.create_task(stream(tmp_path / "s"))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
