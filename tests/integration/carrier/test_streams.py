"""Byte streams through a real carrier and a real relay."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.integration.carrier.conftest import StartCarrier
from tests.integration.carrier.stand import Stand, free_port
from tests.integration.carrier.streams import close, destination, echo, open_stream
from tunnel_whisperer.config import Profile

PROFILES: list[Profile] = ["h2", "h1"]
MIB = 1 << 20


@pytest.mark.parametrize("profile", PROFILES)
async def test_bytes_go_both_ways_unchanged(stand: Stand, start_carrier: StartCarrier, profile: Profile) -> None:
    carrier = await start_carrier(stand.settings(stand.identity("server"), profile))
    sent = os.urandom(8 * MIB)
    async with destination(echo) as port:
        reader, writer = await open_stream(carrier, port)

        async def send() -> None:
            writer.write(sent)
            await writer.drain()

        _, got = await asyncio.gather(send(), reader.readexactly(len(sent)))
        assert got == sent
        await close(writer)


@pytest.mark.parametrize("profile", PROFILES)
async def test_a_banner_sent_at_once_arrives_first(stand: Stand, start_carrier: StartCarrier, profile: Profile) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await writer.drain()

    carrier = await start_carrier(stand.settings(stand.identity("server"), profile))
    async with destination(greet) as port:

        async def visit() -> None:
            reader, writer = await open_stream(carrier, port)
            assert await reader.read() == b"220 ready\r\n"
            await close(writer)

        await asyncio.gather(*(visit() for _ in range(50)))


@pytest.mark.parametrize("profile", PROFILES)
async def test_an_answer_arrives_whole_after_we_ended_sending(
    stand: Stand, start_carrier: StartCarrier, profile: Profile
) -> None:
    answer = os.urandom(4 * MIB)

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(7)
        await asyncio.sleep(3)  # longer than the second after which Xray would by itself give up a half-closed stream
        writer.write(answer)
        await writer.drain()

    carrier = await start_carrier(stand.settings(stand.identity("server"), profile))
    async with destination(reply) as port:
        reader, writer = await open_stream(carrier, port)
        writer.write(b"request")
        writer.write_eof()
        assert await reader.read() == answer
        await close(writer)


@pytest.mark.parametrize("profile", PROFILES)
async def test_a_destination_that_refuses_ends_the_stream(
    stand: Stand, start_carrier: StartCarrier, profile: Profile
) -> None:
    carrier = await start_carrier(stand.settings(stand.identity("server"), profile))
    reader, writer = await open_stream(carrier, free_port())
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    await close(writer)


@pytest.mark.timeout(120)
async def test_idle_streams_are_kept(stand: Stand, start_carrier: StartCarrier) -> None:
    """Caddy ends idle request and response bodies after 60 s unless told otherwise."""
    identity = stand.identity("server")
    carriers = [await start_carrier(stand.settings(identity, profile)) for profile in PROFILES]
    async with destination(echo) as port:
        streams = [await open_stream(carrier, port) for carrier in carriers]
        for reader, writer in streams:
            writer.write(b"before")
            assert await reader.readexactly(6) == b"before"
        await asyncio.sleep(70)
        for reader, writer in streams:
            writer.write(b"after")
            assert await reader.readexactly(5) == b"after"
            await close(writer)


async def test_streams_have_connections_of_their_own(stand: Stand, start_carrier: StartCarrier) -> None:
    """A stream neither shares a TCP connection with another, nor takes over one that another has left."""
    carrier = await start_carrier(stand.settings(stand.identity("server")))
    async with destination(echo) as port:
        seen: set[tuple[str, int]] = set()
        for round_ in range(1, 4):
            streams = [await open_stream(carrier, port) for _ in range(3)]
            for reader, writer in streams:
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
            seen |= stand.connections()
            for _, writer in streams:
                await close(writer)
            assert len(seen) == 3 * round_
