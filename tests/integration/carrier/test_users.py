"""The users of a real Xray, through its API."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.carrier.conftest import StartCarrier
from tests.integration.carrier.stand import Stand, free_port
from tests.integration.carrier.streams import close, destination, echo, open_stream
from tunnel_whisperer.carrier.api import Change, RelayUsers
from tunnel_whisperer.errors import FatalError, RetryableError
from tunnel_whisperer.link.keeper import Keeper


@pytest.fixture
def users(stand: Stand) -> RelayUsers:
    return RelayUsers(f"127.0.0.1:{stand.api_port}")


async def admitted(stand: Stand, start_carrier: StartCarrier, name: str, uuid_: str, port: int) -> bool:
    """Whether that user gets a byte through."""
    carrier = await start_carrier(stand.settings(stand.identity(name, given_uuid=uuid_)))
    reader, writer = await open_stream(carrier, port)
    writer.write(b"x")
    async with asyncio.timeout(10):
        got = await reader.read(1)
    await close(writer)
    return got == b"x"


async def test_a_user_comes_in_when_added_and_not_when_removed(
    stand: Stand, start_carrier: StartCarrier, users: RelayUsers
) -> None:
    alice, bob = str(uuid.uuid4()), str(uuid.uuid4())
    await users.change([("alice", alice), ("bob", bob)])
    await users.change([("bob", None)])
    assert await users.list() == {"server": stand.server_uuid, "alice": alice}
    async with destination(echo) as port:
        assert await admitted(stand, start_carrier, "alice", alice, port)
        assert not await admitted(stand, start_carrier, "bob", bob, port)


async def test_adding_and_removing_twice_is_fine(users: RelayUsers) -> None:
    alice, done = str(uuid.uuid4()), []
    for change in (("alice", alice), ("alice", alice), ("alice", None), ("alice", None)):
        await users.change([change], done.append)
    assert len(done) == 4


async def test_users_are_counted_without_being_listed(stand: Stand, users: RelayUsers) -> None:
    assert await users.count() == 1, "the server itself"
    await users.change([("alice", str(uuid.uuid4())), ("bob", str(uuid.uuid4()))])
    assert await users.count() == 3


async def test_what_is_refused_keeps_nothing_else_from_being_done(stand: Stand, users: RelayUsers) -> None:
    alice, bob = str(uuid.uuid4()), str(uuid.uuid4())
    with pytest.raises(FatalError, match="refused"):
        await users.change([("alice", alice), ("mallory", "x" * 40), ("bob", bob)])
    assert await users.list() == {"server": stand.server_uuid, "alice": alice, "bob": bob}


async def test_changes_that_come_to_an_end_early_are_left_at_that(stand: Stand, users: RelayUsers) -> None:
    def some() -> Iterator[Change]:
        for number in range(1000):
            if len(done) >= 100:
                return
            yield f"user-{number}", str(uuid.uuid4())

    done: list[Change] = []
    await users.change(some(), done.append)
    assert 100 <= len(done) < 200
    assert await users.count() == len(done) + 1


@pytest.mark.parametrize("count", [1000, 10_000])
async def test_thousands_are_back_soon_after_a_restart(stand: Stand, users: RelayUsers, count: int) -> None:
    wanted = {f"user-{number}": str(uuid.uuid4()) for number in range(count)}
    await users.change(wanted.items())
    await stand.kill_xray()
    await stand.start_xray()
    assert await users.count() == 1
    began = time.monotonic()
    await users.change(wanted.items())
    took = time.monotonic() - began
    print(f"{count} users put back in {took:.2f} s")
    assert await users.list() == wanted | {"server": stand.server_uuid}
    assert took < 10


@contextlib.asynccontextmanager
async def at_60_ms(stand: Stand) -> AsyncIterator[RelayUsers]:
    """The API as in the product, where a unix socket leads to the relay over SSH, on a way that takes 60 ms."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, pending = asyncio.get_running_loop(), []
        while data := await reader.read(65536):
            pending.append(loop.call_later(0.03, writer.write, data))
        pending.append(loop.call_later(0.03, writer.close))

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", stand.api_port)
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))

    socket = stand.directory / "api.sock"
    server = await asyncio.start_unix_server(forward, str(socket))
    try:
        yield RelayUsers(f"unix:{socket}")
    finally:
        server.close()
        await asyncio.sleep(0.1)


async def test_requests_do_not_wait_for_each_other(stand: Stand) -> None:
    async with at_60_ms(stand) as users:
        wanted = {f"user-{number}": str(uuid.uuid4()) for number in range(300)}
        began = time.monotonic()
        await users.change(wanted.items())
        took = time.monotonic() - began
        print(f"300 users added over 60 ms in {took:.2f} s")
        assert took < 300 * 0.06 / 3


async def test_a_removal_overtakes_ten_thousand_that_are_being_put_back(stand: Stand, users: RelayUsers) -> None:
    """Far from the relay they take ten seconds; who is removed meanwhile is out within one, and who is new is in."""
    wanted = {"alice": "0" * 8 + "-0000-4000-8000-" + "0" * 12}
    wanted |= {f"user-{number}": str(uuid.uuid4()) for number in range(10_000)}
    async with at_60_ms(stand) as far:
        keeper = Keeper(far, lambda: (dict(wanted), ("alice",)), lambda: True)
        keeping = asyncio.create_task(keeper.run())
        try:
            async with asyncio.timeout(5):
                while "alice" not in await users.list():
                    await asyncio.sleep(0.01)
            del wanted["alice"]
            wanted["carol"] = str(uuid.uuid4())
            keeper.nudge()
            began = time.monotonic()
            async with asyncio.timeout(5):
                while "alice" in (known := await users.list()) or "carol" not in known:
                    await asyncio.sleep(0.01)
            took = time.monotonic() - began
            print(f"out and in after {took:.2f} s, with {len(known)} of 10,000 there")
            assert took < 1.0
            assert len(known) < 9000, "the others are still on their way"
            async with asyncio.timeout(30):
                while keeper.kept is None:
                    await asyncio.sleep(0.05)
            print(f"all were there after {time.monotonic() - began:.1f} s")
            assert await users.list() == wanted | {"server": stand.server_uuid}
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def test_an_api_out_of_reach_is_worth_another_try() -> None:
    began = time.monotonic()
    with pytest.raises(RetryableError, match="the relay's Xray: its API does not answer"):
        await RelayUsers(f"127.0.0.1:{free_port()}").list()
    assert time.monotonic() - began < 5


async def test_a_refusal_says_what_was_refused(stand: Stand) -> None:
    with pytest.raises(FatalError, match=r"refused: .*no-such-inbound"):
        await RelayUsers(f"127.0.0.1:{stand.api_port}", inbound="no-such-inbound").list()
