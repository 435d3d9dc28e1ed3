"""The control channel from outside: what a user can ask, and what one that means harm gets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.integration.link.stand import until, user_set
from tests.integration.link.stand import user as any_user
from tests.integration.link.targets import BANNER, banner, serving
from tests.integration.link.test_embedded_server import log_in
from tests.unit.agent.provision.servers import Server, csr, enrolling, user
from tunnel_whisperer import pki, tls_chain
from tunnel_whisperer.errors import NotGrantedError
from tunnel_whisperer.issuing import Issuing
from tunnel_whisperer.link import control_channel, ssh
from tunnel_whisperer.link.asking import ask
from tunnel_whisperer.link.requests import Asker
from tunnel_whisperer.link.server import EmbeddedServer
from tunnel_whisperer.users.keys import PublicKey, read_public_key
from tunnel_whisperer.users.store import Snapshot, load_snapshot


def public(key: asyncssh.SSHKey) -> PublicKey:
    return read_public_key(key.export_public_key().decode())


class Prompt(Issuing):
    """Grants, and lets what it has written be in force before its answer is on its way: the worst that can happen."""

    follow: Callable[[], None]

    async def enrol(self, asker: Asker, ssh_public_key: str, csr: str) -> Mapping[str, Any]:
        answer = await super().enrol(asker, ssh_public_key, csr)
        self.follow()
        return answer


class Site:
    """An embedded server with a tenant's files behind it: alice is a user, bob has to enrol."""

    def __init__(self, folder: Path, alice: asyncssh.SSHKey, bob: asyncssh.SSHKey) -> None:
        self.files = Server(folder, user("alice", public(alice)), enrolling("bob", public(bob)))
        self.bob = bob
        issuing = Prompt("acme", self.files.place, self.snapshot, lambda: self.files.now)
        issuing.follow = lambda: self.server.apply(self.files.users)
        self.server = EmbeddedServer(asyncssh.generate_private_key("ssh-ed25519"), 0, self.files.users, engine=issuing)

    def snapshot(self) -> Snapshot:
        return load_snapshot(self.files.place.users_file, Snapshot())


@pytest.fixture
async def site(nothing_left: None, tmp_path: Path, alice: asyncssh.SSHKey) -> AsyncIterator[Site]:
    made = Site(tmp_path, alice, asyncssh.generate_private_key("ssh-ed25519"))
    await made.server.start()
    looking_after = asyncio.create_task(made.server.run())
    try:
        yield made
    finally:
        looking_after.cancel()
        await asyncio.gather(looking_after, return_exceptions=True)
        await made.server.close()


@contextlib.asynccontextmanager
async def channel(conn: asyncssh.SSHClientConnection) -> AsyncIterator[Any]:
    """The control channel by hand."""
    process = await conn.create_process(subsystem="tw", encoding=None)
    try:
        yield process
    finally:
        process.close()


async def told(process: Any, line: bytes) -> dict[str, Any]:
    process.stdin.write(line)
    async with asyncio.timeout(5):
        answer: dict[str, Any] = json.loads(await process.stdout.readline())
    return answer


async def test_a_user_is_told_of_itself(site: Site, alice: asyncssh.SSHKey) -> None:
    async with log_in(site.server, "alice", alice) as conn:
        assert await ask(conn, "whoami", {}) == {
            "user": "alice",
            "expires": None,
            "certificate_until": None,
            "bridges": [{"name": "port-5432", "host": "127.0.0.1", "port": 5432, "local_port": 5432}],
        }
        await ask(conn, "renew", {"csr": csr(pki.make_key())})
        assert (await ask(conn, "whoami", {}))["certificate_until"] == "2026-05-30T12:00:00Z"


async def test_a_certificate_is_renewed_in_the_name_of_who_asks(site: Site, alice: asyncssh.SSHKey) -> None:
    key = pki.make_key()
    async with log_in(site.server, "alice", alice) as conn:
        answer = await ask(conn, "renew", {"csr": csr(key, "bob.umbrella.tw.internal")})
    chain = tls_chain.check(
        answer["certificate"], Path("x"), key.public_key(), "alice.acme.tw.internal", site.files.now
    )
    assert site.files.users["alice"].certificate == pki.pem(chain.leaf)


