"""The embedded SSH server from outside: what it lets in, and what it does not tell or do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncssh
import pytest

from tests.integration.link.stand import user, user_set
from tests.integration.link.targets import BANNER, banner, serving
from tunnel_whisperer.link import server as embedded
from tunnel_whisperer.link.server import EmbeddedServer
from tunnel_whisperer.users.model import UserSet


@pytest.fixture
async def server(nothing_left: None) -> AsyncIterator[EmbeddedServer]:
    made = EmbeddedServer(asyncssh.generate_private_key("ssh-ed25519"), 0, UserSet())
    await made.start()
    sweep = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        sweep.cancel()
        await asyncio.gather(sweep, return_exceptions=True)
        await made.close()


def log_in(server: EmbeddedServer, name: str, key: asyncssh.SSHKey, **options: Any) -> Any:
    """An ordinary SSH client's connection, as any user may make one by hand."""
    return asyncssh.connect(
        "127.0.0.1",
        server.port,
        username=name,
        client_keys=[key],
        known_hosts=None,
        config=None,
        agent_path=None,
        **options,
    )


async def test_an_ordinary_client_reaches_what_is_permitted(server: EmbeddedServer, alice: asyncssh.SSHKey) -> None:
    async with serving(banner) as target:
        server.apply(user_set(user("alice", alice, target)))
        async with log_in(server, "alice", alice) as conn:
            reader, writer = await conn.open_connection("127.0.0.1", target)
            assert await reader.readline() == BANNER
            writer.close()
            for host, port in (("127.0.0.1", target + 1), ("localhost", target), ("127.0.0.2", target), ("", 0)):
                with pytest.raises(asyncssh.ChannelOpenError, match="is not permitted to alice"):
                    await conn.open_connection(host, port)


async def test_nothing_but_flows_is_done_for_a_user(server: EmbeddedServer, alice: asyncssh.SSHKey) -> None:
    server.apply(user_set(user("alice", alice, 1)))
    async with log_in(server, "alice", alice) as conn:
        for attempt in (
            conn.run("id"),
            conn.create_process(),
            conn.create_process(subsystem="sftp"),
            conn.create_process(term_type="xterm"),
            conn.open_unix_connection("/var/run/dbus/system_bus_socket"),
            conn.create_tun(asyncssh.SSHTunTapSession),
        ):
            with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ProcessError)):
                await attempt
        for listener in (
            conn.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 1),
            conn.forward_remote_path("/tmp/tw-test-of-a-forward", "/tmp/nowhere"),
        ):
            with pytest.raises(asyncssh.ChannelListenError):
                await listener
        with pytest.raises(asyncssh.ChannelOpenError, match="Connection refused"):
            await conn.open_connection("127.0.0.1", 1)


async def test_an_unknown_name_is_answered_like_a_wrong_key(server: EmbeddedServer, alice: asyncssh.SSHKey) -> None:
    """Name by name, packet by packet: what a stranger sees tells nothing of who is a user."""
    server.apply(user_set(user("alice", alice, 1)))
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    heard = {name: await listen_in(server, name, stranger) for name in ("alice", "nobody-we-know")}
    assert heard["alice"] == heard["nobody-we-know"]
    assert heard["alice"], "something was heard"


async def listen_in(server: EmbeddedServer, name: str, key: asyncssh.SSHKey) -> list[str]:
    """Note what the server answers to attempts by all methods."""
    heard: list[str] = []

    class Client(asyncssh.SSHClient):
        def public_key_auth_requested(self) -> asyncssh.SSHKey | None:
            heard.append("asked for a key")
            return None if heard.count("asked for a key") > 1 else key

        def password_auth_requested(self) -> str:
            heard.append("asked for a password")
            return "secret"

        def kbdint_auth_requested(self) -> str:
            heard.append("asked for an answer")
            return ""

        def auth_banner_received(self, msg: str, lang: str) -> None:
            heard.append(msg)

        def connection_lost(self, exc: Exception | None) -> None:
            heard.append(str(exc).replace(name, "NAME"))

    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1",
            server.port,
            username=name,
            client_factory=Client,
            client_keys=[key],
            known_hosts=None,
            config=None,
            agent_path=None,
        )
    assert "asked for a password" not in heard
    assert "asked for an answer" not in heard
    return heard


async def test_a_key_of_another_user_is_a_wrong_key(server: EmbeddedServer, alice: asyncssh.SSHKey) -> None:
    bob = asyncssh.generate_private_key("ssh-ed25519")
    server.apply(user_set(user("alice", alice, 1), user("bob", bob, 1)))
    with pytest.raises(asyncssh.PermissionDenied):
        await log_in(server, "alice", bob)


async def test_a_new_key_ends_the_sessions_of_the_old_one(server: EmbeddedServer, alice: asyncssh.SSHKey) -> None:
    server.apply(user_set(user("alice", alice, 1)))
    async with log_in(server, "alice", alice) as conn:
        server.apply(user_set(user("alice", asyncssh.generate_private_key("ssh-ed25519"), 1)))
        async with asyncio.timeout(1):
            await conn.wait_closed()
    assert server.online() == set()
    assert server.recent() == {"alice"}


async def test_those_who_do_not_log_in_lock_nobody_out(
    server: EmbeddedServer, alice: asyncssh.SSHKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STRANGERS", 8)
    server.apply(user_set(user("alice", alice, 1)))
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
    async with log_in(server, "alice", alice):
        assert server.online() == {"alice"}
    dropped = 0
    for reader, writer in idle:
        try:
            async with asyncio.timeout(0.2):
                await reader.read()
            dropped += 1
        except (TimeoutError, ConnectionResetError) as error:
            dropped += isinstance(error, ConnectionResetError)
        writer.transport.abort()
    assert dropped >= 12


async def test_a_silent_client_is_dropped_and_a_quiet_one_is_not(
    server: EmbeddedServer, alice: asyncssh.SSHKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PING_AFTER", 0.5)
    monkeypatch.setattr(embedded, "DEAD_AFTER", 2.5)
    server.apply(user_set(user("alice", alice, 1)))
    async with log_in(server, "alice", alice):
        await asyncio.sleep(4.0)
        assert server.online() == {"alice"}, "quiet, but it answers when asked"


async def test_only_the_loopback_is_listened_on(server: EmbeddedServer) -> None:
    assert server._acceptor is not None
    assert {address[0] for address in server._acceptor.get_addresses()} == {"127.0.0.1"}
