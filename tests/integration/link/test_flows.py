"""Bytes from socket to socket through everything: nothing lost, nothing kept, ends told exactly."""

from __future__ import annotations

import asyncio
import hashlib

import asyncssh

from tests.integration.link.stand import Stand, user, user_set
from tests.integration.link.targets import BANNER, answer_after_end, banner, echo, pattern, reset, serving

MIB = 1024 * 1024


async def ask(port: int, request: bytes = b"", *, end: bool = True) -> bytes:
    """Send, shut down writing, and read all there is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if request:
            writer.write(request)
        if end:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.transport.abort()


async def test_a_thousand_banners(stand: Stand, alice: asyncssh.SSHKey) -> None:
    async def hear(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await reader.readline()
        finally:
            writer.transport.abort()

    async with serving(banner) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        await stand.serve()
        pool = await stand.connect("alice", alice)
        door, port = await stand.door(pool, target)
        heard: list[bytes] = []
        for _ in range(10):
            heard += await asyncio.gather(*(hear(port) for _ in range(100)))
        assert heard == [BANNER] * 1000
        async with asyncio.timeout(5):
            await door.flows.drained()
            await stand.server.flows.drained()


async def test_the_answer_comes_after_the_request_has_ended(stand: Stand, alice: asyncssh.SSHKey) -> None:
    async with serving(answer_after_end) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        await stand.serve()
        _, port = await stand.door(await stand.connect("alice", alice), target)
        for size in (0, 1, 70_000, 5 * MIB):
            request = pattern(size)
            async with asyncio.timeout(20):
                answer = await ask(port, request)
            assert answer == f"{size} {hashlib.sha256(request).hexdigest()}\n".encode()


async def test_64_mib_both_ways(stand: Stand, alice: asyncssh.SSHKey) -> None:
    data = pattern(64 * MIB)
    async with serving(echo) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        await stand.serve()
        door, port = await stand.door(await stand.connect("alice", alice), target)
        async with asyncio.timeout(50):
            assert await ask(port, data) == data
            await door.flows.drained()
        assert (door.flows.sent, door.flows.received) == (len(data), len(data))


async def test_200_at_once(stand: Stand, alice: asyncssh.SSHKey) -> None:
    async with serving(echo) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        await stand.serve()
        pool = await stand.connect("alice", alice)
        _, port = await stand.door(pool, target)
        requests = [pattern(100_000, seed) for seed in range(200)]
        async with asyncio.timeout(40):
            answers = await asyncio.gather(*(ask(port, request) for request in requests))
        assert answers == requests
        assert all(link.flows.total >= 80 for link in pool.links), "both links carry"


async def test_a_reset_is_not_told_as_an_end(stand: Stand, alice: asyncssh.SSHKey) -> None:
    async with serving(reset) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        await stand.serve()
        _, port = await stand.door(await stand.connect("alice", alice), target)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.readexactly(11) == b"half of an "
        writer.write(b"more")
        try:
            async with asyncio.timeout(5):
                rest = await reader.read()
        except ConnectionResetError:
            rest = None
        assert rest is None
        writer.transport.abort()
