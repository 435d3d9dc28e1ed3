"""The keeper of the relay's users: when it looks, what it asks for, and how it goes on after a failure."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field

from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.link.keeper import Keeper


@dataclass
class Relay:
    """An Xray that can be out of reach."""

    users: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    broken: bool = False
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    async def reconcile(self, desired: Mapping[str, str], first: Collection[str] = ()) -> Relay:
        self.asked.append(tuple(first))
        if self.broken:
            raise RetryableError("its API does not answer", where="the relay's Xray")
        self.users = dict(desired)
        return self


@contextlib.asynccontextmanager
async def kept(relay: Relay, wanted: dict[str, str], reachable: list[bool]) -> AsyncIterator[Keeper]:
    keeper = Keeper(
        relay, lambda: (wanted, ("alice",)), lambda: reachable[0], Backoff(low=0.01, high=0.02, random=lambda: 0.5)
    )
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_users_are_put_there_when_there_is_a_way(no_leaks: None) -> None:
    relay, wanted, reachable = Relay(), {"alice": "u1"}, [False]
    async with kept(relay, wanted, reachable) as keeper:
        await asyncio.sleep(0.03)
        assert relay.asked == []
        reachable[0] = True
        keeper.nudge()
        await asyncio.sleep(0.03)
        assert relay.users == {"alice": "u1"}
        assert relay.asked == [("alice",)], "those who are connecting come first"
        wanted["bob"] = "u2"
        keeper.nudge()
        await asyncio.sleep(0.03)
        assert keeper.status() == {"users": 2, "error": None}


async def test_a_failure_is_told_and_tried_again(no_leaks: None) -> None:
    relay = Relay(broken=True)
    async with kept(relay, {"alice": "u1"}, [True]) as keeper:
        await asyncio.sleep(0.1)
        assert len(relay.asked) > 2
        assert keeper.status() == {"users": None, "error": "the relay's Xray: its API does not answer"}
        relay.broken = False
        await asyncio.sleep(0.05)
        assert keeper.status() == {"users": 1, "error": None}
