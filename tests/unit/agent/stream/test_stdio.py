"""Joining a stream to pipes: both ends, in every order, with nothing lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tunnel_whisperer.errors import ConfigError, RetryableError
from tunnel_whisperer.stream.stdio import join

pytestmark = pytest.mark.usefixtures("no_leaks")

P = TypeVar("P", bound=asyncio.BaseProtocol)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Plain:
    """A dialer that leads to a server on a unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def create_connection(
        self, protocol_factory: Callable[[], P], host: str, port: int
    ) -> tuple[asyncio.Transport, P]:
        assert (host, port) == ("127.0.0.1", 22)
        return await asyncio.get_running_loop().create_unix_connection(protocol_factory, str(self.path))


async def joined(path: Path, handler: Handler, given: bytes) -> bytes:
    """Run `join` between pipes and `handler`; return what came out of it."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handler(reader, writer)
        writer.close()
        await writer.wait_closed()
        done.set()

    server = await asyncio.start_unix_server(serve, str(path))
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    loop = asyncio.get_running_loop()
    collected = loop.run_in_executor(None, drain, out_read)
    feeding = loop.run_in_executor(None, feed, in_write, given)
    try:
        with os.fdopen(in_read, "rb") as source, os.fdopen(out_write, "wb") as sink:
            await join(Plain(path), "127.0.0.1", 22, source, sink)
    finally:
        await done.wait()
        server.close()
        await feeding
        result = await collected
    return result


def drain(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


def feed(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as file:
        file.write(data)


async def test_everything_arrives_both_ways(tmp_path: Path) -> None:
    sent = os.urandom(3 << 20)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    assert await joined(tmp_path / "s", echo, sent) == sent


async def test_the_end_of_the_input_is_passed_on_and_the_answer_is_waited_for(tmp_path: Path) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        await asyncio.sleep(0.1)
        writer.write(b"%d bytes" % len(data))

    assert await joined(tmp_path / "s", count, b"x" * 1000) == b"1000 bytes"


async def test_a_stream_that_brings_nothing_is_an_error(tmp_path: Path) -> None:
    async def refuse(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    with pytest.raises(RetryableError, match="the stream ended before anything came"):
        await joined(tmp_path / "s", refuse, b"")


async def test_plain_files_are_refused_before_anything_is_dialed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with (
        path.open("rb") as source,
        path.open("r+b") as sink,
        pytest.raises(ConfigError, match="pipes, sockets or term"),
    ):
        await join(Plain(tmp_path / "nothing"), "127.0.0.1", 22, source, sink)
