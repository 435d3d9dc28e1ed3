"""Users who may have one session: who stays, who has to go and is told why, and when the place is free. Real times."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncssh
import pytest

from tests.integration.link.cell import free_ports
from tests.integration.link.daemons import Daemons, Process
from tests.integration.link.stand import user
from tests.integration.link.targets import carrying, connected, echo, echoed, seconds_until_cut, serving
from tunnel_whisperer.link import ssh
from tunnel_whisperer.users.grants import SingleSession
from tunnel_whisperer.users.model import User


def limited(found: User, policy: SingleSession) -> User:
    return replace(found, grant=replace(found.grant, single_session=policy))


class Site:
    """A server, bob who has nothing to do with it, and as many clients of alice as a test wants."""

    server: Process

    def __init__(self, processes: Daemons, alice: asyncssh.SSHKey, target: int) -> None:
        self.processes = processes
        self.alice = alice
        self.bob = asyncssh.generate_private_key("ssh-ed25519")
        self.target = target
        self.ports = free_ports(4)

    def set(self, policy: SingleSession) -> None:
        alice = limited(user("alice", self.alice, self.target), policy)
        self.processes.set_users(alice, limited(user("bob", self.bob, self.target), policy))

    async def client(self, number: int, name: str = "alice") -> Process:
        bridge = {"name": "b", "port": self.target, "local_port": self.ports + number}
        key = self.alice if name == "alice" else self.bob
        return await self.processes.connect(name, key, [bridge], context=f"{name}-{number}")

    def flow(self, number: int) -> Any:
        return connected(self.ports + number)


@pytest.fixture
async def site(processes: Daemons, alice: asyncssh.SSHKey) -> AsyncIterator[Site]:
    async with serving(echo) as target:
        made = Site(processes, alice, target)
        made.set("off")
        made.server = await processes.serve()
        await made.server.until_state("up")
        bob = await made.client(3, "bob")
        await bob.until_live(2)
        async with carrying(made.ports + 3):
            yield made


ELSEWHERE = "alice is connected from elsewhere; single session"


async def test_both_may_be_connected_where_nobody_minds(site: Site) -> None:
    clients = [await site.client(number) for number in range(2)]
    for client in clients:
        await client.until_live(2)
    async with site.flow(0) as one, site.flow(1) as two:
        assert [await echoed(one), await echoed(two)] == [True, True]


async def test_a_second_client_is_refused_in_words_until_the_first_has_gone(site: Site) -> None:
    site.set("refuse")
    first = await site.client(0)
    await first.until_live(2)
    async with site.flow(0) as flow:
        second = await site.client(1)
        await second.until_reason(ELSEWHERE)
        for _ in range(6):
            status = await second.ask()
            assert (status["state"], status["reason"]) == ("down", ELSEWHERE)
            assert {link["state"] for link in status["links"]} <= {"down", "connecting"}, "it never was up"
            await asyncio.sleep(0.5)
        assert sum(link["attempts"] for link in status["links"]) < 10, "it does not batter the door"
        assert await echoed(flow)
        assert [link["state"] for link in (await first.ask())["links"]] == ["up", "up"]
    first.signal(signal.SIGTERM)
    await first.ended(within=5)
    began = time.monotonic()
    await second.until_live(2, within=16)
    print(f"the second client was in {time.monotonic() - began:.1f} s after the first had ended")
    async with site.flow(1) as flow:
        assert await echoed(flow)


async def test_a_dead_client_frees_its_place(site: Site) -> None:
    site.set("refuse")
    first = await site.client(0)
    await first.until_live(2)
    second = await site.client(1)
    await second.until_reason(ELSEWHERE)
    first.signal(signal.SIGSTOP)  # as a machine that lost its power: nothing is closed
    began = time.monotonic()
    async with asyncio.timeout(15):
        while await connections(site.server, "alice"):
            await asyncio.sleep(0.1)
    print(f"the place was free after {time.monotonic() - began:.1f} s")
    await second.until_live(2, within=16)
    first.signal(signal.SIGCONT)
    await first.until_reason(ELSEWHERE, within=20)
    assert [link["state"] for link in (await second.ask())["links"]] == ["up", "up"]


async def connections(server: Process, name: str) -> int:
    return sum(one["user"] == name for one in (await server.ask())["ssh"]["sessions"])


async def test_a_second_client_takes_over_and_the_first_does_not_fight_back(site: Site) -> None:
    site.set("takeover")
    first = await site.client(0)
    await first.until_live(2)
    async with site.flow(0) as flow:
        assert await echoed(flow)
        second = await site.client(1)
        await second.until_live(2)
        assert await seconds_until_cut(flow) < 1.0
    async with site.flow(1) as flow:
        await first.until_reason("alice", within=5)
        began = time.monotonic()
        while time.monotonic() - began < 10.0:
            status = await first.ask()
            assert status["state"] != "up"
            assert "from elsewhere" in status["reason"]
            assert "start this client anew to take over" in status["reason"]
            assert await echoed(flow)
            await asyncio.sleep(0.5)
        assert sum(link["attempts"] for link in status["links"]) < 16
    second.signal(signal.SIGTERM)
    await second.ended(within=5)
    await first.until_live(2, within=20)


async def test_a_client_that_only_comes_back_does_not_take_over(site: Site) -> None:
    """A notebook that wakes up must not throw out the machine its owner sits at now."""
    site.set("takeover")
    first = await site.client(0)
    await first.until_live(2)
    first.signal(signal.SIGSTOP)
    second = await site.client(1)
    await second.until_live(2)
    async with site.flow(1) as flow:
        await asyncio.sleep(10.5)  # the server has long forgotten the first one
        first.signal(signal.SIGCONT)
        await first.until_reason(ELSEWHERE, within=20)
        assert await echoed(flow)
        restarted = await site.client(2)
        await restarted.until_live(2)
        assert await seconds_until_cut(flow) < 1.0, "one that was started anew does"


async def test_a_server_that_starts_anew_keeps_the_peace(processes: Daemons, alice: asyncssh.SSHKey) -> None:
    """Both clients come back to it, neither claims the place, and who is in stays in."""
    processes.set_users(limited(user("alice", alice, 1), "takeover"))
    server = await processes.serve()
    clients = []
    for number in range(2):
        clients.append(await processes.connect("alice", alice, [], context=f"alice-{number}"))
        await clients[-1].until_live(2)
    server.signal(signal.SIGKILL)
    await server.ended(within=5)
    await (await processes.serve()).until_state("up")
    seen: list[list[str]] = []
    async with asyncio.timeout(30):
        while len(seen) < 20:
            states = [(await client.ask())["state"] for client in clients]
            if seen or "up" in states:
                seen.append(states)
            await asyncio.sleep(0.4)
    assert seen.count(seen[-1]) == len(seen), seen
    assert sorted(seen[-1]) == ["down", "up"]


async def test_a_change_of_the_policy_is_in_force_at_once(site: Site) -> None:
    clients = []
    for number in range(3):
        clients.append(await site.client(number))
        await clients[-1].until_live(2)
    async with site.flow(0) as zero, site.flow(1) as one, site.flow(2) as two:
        assert [await echoed(flow) for flow in (zero, one, two)] == [True] * 3
        site.set("refuse")
        assert await seconds_until_cut(one) < 1.0
        assert await seconds_until_cut(two) < 1.0
        assert await echoed(zero), "the one that was there first stays"
        site.set("off")
        for client in clients[1:]:
            await client.until_live(2, within=16)


async def test_a_plain_client_is_a_session_of_its_own(site: Site) -> None:
    site.set("refuse")
    client = await site.client(0)
    await client.until_live(2)
    heard = asyncio.get_running_loop().create_future()

    class Plain(asyncssh.SSHClient):
        def connection_lost(self, exc: Exception | None) -> None:
            heard.set_result(exc)

    conn = await asyncssh.connect(
        "127.0.0.1",
        site.processes.cell.free_port,
        username="alice",
        client_keys=[site.alice],
        client_factory=Plain,
        known_hosts=None,
        config=None,
    )
    async with asyncio.timeout(1):
        error = await heard
    assert ssh.in_words(error) == ELSEWHERE
    await conn.wait_closed()
    assert (await client.ask())["state"] == "up"
