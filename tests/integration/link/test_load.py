"""What many connections cost."""

from __future__ import annotations

import asyncio
import resource

import asyncssh
import pytest

from tests.integration.link.cell import free_ports
from tests.integration.link.daemons import Daemons
from tests.integration.link.stand import user
from tests.integration.link.targets import BANNER, banner, serving

CONNECTIONS = 2000
MEGABYTES = 80


@pytest.fixture
def descriptors() -> None:
    """Have enough of them for both ends of all connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard > 3 * CONNECTIONS


async def test_two_thousand_connections(descriptors: None, processes: Daemons, alice: asyncssh.SSHKey) -> None:
    async def hold() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        assert await reader.readline() == BANNER
        return writer

    async with serving(banner) as target:
        local = free_ports(1)
        processes.set_users(user("alice", alice, target))
        server = await processes.serve()
        client = await processes.connect("alice", alice, [{"name": "b", "port": target, "local_port": local}])
        await server.until_live(2)
        await client.until_live(2)
        before = server.resident_mb(), client.resident_mb()
        held: list[asyncio.StreamWriter] = []
        for _ in range(CONNECTIONS // 100):
            held += await asyncio.gather(*(hold() for _ in range(100)))
        with_all = server.resident_mb(), client.resident_mb()
        print(f"server {before[0]:.0f} -> {with_all[0]:.0f} MB, client {before[1]:.0f} -> {with_all[1]:.0f} MB")
        assert max(with_all) <= MEGABYTES
        assert (await server.ask())["ssh"]["flows"] == CONNECTIONS
        for writer in held:
            writer.transport.abort()
        async with asyncio.timeout(10):
            while (await server.ask())["ssh"]["flows"] or (await client.ask())["bridges"][0]["flows"]:
                await asyncio.sleep(0.1)
