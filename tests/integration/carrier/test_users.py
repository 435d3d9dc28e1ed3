"""The users of a real Xray, through its API."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from tests.integration.carrier.conftest import StartCarrier
from tests.integration.carrier.stand import Stand, free_port
from tests.integration.carrier.streams import close, destination, echo, open_stream
from tunnel_whisperer.carrier.api import RelayUsers, UserChanges
from tunnel_whisperer.errors import FatalError, RetryableError


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
    await users.add({"alice": alice, "bob": bob})
    await users.remove(["bob"])
    assert await users.list() == {"server": stand.server_uuid, "alice": alice}
    async with destination(echo) as port:
        assert await admitted(stand, start_carrier, "alice", alice, port)
        assert not await admitted(stand, start_carrier, "bob", bob, port)


async def test_adding_and_removing_twice_is_fine(users: RelayUsers) -> None:
    alice = {"alice": str(uuid.uuid4())}
    await users.add(alice)
    await users.add(alice)
    await users.remove(alice)
    await users.remove(alice)


async def test_reconcile_changes_what_differs_and_keeps_the_server(stand: Stand, users: RelayUsers) -> None:
    old, new, kept, other = (str(uuid.uuid4()) for _ in range(4))
    await users.add({"gone": old, "renewed": old[:-1] + "0", "kept": kept})
    desired = {"renewed": new, "kept": kept, "fresh": other}
    changes = await users.reconcile(desired)
    assert changes == UserChanges(added=("renewed", "fresh"), removed=changes.removed)
    assert set(changes.removed) == {"gone", "renewed"}
    assert await users.list() == desired | {"server": stand.server_uuid}
    assert await users.reconcile(desired) == UserChanges()
    await users.reconcile({})
    assert await users.list() == {"server": stand.server_uuid}


async def test_a_thousand_users_are_back_soon_after_a_restart_and_the_first_are_first(
    stand: Stand, users: RelayUsers
) -> None:
    desired = {f"user-{number}": str(uuid.uuid4()) for number in range(1000)}
    await users.reconcile(desired)
    await stand.kill_xray()
    await stand.start_xray()
    assert await users.list() == {"server": stand.server_uuid}
    began = time.monotonic()
    changes = await users.reconcile(desired, first=["user-998", "user-999"])
    took = time.monotonic() - began
    print(f"1,000 users added in {took:.2f} s")
    assert changes.added[:2] == ("user-998", "user-999")
    assert await users.list() == desired | {"server": stand.server_uuid}
    assert took < 10


async def test_the_api_through_a_unix_socket_on_a_way_that_takes_60_ms(stand: Stand) -> None:
    """As in the product, where the socket leads to the relay over SSH: requests must not wait for each other."""

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
        desired = {f"user-{number}": str(uuid.uuid4()) for number in range(300)}
        began = time.monotonic()
        await RelayUsers(f"unix:{socket}").reconcile(desired)
        took = time.monotonic() - began
        print(f"300 users added over 60 ms in {took:.2f} s")
        assert took < 300 * 0.06 / 3
    finally:
        server.close()
        await asyncio.sleep(0.1)


async def test_an_api_out_of_reach_is_worth_another_try() -> None:
    began = time.monotonic()
    with pytest.raises(RetryableError, match="the relay's Xray: its API does not answer"):
        await RelayUsers(f"127.0.0.1:{free_port()}").list()
    assert time.monotonic() - began < 5


async def test_a_refusal_says_what_was_refused(stand: Stand) -> None:
    with pytest.raises(FatalError, match=r"refused: .*no-such-inbound"):
        await RelayUsers(f"127.0.0.1:{stand.api_port}", inbound="no-such-inbound").list()
