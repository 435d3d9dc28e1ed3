"""What breaks under the links, and how soon they are back, with nothing touched by hand. Real times."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import asyncssh

from tests.integration.link.cell import descendants, free_ports
from tests.integration.link.daemons import Daemons
from tests.integration.link.stand import Stand, until, user, user_set
from tests.integration.link.targets import BANNER, banner, connected, echo, echoed, hear, seconds_until_cut, serving


async def test_sshd_killed_and_started_again(stand: Stand, alice: asyncssh.SSHKey) -> None:
    async with serving(banner) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        server = await stand.serve()
        client = await stand.connect("alice", alice)
        _, port = await stand.door(client, target)
        assert await hear(port) == BANNER
        stand.cell.stop()
        await until(lambda: not server.up and not client.up, within=1.0)
        await asyncio.sleep(1.0)
        began = time.monotonic()
        await stand.cell.start()
        assert await hear(port) == BANNER
        assert time.monotonic() - began < 5.0


async def test_everything_frozen_is_noticed_and_left_behind(stand: Stand, alice: asyncssh.SSHKey) -> None:
    async with serving(echo) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        server = await stand.serve()
        client = await stand.connect("alice", alice)
        _, port = await stand.door(client, target)
        async with connected(port) as flow:
            assert await echoed(flow)
            stand.cell.freeze()
            assert await seconds_until_cut(flow) < 10.0
        await until(lambda: not server.up and not client.up, within=1.0)
        reasons = {link.life.reason for link in (*server.links, *client.links)}
        assert any("no sign of life" in reason for reason in reasons), reasons
        stand.cell.thaw()
        began = time.monotonic()
        async with connected(port) as flow:
            assert await echoed(flow)
        assert time.monotonic() - began < 9.0


async def test_one_frozen_link_takes_no_new_flows(stand: Stand, alice: asyncssh.SSHKey) -> None:
    """New connections go on at once; the flows of the frozen link are told within 10 s."""
    async with serving(echo) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        await stand.serve()
        client = await stand.connect("alice", alice)
        _, port = await stand.door(client, target)
        async with connected(port) as one, connected(port) as two:
            assert [await echoed(one), await echoed(two)] == [True, True]
            assert [len(link.flows) for link in client.links] == [1, 1]
            assert stand.cell.process is not None
            frozen = [pid for pid in descendants(stand.cell.process.pid) if listens(pid, client.links[0].port)]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            survived = 0
            while client.links[0].live:
                async with asyncio.timeout(10), connected(port) as new:
                    survived += await echoed_soon(new)
                await asyncio.sleep(0.2)
            assert time.monotonic() - began < 10.0
            assert survived > 5
            assert sorted([await echoed(one), await echoed(two)]) == [False, True]
            await until(lambda: all(link.live for link in client.links), within=20.0)
            async with connected(port) as new:
                assert await echoed(new)
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


async def test_a_flow_whose_link_is_lost_while_it_opens_takes_another(stand: Stand, alice: asyncssh.SSHKey) -> None:
    async with serving(banner) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        await stand.serve()
        client = await stand.connect("alice", alice)
        door, port = await stand.door(client, target)
        first = client.best()
        assert first is not None
        assert stand.cell.process is not None
        doomed = [pid for pid in descendants(stand.cell.process.pid) if listens(pid, first.port)]
        for pid in doomed:
            os.kill(pid, signal.SIGSTOP)
        heard = asyncio.create_task(hear(port))
        await until(lambda: len(first.flows) == 1)
        assert not heard.done()
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        assert await heard == BANNER
        assert door.refusal is None


async def test_a_connection_waits_for_a_link_but_not_for_ever(stand: Stand, alice: asyncssh.SSHKey) -> None:
    async with serving(banner) as target:
        stand.server.apply(user_set(user("alice", alice, target)))
        client = await stand.connect("alice", alice, wait=False)
        _, patient = await stand.door(client, target)
        _, impatient = await stand.door(client, target, patience=0.3)
        heard = asyncio.create_task(hear(patient))
        assert await hear(impatient) == b"reset"
        await stand.serve()
        assert await heard == BANNER


async def test_a_probe_finds_a_dead_path_sooner(stand: Stand, alice: asyncssh.SSHKey) -> None:
    stand.server.apply(user_set(user("alice", alice, 1)))
    server = await stand.serve()
    client = await stand.connect("alice", alice)
    client.probe()
    await asyncio.sleep(0.5)
    assert all(link.live for link in client.links), "alive, so nothing happens"
    stand.cell.freeze()
    client.probe()
    server.probe()
    await until(lambda: not client.up and not server.up, within=4.5)


async def echoed_soon(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    try:
        async with asyncio.timeout(1):
            return await echoed(stream)
    except TimeoutError:
        return False


def listens(pid: int, port: int | None) -> bool:
    """Whether a process holds the listener of a port."""
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
    }
    held = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
    return bool({f"socket:[{inode}]" for inode in inodes} & held)


async def test_a_link_that_is_back_hurries_the_others(stand: Stand, alice: asyncssh.SSHKey) -> None:
    stand.server.apply(user_set(user("alice", alice, 1)))
    client = await stand.connect("alice", alice, wait=False)
    await asyncio.sleep(6.0)  # by now each attempt waits long for the next
    began = time.monotonic()
    await stand.serve()
    await until(lambda: any(link.live for link in client.links), within=16)
    first = time.monotonic()
    await until(lambda: all(link.live for link in client.links), within=1.0)
    assert first - began < 16


async def test_a_frozen_client_or_server_is_left_and_come_back_to(processes: Daemons, alice: asyncssh.SSHKey) -> None:
    async with serving(banner) as target:
        local = free_ports(1)
        processes.set_users(user("alice", alice, target))
        server = await processes.serve()
        client = await processes.connect("alice", alice, [{"name": "b", "port": target, "local_port": local}])
        await client.until_live(2)
        for frozen, other, sees in ((server, client, "no sign of life"), (client, server, "")):
            frozen.signal(signal.SIGSTOP)
            await asyncio.sleep(10.5)
            status = await other.ask()
            if sees:
                assert not any(link["state"] == "up" for link in status["links"]), status
            else:
                assert status["ssh"]["sessions"] == []
            frozen.signal(signal.SIGCONT)
            began = time.monotonic()
            while await hear(local) != BANNER:
                await asyncio.sleep(0.1)
            assert time.monotonic() - began < 12.0
            await client.until_live(2, within=20)
