"""The keeper of the relay's users: when it looks, what it asks for, and how it goes on after a failure."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field

import pytest

from tests.until import until
from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.errors import FatalError, RetryableError, TwError
from tunnel_whisperer.link.keeper import Keeper


@dataclass
class Relay:
    """An Xray that can be out of reach."""

    users: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    broken: TwError | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    async def reconcile(self, desired: Mapping[str, str], first: Collection[str] = ()) -> Relay:
        self.asked.append(tuple(first))
        if self.broken:
            raise self.broken
        self.users = dict(desired)
        return self


@dataclass
class Way:
    """The way to the relay, as the keeper asks after it."""

    open: bool = True
    looks: int = 0

    def __call__(self) -> bool:
        self.looks += 1
        return self.open


@contextlib.asynccontextmanager
async def kept(relay: Relay, wanted: dict[str, str], way: Way | None = None) -> AsyncIterator[Keeper]:
    keeper = Keeper(relay, lambda: (wanted, ("alice",)), way or Way(), Backoff(low=0.01, high=0.02, random=lambda: 0.5))
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_users_are_put_there_when_there_is_a_way(no_leaks: None) -> None:
    relay, wanted, way = Relay(), {"alice": "u1"}, Way(open=False)
    async with kept(relay, wanted, way) as keeper:
        await until(lambda: way.looks)
        assert relay.asked == []
        way.open = True
        keeper.nudge()
        await until(lambda: relay.users == {"alice": "u1"})
        assert relay.asked == [("alice",)], "those who are connecting come first"
        wanted["bob"] = "u2"
        keeper.nudge()
        await until(lambda: keeper.status() == {"users": 2, "error": None})


async def test_a_failure_is_told_and_tried_again(no_leaks: None) -> None:
    relay = Relay(broken=RetryableError("its API does not answer", where="the relay's Xray"))
    async with kept(relay, {"alice": "u1"}) as keeper:
        await until(lambda: len(relay.asked) > 2)
        assert keeper.status() == {"users": None, "error": "the relay's Xray: its API does not answer"}
        relay.broken = None
        await until(lambda: keeper.status() == {"users": 1, "error": None})


async def test_a_refusal_is_told_and_not_tried_again_before_something_changes(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunnel_whisperer.link.keeper.LOOK_EVERY", 0.01)
    relay = Relay(broken=FatalError("refused: no such inbound", where="the relay's Xray"))
    async with kept(relay, {"alice": "u1"}) as keeper:
        await until(lambda: keeper.error)
        told = "the relay's Xray: refused: no such inbound; not tried again before the users or the links change"
        assert keeper.status() == {"users": None, "error": told}
        with pytest.raises(TimeoutError):
            await until(lambda: len(relay.asked) > 1, within=0.2)
        relay.broken = None
        keeper.nudge()
        await until(lambda: keeper.status() == {"users": 1, "error": None})
