"""The bridges of a context: what listens when, with ports of this host and no link."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tunnel_whisperer.config import Bridge
from tunnel_whisperer.link import bridges
from tunnel_whisperer.link.bridges import Bridges, OpenBridge


def bridge(name: str = "db") -> Bridge:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Bridge(name=name, port=5432, local_port=free.getsockname()[1])


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets bridges that do not listen be tried again at once, and tells of each try."""
    tried: list[str] = []
    listen = OpenBridge.listen

    async def note(self: OpenBridge) -> None:
        tried.append(self.bridge.name)
        await listen(self)

    monkeypatch.setattr(OpenBridge, "listen", note)
    monkeypatch.setattr(bridges, "RETRY", 0)
    return tried


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Bridges]:
    owner = Bridges(cast(Any, None))
    task = asyncio.create_task(owner.run())
    try:
        yield owner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def rounds(number: int = 20) -> None:
    """Let the loop go round, so that whoever looks again and again has done so."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_port_that_was_taken_is_listened_on_once_it_is_free(no_leaks: None, looks: list[str]) -> None:
    wanted = bridge()
    async with running() as owner:
        with socket.create_server(("127.0.0.1", wanted.local_port)):
            await owner.apply([wanted])
            assert "taken by" in owner.status()[0]["reason"]
        async with asyncio.timeout(5):
            while not owner.all_listen:
                await asyncio.sleep(0)


async def test_bridges_that_were_shut_stay_so_while_their_flows_end(no_leaks: None, looks: list[str]) -> None:
    async with running() as owner:
        await owner.apply([bridge()])
        owner.shut()
        await rounds()
        assert await owner.apply([bridge("web"), bridge("db")]) == []
        assert not owner.all_listen
        assert looks == ["db"]


async def test_a_bridge_that_is_just_being_opened_is_shut_as_well(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on, listen = asyncio.Event(), asyncio.Event(), OpenBridge.listen

    async def slow(self: OpenBridge) -> None:
        reached.set()
        await go_on.wait()
        await listen(self)

    monkeypatch.setattr(OpenBridge, "listen", slow)
    async with running() as owner:
        opening = asyncio.create_task(owner.apply([bridge()]))
        await reached.wait()
        owner.shut()
        go_on.set()
        await opening
        assert not owner.all_listen