async def test_one_channel_takes_requests_one_after_the_other(site: Site, alice: asyncssh.SSHKey) -> None:
    async with log_in(site.server, "alice", alice) as conn, channel(conn) as process:
        process.stdin.write(b'{"op": "whoami"}\n{"op": "nonsense"}\n{"op": "who')
        first, second = json.loads(await process.stdout.readline()), json.loads(await process.stdout.readline())
        assert (first["user"], second["ok"]) == ("alice", False)
        process.stdin.write(b'ami"}\n')
        process.stdin.write_eof()
        assert json.loads(await process.stdout.readline())["user"] == "alice"
        assert await process.stdout.read() == b""


async def test_nothing_but_the_one_subsystem_is_there(site: Site, alice: asyncssh.SSHKey) -> None:
    async with log_in(site.server, "alice", alice) as conn:
        for attempt in (
            conn.run("id"),
            conn.run(None),
            conn.create_process(term_type="xterm", subsystem="tw"),
            conn.create_process(subsystem="sftp"),
            conn.create_process(subsystem="tw\n"),
            conn.create_process(subsystem=""),
        ):
            with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ProcessError)):
                await attempt
        assert (await ask(conn, "whoami", {}))["user"] == "alice"


async def test_an_environment_is_not_kept(site: Site, alice: asyncssh.SSHKey, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    original = ssh.refuse_environment

    def watched(channel: Any) -> None:
        original(channel)
        kept.append(channel)

    monkeypatch.setattr(ssh, "refuse_environment", watched)
    async with log_in(site.server, "alice", alice) as conn:
        process = await conn.create_process(
            subsystem="tw", encoding=None, env={f"NAME_{number}": "x" * 1000 for number in range(100)}
        )
        assert (await told(process, b'{"op": "whoami"}\n'))["ok"]
        assert dict(kept[0].get_environment()) == {}
        process.close()


async def test_who_has_to_enrol_can_do_that_and_nothing_else(site: Site) -> None:
    async with serving(banner) as target, log_in(site.server, "bob", site.bob) as conn:
        for port in (5432, target):
            with pytest.raises(asyncssh.ChannelOpenError, match="is not permitted to bob"):
                await conn.open_connection("127.0.0.1", port)
        with pytest.raises(NotGrantedError, match="bob has to enrol first"):
            await ask(conn, "renew", {"csr": csr(pki.make_key())})
        assert (await ask(conn, "whoami", {}))["user"] == "bob"


async def test_one_enrols_and_comes_back_with_what_it_was_given(site: Site) -> None:
    fresh, key = asyncssh.generate_private_key("ssh-ed25519"), pki.make_key()
    async with log_in(site.server, "bob", site.bob) as conn:
        answer = await ask(conn, "enrol", {"ssh_public_key": str(public(fresh)), "csr": csr(key)})
        async with asyncio.timeout(2):
            await conn.wait_closed()
    bob = site.files.users["bob"]
    assert (answer["uuid"], bob.public_key) == (bob.uuid, str(public(fresh)))
    with pytest.raises(asyncssh.PermissionDenied):
        await log_in(site.server, "bob", site.bob)
    async with log_in(site.server, "bob", fresh) as conn:
        with pytest.raises(NotGrantedError, match="bob does not have to enrol"):
            await ask(conn, "enrol", {"ssh_public_key": str(public(fresh)), "csr": csr(key)})


async def test_of_two_that_enrol_at_once_one_is_told_that_it_came_too_late(site: Site) -> None:
    async with log_in(site.server, "bob", site.bob) as one, log_in(site.server, "bob", site.bob) as two:
        keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(2)]
        answers = await asyncio.gather(
            *(
                ask(conn, "enrol", {"ssh_public_key": str(public(key)), "csr": csr(pki.make_key())})
                for conn, key in zip((one, two), keys, strict=True)
            ),
            return_exceptions=True,
        )
    errors = [answer for answer in answers if isinstance(answer, NotGrantedError)]
    assert len(errors) == 1
    assert "other credentials by now" in str(errors[0])
    winner = next(number for number, answer in enumerate(answers) if isinstance(answer, dict))
    assert site.files.users["bob"].public_key == str(public(keys[winner]))


