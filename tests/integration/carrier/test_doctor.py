"""`tw test` against a relay of real parts: Caddy, Xray, a real sshd as in a cell, and the embedded server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from tests.integration.carrier import certificates
from tests.integration.carrier.stand import HOST, TENANT, Stand, binary, free_port
from tests.integration.carrier.streams import destination, echo
from tests.integration.link import stand as link_stand
from tests.integration.link.cell import Cell
from tunnel_whisperer.carrier.api import RelayUsers
from tunnel_whisperer.doctor.examine import examine
from tunnel_whisperer.doctor.result import Record, Result, Status
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.users.model import User
from tunnel_whisperer.users.store import save

TW = Path(sys.executable).with_name("tw")


@dataclass
class Bridged:
    """Everything from a client to a target, and the two hosts' configuration files."""

    relay: Stand
    cell: Cell
    links: link_stand.Stand
    target: int
    connect_yml: Path
    serve_yml: Path

    async def examine(self, path: Path) -> Record:
        record = Record()
        await examine(path, record, ports=self.cell.ports, cell_user=self.cell.user)
        return record

    def change(self, path: Path, **values: Any) -> None:
        """Change keys of a configuration; `relay__port` reaches into `relay`."""
        config = yaml.safe_load(path.read_text())
        for key, value in values.items():
            first, _, second = key.partition("__")
            if second:
                config[first][second] = value
            else:
                config[first] = value
        path.write_text(yaml.safe_dump(config))


@pytest.fixture
async def cell() -> AsyncIterator[Cell]:
    made = Cell()
    await made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
async def bridged(stand: Stand, cell: Cell) -> AsyncIterator[Bridged]:
    links = link_stand.Stand(cell)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(links.close)
        target = await stack.enter_async_context(destination(echo))
        await stack.enter_async_context(destination(echo, cell.ports.xray_api))
        await links.serve()
        user_uuid = str(uuid.uuid4())
        await RelayUsers(f"127.0.0.1:{stand.api_port}").change([("alice", user_uuid)])
        client = stand.identity("alice", given_uuid=user_uuid)
        user_key = ssh_key(client / "id_ed25519")
        alice = link_stand.user("alice", user_key, target, cell.free_port)
        links.server.apply(link_stand.user_set(alice))
        server = stand.identity("server")
        key_file(server / "id_ed25519", cell.key)
        ssh_key(server / "ssh_host_ed25519_key")
        yield Bridged(
            relay=stand,
            cell=cell,
            links=links,
            target=target,
            connect_yml=connect_yml(stand, client, links.host_key, (target,)),
            serve_yml=serve_yml(stand, server, cell, alice),
        )


def ssh_key(path: Path) -> asyncssh.SSHKey:
    return key_file(path, asyncssh.generate_private_key("ssh-ed25519"))


def key_file(path: Path, key: asyncssh.SSHKey) -> asyncssh.SSHKey:
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
    return key


def public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


def relay_section(stand: Stand) -> dict[str, Any]:
    return {"host": HOST, "port": stand.port, "roots_file": str(stand.roots_file)}


