"""The keeper of the relay's users: when it looks, what it asks for, and how it goes on after a failure."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.until import until
from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.errors import FatalError, RetryableError, TwError
from tunnel_whisperer.link import keeper as module
from tunnel_whisperer.link.keeper import Change, Keeper, differences

NAMES = st.sampled_from(["alice", "bob", "carol", "dave"])
SETS = st.dictionaries(NAMES, st.sampled_from(["u1", "u2"]))
AWAY = RetryableError("its API does not answer", where="the relay's Xray")


@dataclass
class Relay:
    """An Xray that can be out of reach, and slow: each change takes one round of `pace`."""

    users: dict[str, str] = field(default_factory=lambda: {"server": "s"})
    asked: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    broken: TwError | None = None
    pace: float = 0.0

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.broken:
            raise self.broken

    async def list(self) -> dict[str, str]:
        self._ask("list")
        return dict(self.users)

    async def count(self) -> int:
        self._ask("count")
        return len(self.users)

    async def change(self, changes: Iterable[Change], done: Callable[[Change], None]) -> None:
        self._ask("change")
        for name, uuid in changes:
            await asyncio.sleep(self.pace)
            self._ask(name)
            if uuid is None:
                self.users.pop(name, None)
            else:
                assert name not in self.users, "Xray would keep the old one"
                self.users[name] = uuid
            self.changes.append((name, uuid))
            done((name, uuid))


@dataclass
class Kept:
    relay: Relay
    wanted: dict[str, str]
    first: tuple[str, ...] = ("alice",)
    reachable: bool = True
    looks: int = 0

    def _way(self) -> bool:
        self.looks += 1
        return self.reachable

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Keeper]:
        keeper = Keeper(
            self.relay,
            lambda: (dict(self.wanted), self.first),
            self._way,
            Backoff(low=0.01, high=0.02, random=lambda: 0.5),
        )
        task = asyncio.create_task(keeper.run())
        try:
            yield keeper
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_users_are_put_there_when_there_is_a_way(no_leaks: None) -> None:
    kept = Kept(Relay(), {"bob": "u2", "alice": "u1"}, reachable=False)
    async with kept.running() as keeper:
        await until(lambda: kept.looks)
        assert kept.relay.asked == []
        kept.reachable = True
        keeper.nudge()
        await until(lambda: keeper.kept == 2)
        assert kept.relay.changes == [("alice", "u1"), ("bob", "u2")], "those who are connecting come first"
        assert keeper.status() == {"users": 2, "error": None}


async def test_a_change_needs_no_look_at_all_users(no_leaks: None) -> None:
    kept = Kept(Relay(), {"alice": "u1"})
    async with kept.running() as keeper:
        await until(lambda: keeper.kept == 1)
        kept.relay.asked.clear()
        kept.wanted = {"alice": "u3", "bob": "u2"}
        keeper.nudge()
        await until(lambda: keeper.kept == 2)
        assert "list" not in kept.relay.asked
        assert kept.relay.users == {"server": "s", "alice": "u3", "bob": "u2"}


async def test_users_that_xray_forgot_are_put_back(no_leaks: None) -> None:
    kept = Kept(Relay(), {"alice": "u1", "bob": "u2"})
    async with kept.running() as keeper:
        await until(lambda: keeper.kept == 2)
        kept.relay.users = {"server": "s"}
        keeper.nudge()
        await until(lambda: len(kept.relay.users) == 3)


async def test_a_removal_overtakes_a_thousand_that_are_being_put_back(no_leaks: None) -> None:
    everybody = {f"user-{number}": "u" for number in range(1000)}
    kept = Kept(Relay(pace=0.001), {**everybody, "alice": "u1"})
    async with kept.running() as keeper:
        await until(lambda: len(kept.relay.changes) > 10)
        del kept.wanted["alice"]
        kept.wanted["newcomer"] = "u9"
        keeper.nudge()
        await until(lambda: "alice" not in kept.relay.users and "newcomer" in kept.relay.users)
        assert len(kept.relay.changes) < 500, "they are still being put back"


async def test_one_who_was_not_put_back_yet_and_is_removed_never_comes_in(no_leaks: None) -> None:
    everybody = {f"user-{number}": "u" for number in range(200)}
    kept = Kept(Relay(pace=0.001), {**everybody, "last": "u1"})
    async with kept.running() as keeper:
        await until(lambda: len(kept.relay.changes) > 10)
        del kept.wanted["last"]
        keeper.nudge()
        await until(lambda: keeper.kept == 200)
        assert "last" not in [name for name, _ in kept.relay.changes]


async def test_a_failure_is_told_and_tried_again(no_leaks: None) -> None:
    kept = Kept(Relay(broken=AWAY), {"alice": "u1"})
    async with kept.running() as keeper:
        await until(lambda: len(kept.relay.asked) > 2)
        assert keeper.status() == {"users": None, "error": "the relay's Xray: its API does not answer"}
        kept.relay.broken = None
        await until(lambda: keeper.status() == {"users": 1, "error": None})


async def test_a_refusal_is_told_and_not_tried_again_before_something_changes(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    kept = Kept(Relay(broken=FatalError("refused: no such inbound", where="the relay's Xray")), {"alice": "u1"})
    async with kept.running() as keeper:
        await until(lambda: keeper.error)
        told = "the relay's Xray: refused: no such inbound; not tried again before the users or the links change"
        assert keeper.status() == {"users": None, "error": told}
        with pytest.raises(TimeoutError):
            await until(lambda: len(kept.relay.asked) > 1, within=0.2)
        kept.relay.broken = None
        keeper.nudge()
        await until(lambda: keeper.status() == {"users": 1, "error": None})


async def test_a_removal_does_not_wait_for_the_next_attempt(no_leaks: None) -> None:
    kept = Kept(Relay(), {"alice": "u1", "bob": "u2"})
    async with kept.running() as keeper:
        await until(lambda: keeper.kept == 2)
        keeper._backoff = Backoff(low=60.0, high=61.0)
        kept.relay.broken = AWAY
        keeper.nudge()
        await until(lambda: keeper.error)
        kept.relay.broken = None
        del kept.wanted["bob"]
        keeper.nudge()
        await until(lambda: "bob" not in kept.relay.users)


async def test_after_a_failure_it_looks_at_all_as_a_change_may_have_got_lost(no_leaks: None) -> None:
    kept = Kept(Relay(), {"alice": "u1"})
    async with kept.running() as keeper:
        await until(lambda: keeper.kept == 1)
        kept.relay.broken = AWAY
        keeper.nudge()
        await until(lambda: keeper.error)
        # As many as there should be, but not those who should be.
        kept.relay.users = {"server": "s", "mallory": "u9"}
        kept.relay.broken = None
        await until(lambda: kept.relay.users == {"server": "s", "alice": "u1"})


async def test_it_looks_by_itself_now_and_then(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.02)
    kept = Kept(Relay(), {"alice": "u1"})
    async with kept.running() as keeper:
        await until(lambda: keeper.kept == 1)
        kept.relay.users = {"server": "s"}
        await until(lambda: "alice" in kept.relay.users)


@given(SETS, SETS, st.sets(NAMES), st.sets(NAMES))
def test_differences_lead_from_what_is_to_what_is_wanted(
    known: dict[str, str], wanted: dict[str, str], new: set[str], first: set[str]
) -> None:
    gone, missing = differences(known, wanted, new, first)
    users = dict(known)
    for name, _ in gone:
        del users[name]
    for name, uuid in missing:
        assert uuid is not None
        assert name not in users
        users[name] = uuid
    assert users == wanted
    assert all(wanted.get(name) != known[name] for name, _ in gone), "nobody is disturbed without need"
    ranks = [(name not in new, name not in first) for name, _ in missing]
    assert ranks == sorted(ranks)


def test_the_server_itself_is_nobodys_to_change() -> None:
    assert differences({}, {"server": "u1"}) == ([], [])
