"""Everything but the lab: both daemons over real carriers, Caddy and Xray, into a real sshd."""

from __future__ import annotations

import asyncio
import time

import asyncssh
import pytest

from tests.integration.carrier.stand import answers
from tests.integration.link.cell import free_ports
from tests.integration.link.daemons import Daemons, Process
from tests.integration.link.targets import BANNER, banner, connected, echo, echoed, hear, serving
from tunnel_whisperer.carrier.api import RelayUsers


async def both_up(whole: Daemons, alice: asyncssh.SSHKey, target: int, local: int) -> tuple[Process, Process]:
    whole.set_users(whole.onboard("alice", alice, target))
    server = await whole.serve()
    client = await whole.connect("alice", alice, [{"name": "b", "port": target, "local_port": local}])
    await server.until_live(2, within=15)
    await client.until_live(2, within=15)
    return server, client


@pytest.mark.timeout(90)
async def test_a_bridge_and_its_users_over_real_carriers(whole: Daemons, alice: asyncssh.SSHKey) -> None:
    assert whole.stand is not None
    async with serving(banner) as target:
        local = free_ports(1)
        server, client = await both_up(whole, alice, target, local)
        assert await hear(local) == BANNER
        relay_users = RelayUsers(f"127.0.0.1:{whole.stand.api_port}")
        assert sorted(await relay_users.list()) == ["alice", "server"]
        assert len(whole.stand.connections()) >= 4, "every link has a TLS connection of its own"

        # Xray forgets its users; the server puts them back as soon as it is there again.
        await whole.stand.kill_xray()
        await whole.stand.start_xray()
        began = time.monotonic()
        while await hear(local) != BANNER:
            await asyncio.sleep(0.05)
        print(f"a query succeeds {time.monotonic() - began:.2f} s after the relay's Xray is back")
        assert time.monotonic() - began < 5.0
        assert sorted(await relay_users.list()) == ["alice", "server"]

        bob = asyncssh.generate_private_key("ssh-ed25519")
        began = time.monotonic()
        whole.set_users(whole.onboard("alice", alice, target), whole.onboard("bob", bob, target))
        async with asyncio.timeout(5):
            while "bob" not in await relay_users.list():
                await asyncio.sleep(0.02)
        assert time.monotonic() - began < 1.5
        async with asyncio.timeout(1):
            while (await server.ask())["relay_users"] != {"users": 2, "error": None}:
                await asyncio.sleep(0.02)
        assert (await client.ask())["state"] == "up", "nobody else was disturbed"


@pytest.mark.timeout(90)
async def test_caddy_restarts(whole: Daemons, alice: asyncssh.SSHKey) -> None:
    assert whole.stand is not None
    assert whole.stand.caddy is not None
    async with serving(echo) as target:
        local = free_ports(1)
        await both_up(whole, alice, target, local)
        async with connected(local) as flow:
            assert await echoed(flow)
        whole.stand.caddy.kill()
        await whole.stand.caddy.wait()
        await asyncio.sleep(2.0)
        await whole.stand.start_caddy()
        await answers("localhost", whole.stand.port)
        began = time.monotonic()
        async with connected(local) as flow:
            assert await echoed(flow)
        print(f"a query succeeds {time.monotonic() - began:.2f} s after Caddy is back")
        assert time.monotonic() - began < 6.0
