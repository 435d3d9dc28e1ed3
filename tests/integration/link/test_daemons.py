"""The two daemons in processes of their own: up, asked, reloaded, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from click.testing import CliRunner

from tests.integration.link.cell import free_ports
from tests.integration.link.daemons import Daemons
from tests.integration.link.stand import until, user
from tests.integration.link.targets import BANNER, banner, connected, echo, echoed, hear, seconds_until_cut, serving
from tunnel_whisperer.cli import command
from tunnel_whisperer.errors import DaemonUnreachableError, TwError


def bridge(name: str, port: int, local_port: int) -> dict[str, Any]:
    return {"name": name, "port": port, "local_port": local_port}


async def test_up_and_asked(processes: Daemons, alice: asyncssh.SSHKey) -> None:
    async with serving(banner) as target:
        local = free_ports(1)
        processes.set_users(user("alice", alice, target))
        server = await processes.serve()
        client = await processes.connect("alice", alice, [bridge("mail", target, local)])
        await server.until_state("up")
        await client.until_state("up")
        status = await client.until_live(2)
        assert await hear(local) == BANNER
        await until((processes.directory / "relay-users.json").exists)
        assert list(json.loads((processes.directory / "relay-users.json").read_text())) == ["alice"]

        assert {link["port"] for link in status["links"]} == set(processes.cell.ports.reverse[:2]), "one each"
        status = await client.ask()
        assert status["bridges"][0]["received"] == len(BANNER)
        served = await server.ask()
        assert [one["user"] for one in served["ssh"]["sessions"]] == ["alice", "alice"]

        elsewhere = str(processes.directory / "nowhere")
        options = ["status", "--run", str(processes.directory), "--serve", elsewhere, "--contexts", elsewhere]
        told = await asyncio.to_thread(CliRunner().invoke, command, [*options, "--json"], standalone_mode=False)
        assert told.return_value == 0
        assert [one["kind"] for one in json.loads(told.output)["daemons"]] == ["serve", "connect"]
        told = await asyncio.to_thread(CliRunner().invoke, command, options, standalone_mode=False)
        assert "serve acme: up, 2 of 2 links, 1 user online" in told.output
        assert f"127.0.0.1:{local} -> 127.0.0.1:{target} (mail)  listening" in told.output

        server.signal(signal.SIGTERM)
        await server.ended(within=5)
        await client.until_state("down")
        told = await asyncio.to_thread(CliRunner().invoke, command, options, standalone_mode=False)
        assert told.return_value == 1
        client.signal(signal.SIGTERM)
        await client.ended(within=5)
        told = await asyncio.to_thread(CliRunner().invoke, command, options, standalone_mode=False)
        assert told.return_value == 3


async def test_users_follow_their_file(processes: Daemons, alice: asyncssh.SSHKey) -> None:
    """A removed user is cut off, a narrowed one loses those flows only, a wider one has more: each within a second."""
    bob = asyncssh.generate_private_key("ssh-ed25519")
    async with serving(echo) as one, serving(echo) as two, contextlib.AsyncExitStack() as stack:
        ports = free_ports(4)
        processes.set_users(user("alice", alice, one, two), user("bob", bob, one))
        server = await processes.serve()
        a = await processes.connect("alice", alice, [bridge("one", one, ports), bridge("two", two, ports + 1)])
        b = await processes.connect("bob", bob, [bridge("one", one, ports + 2), bridge("two", two, ports + 3)])
        for process in (server, a, b):
            await process.until_state("up")
        flows = [await stack.enter_async_context(connected(local)) for local in (ports, ports + 1, ports + 2)]
        assert [await echoed(flow) for flow in flows] == [True, True, True]
        assert await hear(ports + 3) == b"reset", "bob may not"

        processes.set_users(user("alice", alice, two), user("bob", bob, one, two))
        assert await seconds_until_cut(flows[0]) < 1.0
        assert [await echoed(flow) for flow in flows] == [False, True, True]
        async with connected(ports + 3) as flow:
            assert await echoed(flow), "bob may now"

        processes.set_users(user("bob", bob, one, two))
        assert await seconds_until_cut(flows[1]) < 1.0
        assert [await echoed(flow) for flow in flows] == [False, False, True]
        await a.until_reason("does not accept the key of user alice")

        processes.users_file.write_text("{ broken")
        with pytest.raises(TwError, match="is no JSON"):
            await server.ask("reload")
        assert await echoed(flows[2]), "the old ones stay in force"


async def test_only_changed_bridges_are_touched(processes: Daemons, alice: asyncssh.SSHKey) -> None:
    async with serving(echo) as target:
        ports = free_ports(3)
        processes.set_users(user("alice", alice, target))
        server = await processes.serve()
        client = await processes.connect("alice", alice, [bridge("a", target, ports), bridge("b", target, ports + 1)])
        await server.until_state("up")
        await client.until_state("up")
        async with connected(ports) as flow:
            client.change(bridges=[bridge("a", target, ports), bridge("b", target, ports + 2)])
            assert await client.ask("reload") == {"changed": ["bridge b changed"], "restart": []}
            with pytest.raises(ConnectionRefusedError):
                await hear(ports + 1)
            async with connected(ports + 2) as moved:
                assert await echoed(moved)

            good = client.config.read_text()
            client.config.write_text(good.replace("bridges", "bridgets"))
            with pytest.raises(TwError, match="bridgets"):
                await client.ask("reload")
            assert await echoed(flow), "nothing happened to it"
            client.config.write_text(good)
            client.change(relay={"host": "elsewhere.example", "links": 1})
            assert await client.ask("reload") == {"changed": ["relay.links"], "restart": ["relay.host"]}
            await client.until_live(1)


async def test_a_taken_port_is_named_and_stops_nothing_else(processes: Daemons, alice: asyncssh.SSHKey) -> None:
    async with serving(banner) as target:
        ports = free_ports(2)
        processes.set_users(user("alice", alice, target))
        await processes.serve()
        with socket.create_server(("127.0.0.1", ports)):
            client = await processes.connect(
                "alice", alice, [bridge("a", target, ports), bridge("b", target, ports + 1)]
            )
            status = await client.until_state("degraded")
            assert f"taken by {own_name()}" in status["reason"]
            assert [one["state"] for one in status["bridges"]] == ["closed", "listening"]
            assert await hear(ports + 1) == BANNER
        await client.until_state("up", within=5)
        assert await hear(ports) == BANNER


async def test_reload_by_hand(processes: Daemons) -> None:
    server = await processes.serve()
    await server.until_state("up")
    run = ["--run", str(processes.directory)]
    told = await asyncio.to_thread(CliRunner().invoke, command, ["reload", "serve", *run], standalone_mode=False)
    assert (told.return_value, told.output) == (None, "serve: nothing changed\n")
    server.change(ssh_port=2299)
    told = await asyncio.to_thread(CliRunner().invoke, command, ["reload", "serve", *run], standalone_mode=False)
    assert "in force after a restart only: ssh_port" in told.output
    told = await asyncio.to_thread(CliRunner().invoke, command, ["reload", "nowhere", *run], standalone_mode=False)
    assert isinstance(told.exception, DaemonUnreachableError)
    server.signal(signal.SIGHUP)
    async with asyncio.timeout(5):
        while server.log.read_text().count("reloaded:") != 3:
            await asyncio.sleep(0.05)


def own_name() -> str:
    return f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"


async def test_a_stop_lets_flows_end_and_a_second_one_does_not_wait(processes: Daemons, alice: asyncssh.SSHKey) -> None:
    async with serving(echo) as target:
        local = free_ports(1)
        processes.set_users(user("alice", alice, target))
        server = await processes.serve()
        await server.until_state("up")
        for patient in (True, False):
            client = await processes.connect("alice", alice, [bridge("a", target, local)])
            await client.until_state("up")
            async with connected(local) as flow:
                reader, writer = flow
                assert await echoed(flow)
                client.signal(signal.SIGTERM)
                await asyncio.sleep(0.5)
                with pytest.raises(ConnectionRefusedError):
                    await hear(local)
                if patient:
                    writer.write(b"ended")
                    writer.write_eof()
                    assert await reader.read() == b"ended"
                else:
                    client.signal(signal.SIGTERM)
                    await seconds_until_cut(flow)
                code, took = await client.ended(within=5)
                assert (code, took < 1.0) == (0 if patient else 1, True)


async def test_a_second_daemon_does_not_take_over(processes: Daemons) -> None:
    server = await processes.serve()
    await server.until_state("up")
    second = await processes.serve()
    code, _ = await second.ended(within=5)
    assert code != 0
    assert "another daemon already runs here" in second.log.read_text()
    await server.until_state("up")
