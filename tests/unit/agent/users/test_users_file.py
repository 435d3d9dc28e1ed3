"""The users in force follow their file and the time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.agent.provision.servers import ALICE, BOB, enrolling, user
from tunnel_whisperer import users_file as module
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.users.model import User, UserSet
from tunnel_whisperer.users.store import encode
from tunnel_whisperer.users_file import UsersFile

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Stage:
    """A users file, and a clock that the test sets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOON
        self.seen: list[set[str]] = []

    def write(self, *users: User) -> None:
        new = self.path.with_suffix(".new")
        new.write_bytes(encode(UserSet({one.name: one for one in users})))
        new.replace(self.path)

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[UsersFile]:
        followed = UsersFile(self.path, lambda: self.now)
        task = asyncio.create_task(followed.run(lambda users: self.seen.append(set(users))))
        try:
            yield followed
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def next(self) -> set[str]:
        """Wait for a change."""
        count = len(self.seen)
        async with asyncio.timeout(2):
            while len(self.seen) == count:
                await asyncio.sleep(0.002)
        return self.seen[-1]

    async def quiet(self) -> None:
        """Make sure that nothing is told for some looks."""
        count = len(self.seen)
        await asyncio.sleep(0.06)
        assert len(self.seen) == count


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    return Stage(tmp_path / "users.json")


def timed(name: str, begin: datetime | None, end: datetime | None) -> User:
    found = user(name, ALICE)
    return replace(found, grant=replace(found.grant, not_before=begin, expires=end))


async def test_a_file_that_is_replaced_is_followed(stage: Stage, no_leaks: None) -> None:
    async with stage.following() as followed:
        assert set(followed.users) == set(), "no file, no users"
        stage.write(user("alice", ALICE))
        assert await stage.next() == {"alice"}
        stage.write(user("alice", ALICE), user("bob", BOB))
        assert await stage.next() == {"alice", "bob"}
        stage.write(user("alice", ALICE), user("bob", BOB))
        await stage.quiet()
        assert not await followed.refresh()


async def test_a_broken_one_changes_nothing(stage: Stage, no_leaks: None) -> None:
    stage.write(user("alice", ALICE))
    async with stage.following() as followed:
        stage.path.write_text("{ broken")
        await stage.quiet()
        assert set(followed.users) == {"alice"}
        assert "is no JSON" in (followed.error or "")
        with pytest.raises(ConfigError, match="is no JSON"):
            await followed.refresh()
        stage.write(user("bob", BOB))
        assert await stage.next() == {"bob"}
        assert followed.error is None


async def test_time_alone_lets_users_in_and_out(stage: Stage, no_leaks: None) -> None:
    stage.write(timed("alice", NOON + HOUR, NOON + 3 * HOUR), enrolling("bob", BOB, until=NOON + 2 * HOUR))
    async with stage.following() as followed:
        assert (set(followed.users), set(followed.known)) == ({"bob"}, {"alice", "bob"})
        stage.now = NOON + HOUR - timedelta(seconds=1)
        await stage.quiet()
        stage.now = NOON + HOUR
        assert await stage.next() == {"alice", "bob"}
        stage.now = NOON + 2 * HOUR
        assert await stage.next() == {"alice"}, "an enrolment runs out"
        stage.now = NOON + 3 * HOUR
        assert await stage.next() == set()


async def test_a_clock_that_is_put_back_lets_those_in_whose_time_is_not_over(stage: Stage, no_leaks: None) -> None:
    stage.write(timed("alice", None, NOON + HOUR))
    stage.now = NOON + 1000 * HOUR
    async with stage.following() as followed:
        assert set(followed.users) == set()
        stage.now = NOON
        assert await stage.next() == {"alice"}


async def test_reading_ten_thousand_users_does_not_hold_the_loop(stage: Stage, no_leaks: None) -> None:
    """Each has a certificate. What is measured is how late a timer of one millisecond is."""
    pem = "-----BEGIN CERTIFICATE-----\n" + "\n".join("A" * 64 for _ in range(11)) + "\n-----END CERTIFICATE-----\n"
    many = [replace(user(f"user-{number}", ALICE), certificate=pem) for number in range(10_000)]
    stage.write(*many)
    worst = 0.0
    async with stage.following() as followed:
        changing = asyncio.create_task(stage.next())
        await asyncio.sleep(0)
        await asyncio.to_thread(stage.write, *many[1:])
        loop = asyncio.get_running_loop()
        while not changing.done():
            began = loop.time()
            await asyncio.sleep(0.001)
            worst = max(worst, loop.time() - began)
        assert len(await changing) == len(followed.users) == 9_999
    print(f"{os.stat(stage.path).st_size / 1e6:.0f} MB; the loop was held for {worst * 1000:.0f} ms at most")
    assert worst < 0.25