async def test_a_user_cannot_enrol(site: Site, alice: asyncssh.SSHKey) -> None:
    request = {"ssh_public_key": str(public(asyncssh.generate_private_key("ssh-ed25519"))), "csr": csr(pki.make_key())}
    async with log_in(site.server, "alice", alice) as conn:
        with pytest.raises(NotGrantedError, match="alice does not have to enrol"):
            await ask(conn, "enrol", request)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"x" * control_channel.LONGEST,
        b"x" * (4 * 1024 * 1024),
        b'{"op": "renew", "csr": "' + b"x" * control_channel.LONGEST + b'"}\n',
    ],
    ids=["no end", "megabytes without an end", "a long line"],
)
async def test_a_request_without_end_is_hung_up_on(site: Site, alice: asyncssh.SSHKey, rubbish: bytes) -> None:
    async with log_in(site.server, "alice", alice) as conn, channel(conn) as process:
        answer = await told(process, rubbish)
        assert answer["error"] == "a request may have 65536 bytes"
        async with asyncio.timeout(5):
            assert await process.stdout.read() == b""
        assert (await ask(conn, "whoami", {}))["user"] == "alice", "the connection goes on"


async def test_a_channel_that_says_nothing_is_closed(
    site: Site, alice: asyncssh.SSHKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_channel, "PATIENCE", 0.3)
    async with log_in(site.server, "alice", alice) as conn:
        async with channel(conn) as process:
            assert (await told(process, b'{"op": "whoami"}\n'))["ok"]
            process.stdin.write(b'{"op": ')
            async with asyncio.timeout(3):
                assert await process.stdout.read() == b""
        assert (await ask(conn, "whoami", {}))["user"] == "alice"


async def test_an_answer_that_nobody_reads_is_not_waited_for(
    site: Site, alice: asyncssh.SSHKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_channel, "PATIENCE", 0.3)
    async with log_in(site.server, "alice", alice) as conn:
        (session,) = site.server._sessions.of("alice")
        process = await conn.create_process(subsystem="tw", encoding=None, window=64)
        process.stdout.channel.pause_reading()
        process.stdin.write(b'{"op": "whoami"}\n')
        await until(lambda: session._channels)
        await until(lambda: not session._channels, within=2)
        process.stdout.channel.resume_reading()
        assert (await ask(conn, "whoami", {}))["user"] == "alice"


async def test_a_thousand_channels_are_not_given_to_one_user(site: Site, alice: asyncssh.SSHKey) -> None:
    async with log_in(site.server, "alice", alice) as conn:
        opened = await asyncio.gather(
            *(conn.create_process(subsystem="tw", encoding=None) for _ in range(1000)), return_exceptions=True
        )
        channels = [one for one in opened if not isinstance(one, BaseException)]
        assert len(channels) == control_channel.CHANNELS
        assert all("are open already" in str(one) for one in opened if isinstance(one, BaseException))
        for process in channels:
            assert (await told(process, b'{"op": "whoami"}\n'))["ok"]
            process.close()
            await process.wait_closed()
        assert (await ask(conn, "whoami", {}))["user"] == "alice", "there is room again"


async def test_a_flood_of_requests_is_ended(site: Site, alice: asyncssh.SSHKey) -> None:
    async with log_in(site.server, "alice", alice) as conn, channel(conn) as process:
        process.stdin.write(b"{}\n" * 1000)
        async with asyncio.timeout(10):
            answers = (await process.stdout.read()).splitlines()
        assert len(answers) == control_channel.REQUESTS + 1
        assert json.loads(answers[-1])["error"] == "30 requests within 60 s are enough"


async def test_requests_and_flows_go_side_by_side(site: Site, alice: asyncssh.SSHKey) -> None:
    async with serving(banner) as target:
        site.server.apply(user_set(any_user("alice", alice, target)))
        async with log_in(site.server, "alice", alice) as conn, channel(conn) as process:
            process.stdin.write(b"x" * 1000)
            reader, writer = await conn.open_connection("127.0.0.1", target)
            assert await reader.readline() == BANNER
            writer.close()


async def test_what_is_meant_to_hurt_leaves_no_trace_but_a_line(
    site: Site, alice: asyncssh.SSHKey, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with log_in(site.server, "alice", alice) as conn:
            with pytest.raises(NotGrantedError, match="is a private key"):
                await ask(conn, "renew", {"csr": pki.encode_key(pki.make_key()).decode()})
            async with channel(conn) as process:
                assert not (await told(process, b'{"op": "\\n\\u001b[31m\\ud800"}\n'))["ok"]
    lines = [record.getMessage() for record in caplog.records if record.name == "tunnel_whisperer.server"]
    assert any("asked in vain: csr is a private key" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    assert not any("BEGIN" in line for line in lines)
