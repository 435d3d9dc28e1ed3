"""The life of one link: attempt, hold, rest, and the next attempt; with a connection and a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.link.link import Held, Link, Login, Owner, Surroundings
from tunnel_whisperer.link.wire import Wire


class Connection:
    """An SSH connection that answers every ping."""

    async def _make_global_request(self, request: bytes) -> None:
        pass

    def abort(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass


class Delays(Backoff):
    """Tells the delays it would give, and has nobody wait for them."""

    def __init__(self) -> None:
        super().__init__(low=1.0, high=100.0, growth=2.0, random=lambda: 1.0)
        self.given: list[float] = []

    def next(self, lived: float) -> float:
        self.given.append(super().next(lived))
        return 0.0


class ShortLink(Link):
    """A link that is up for as long as the next of `lives` says; None is an attempt that fails."""

    def __init__(self, lives: list[float | None], over: Callable[[], None]) -> None:
        self.now = 0.0
        self.delays = Delays()
        self._lives = lives
        self._over = over
        around = Surroundings(
            dialer=cast(Any, None), report=lambda change: None, clock=lambda: self.now, backoff=lambda: self.delays
        )
        super().__init__(1, cast(Login, None), around)

    async def _establish(self) -> Held:
        if not self._lives:
            self._over()
            await asyncio.get_running_loop().create_future()
        life = self._lives.pop(0)
        if life is None:
            raise OSError(111, "Connection refused")
        owner = Owner(self._nudge)
        asyncio.get_running_loop().call_soon(self._end, owner, life)
        return Held(cast(Any, Connection()), Wire(asyncio.Protocol(), lambda: self.now), owner, 2222)

    def _end(self, owner: Owner, life: float) -> None:
        self.now += life
        owner.connection_lost(None)


@pytest.mark.parametrize(
    ("lives", "delays"),
    [
        ([None, None, None, None], [2.0, 4.0, 8.0, 16.0]),
        ([None, None, 5.0, None], [2.0, 4.0, 8.0, 16.0]),
        ([None, None, 29.9, 0.0], [2.0, 4.0, 8.0, 16.0]),
        ([None, None, 30.0, None], [2.0, 4.0, 2.0, 4.0]),
        ([None, None, 3600.0, 1.0, None], [2.0, 4.0, 2.0, 4.0, 8.0]),
    ],
)
async def test_a_link_that_was_held_long_starts_its_delays_over(
    no_leaks: None, lives: list[float | None], delays: list[float]
) -> None:
    over = asyncio.Event()
    link = ShortLink(list(lives), over.set)
    task = asyncio.create_task(link.run())
    async with asyncio.timeout(5):
        await over.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert link.delays.given == delays
