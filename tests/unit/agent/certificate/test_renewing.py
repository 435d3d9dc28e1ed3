"""When a certificate is renewed, how often that is tried, and what is said where time is short."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.certificate.chains import NOW, chain
from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.errors import RetryableError
from tunnel_whisperer.renewing import Renewal, due
from tunnel_whisperer.tls_chain import Chain, Life


@dataclass
class World:
    """A daemon with a certificate that is `age` days old."""

    age: float = 0.0
    failing: bool = False
    attempts: int = 0
    elapsed: float = 0.0
    now: datetime = NOW
    authority: Life | None = None
    chain: Chain | None = field(init=False)

    def __post_init__(self) -> None:
        self.chain = chain(self.age)
        self.renewal = Renewal(
            lambda: self.chain,
            self.renew,
            authority=lambda: self.authority,
            now=lambda: self.now,
            pauses=Backoff(low=10.0, high=6 * 3600.0, growth=2.0, random=lambda: 1.0),
            random=lambda: 0.5,
        )

    async def renew(self, old: Chain) -> Chain:
        self.attempts += 1
        if self.failing:
            raise RetryableError("no link to the server is up")
        self.chain = chain((NOW - self.now) / timedelta(days=1))
        return self.chain

    async def look(self, **later: float) -> None:
        """Look after so much more time."""
        self.now += timedelta(**later)
        self.elapsed += timedelta(**later).total_seconds()
        await self.renewal.look()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World()


@pytest.fixture(autouse=True)
async def monotonic(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's clock goes with the test's."""
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0 + world.elapsed)


async def test_it_is_renewed_once_after_half_of_its_life(world: World) -> None:
    await world.look()
    await world.look(days=45)
    assert world.attempts == 0
    assert world.renewal.status()["renewal"]["due"] == "2026-07-18T05:31:30Z"
    await world.look(days=5)
    await world.look(minutes=1)
    assert world.attempts == 1
    assert world.renewal.error is None
    await world.look(days=40)
    assert world.attempts == 1


async def test_it_is_tried_again_with_pauses_that_grow(world: World) -> None:
    world.failing = True
    await world.look(days=48)
    tries = []
    for _ in range(24 * 60):
        before = world.attempts
        await world.look(minutes=1)
        if world.attempts > before:
            tries.append(world.elapsed)
    gaps = [after - before for before, after in itertools.pairwise(tries)]
    assert gaps == sorted(gaps)
    assert len(tries) < 20, "a day of trying is no work"
    assert gaps[-1] <= 6 * 3600 + 60
    assert world.renewal.error == "no link to the server is up"
    world.failing = False
    await world.look(hours=7)
    assert world.renewal.error is None


async def test_a_server_that_has_no_later_one_is_not_pressed(world: World) -> None:
    async def same(old: Chain) -> Chain:
        world.attempts += 1
        return old

    world.renewal._renew = same
    await world.look(days=48)
    for _ in range(60):
        await world.look(minutes=1)
    assert 1 < world.attempts < 10
    assert world.renewal.error == "a later one is not to be had yet"


async def test_a_short_rest_is_warned_of_once_a_day(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.failing = True
    with caplog.at_level(logging.WARNING):
        await world.look(days=60)
        assert caplog.messages == []
        await world.look(days=8)
        await world.look(hours=1)
        await world.look(hours=22)
        assert caplog.messages == [
            "our certificate ends on 2026-08-30 00:00 UTC: no link to the server is up",
        ]
        await world.look(hours=2)
        assert len(caplog.messages) == 2
        await world.look(days=30)
        assert caplog.messages[-1].startswith("our certificate ended on 2026-08-30")


async def test_the_authority_of_a_server_is_looked_after_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.authority = Life(NOW - timedelta(days=300), NOW + timedelta(days=90))
    with caplog.at_level(logging.WARNING):
        await world.look()
        await world.look(minutes=1)
    assert caplog.messages == [
        "the certificate of this tenant's authority ends on 2026-08-30 00:00 UTC: let the operator run site.yml"
    ]
    assert world.renewal.authority_status()["state"] == "low"


async def test_without_a_certificate_there_is_nothing_to_do(world: World) -> None:
    world.chain = None
    await world.look(days=100)
    assert world.attempts == 0
    assert world.renewal.status() is None
    assert world.renewal.authority_status() is None


@given(st.floats(0, 1), st.floats(0.001, 4000))
def test_it_is_due_soon_after_the_half_and_never_after_all_at_once(spread: float, days: float) -> None:
    life = Life(NOW, NOW + timedelta(days=days))
    share = (due(life, spread) - NOW) / (life.ends - NOW)
    assert 0.5 - 1e-6 <= share <= 0.55 + 1e-6
    assert not life.low(due(life, spread))