def connect_yml(stand: Stand, identity: Path, host_key: asyncssh.SSHKey, ports: Iterable[int]) -> Path:
    path = identity / "connect.yml"
    config = {
        "context": TENANT,
        "tenant": TENANT,
        "user": "alice",
        "relay": relay_section(stand),
        "server_host_keys": [public(host_key)],
        "xray": str(binary("xray")),
        "bridges": [{"name": f"to-{port}", "port": port} for port in ports],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def serve_yml(stand: Stand, identity: Path, cell: Cell, *users: User) -> Path:
    users_file = identity / "users.json"
    with Transaction() as transaction:
        save(transaction, users_file, link_stand.user_set(*users), shown=("", ""))
        transaction.commit()
    path = identity / "serve.yml"
    config = {
        "tenant": TENANT,
        "relay": relay_section(stand),
        "relay_host_keys": [public(cell.host_key)],
        "identity_dir": ".",
        "users_file": "users.json",
        "xray": str(binary("xray")),
    }
    path.write_text(yaml.safe_dump(config))
    return path


def one(record: Record, component: str) -> Result:
    return next(result for result in record.results if result.component == component)


def components(record: Record) -> list[str]:
    return [result.component for result in record.results]


OUTSIDE = ["configuration", "certificate", "name", "tcp", "tls", "clock", "gate", "xray", "carrier"]


async def test_a_client_with_everything_well(bridged: Bridged) -> None:
    record = await bridged.examine(bridged.connect_yml)
    assert record.ok, record.results
    assert components(record) == [*OUTSIDE, "ssh", "bridge", "refusal"]
    assert one(record, "refusal").details == "not permitted, as it has to be"
    assert "links at" in one(record, "ssh").details
    assert all(result.duration_ms >= 0 and not result.action for result in record.results)


async def test_a_server_with_everything_well(bridged: Bridged) -> None:
    async with destination(echo, bridged.cell.free_port):
        record = await bridged.examine(bridged.serve_yml)
    assert record.ok, record.results
    assert components(record) == [*OUTSIDE, "ssh", "api", "users", "bridge", "bridge"]


async def test_bridges_that_nobody_answers_or_that_are_not_permitted(bridged: Bridged) -> None:
    not_permitted = free_port()
    bridges = [{"name": name, "port": port} for name, port in (("down", bridged.cell.free_port), ("no", not_permitted))]
    bridged.change(bridged.connect_yml, bridges=bridges)
    record = await bridged.examine(bridged.connect_yml)
    down, no = (result for result in record.results if result.component == "bridge")
    assert (down.status, no.status) == (Status.FAILED, Status.FAILED)
    assert down.details.startswith("the far end cannot reach it")
    assert no.details == "it is not permitted"
    assert f"give this user port {not_permitted} in tw_users" in no.action


async def test_a_target_that_is_down_is_found_at_the_server(bridged: Bridged) -> None:
    record = await bridged.examine(bridged.serve_yml)
    failed = [result for result in record.results if result.status is Status.FAILED]
    assert [result.target for result in failed] == [f"127.0.0.1:{bridged.cell.free_port} for alice"]


async def test_a_host_key_that_is_not_the_pinned_one(bridged: Bridged) -> None:
    other = public(asyncssh.generate_private_key("ssh-ed25519"))
    bridged.change(bridged.connect_yml, server_host_keys=[other])
    bridged.change(bridged.serve_yml, relay_host_keys=[other])
    for path in (bridged.connect_yml, bridged.serve_yml):
        record = await bridged.examine(path)
        assert one(record, "ssh").details == "its host key is not the pinned one"


async def test_a_key_that_the_server_does_not_know(bridged: Bridged) -> None:
    bridged.links.server.apply(link_stand.user_set())
    record = await bridged.examine(bridged.connect_yml)
    assert one(record, "ssh").details == "it does not accept the key of alice"
    assert one(record, "bridge").status is Status.SKIPPED
    assert one(record, "bridge").details == "not tried: it needs 'ssh'"


async def test_a_user_that_the_relay_does_not_know(bridged: Bridged) -> None:
    await RelayUsers(f"127.0.0.1:{bridged.relay.api_port}").change([("alice", None)])
    record = await bridged.examine(bridged.connect_yml)
    assert one(record, "gate").status is Status.OK
    assert one(record, "ssh").details.startswith("no link of the server answers")
    assert "whether the relay knows alice" in one(record, "ssh").action


async def test_an_entry_that_is_down(bridged: Bridged) -> None:
    await bridged.relay.kill_xray()
    gate = one(await bridged.examine(bridged.connect_yml), "gate")
    assert gate.details == "the gate took our certificate, but the entry behind it is down (502)"
    assert "tw-xray@acme" in gate.action


async def test_a_certificate_of_a_foreign_root(bridged: Bridged) -> None:
    directory = bridged.connect_yml.parent
    foreign = certificates.authority("Another Root")
    certificates.leaf("alice.acme.tw.internal", signer=foreign).write(directory / "tls.crt", directory / "tls.key")
    record = await bridged.examine(bridged.connect_yml)
    assert one(record, "certificate").status is Status.OK
    assert one(record, "gate").details.startswith("the relay refuses our certificate: ")
    assert "site.yml" in one(record, "gate").action


async def test_a_certificate_for_another_tenant_shows_the_ordinary_page(bridged: Bridged) -> None:
    directory = bridged.connect_yml.parent
    other = certificates.authority("Other", signer=bridged.relay.root, permitted="other.tw.internal")
    certificates.leaf("alice.other.tw.internal", signer=other).write(directory / "tls.crt", directory / "tls.key")
    record = await bridged.examine(bridged.connect_yml)
    assert one(record, "certificate").details == (
        "our certificate is for alice.other.tw.internal instead of alice.acme.tw.internal"
    )
    assert one(record, "gate").status is Status.SKIPPED


async def test_the_operator_sees_the_relays_sshd(bridged: Bridged) -> None:
    path = bridged.serve_yml.with_name("dial.yml")
    given = {"relay": relay_section(bridged.relay), "entry": TENANT, "xray": str(binary("xray"))}
    path.write_text(yaml.safe_dump(given))
    record = await bridged.examine(path)
    assert record.ok, record.results
    assert one(record, "ssh").details.startswith("SSH-2.0-OpenSSH")


async def test_the_command_prints_json_and_tells_by_its_exit_code(bridged: Bridged) -> None:
    bridged.change(bridged.connect_yml, relay__port=free_port())
    process = await asyncio.create_subprocess_exec(
        TW, "test", "--json", "--config", bridged.connect_yml, "acme", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    told = json.loads(out)
    assert process.returncode == 1
    assert told["ok"] is False
    tcp = next(check for check in told["checks"] if check["component"] == "tcp")
    assert set(tcp) == {"subject", "component", "target", "status", "duration_ms", "details", "action"}
    assert (tcp["subject"], tcp["status"]) == ("acme", "failed")
    assert tcp["action"].startswith("let TCP ")


async def test_the_command_prints_lines_for_people(bridged: Bridged) -> None:
    process = await asyncio.create_subprocess_exec(
        TW, "test", "--config", bridged.connect_yml.with_name("nothing.yml"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 1
    _, line = out.decode().splitlines()
    assert line.split()[:2] == ["FAILED", "configuration"]
    assert line.endswith("nothing.yml: cannot be read: No such file or directory")
