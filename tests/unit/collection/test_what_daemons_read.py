"""What the daemons read is watched by the roles: at its change they are restarted or reloaded, whichever it takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.units import Wish, decide

from tests.unit.collection.roles import variable
from tests.until import until
from tunnel_whisperer import connect, identity, serve
from tunnel_whisperer.config import ConnectConfig, load_connect
from tunnel_whisperer.daemon import Daemon
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.provision.authority import provision_authority
from tunnel_whisperer.provision.tenant import provision_tenant

AT_EACH_USE = {identity.CA_KEY, identity.CA_CHAIN}
AT_A_RELOAD = {identity.TLS_CHAIN}
RELAY_NAME = "relay.example.com"
RELAY = {"host": RELAY_NAME, "port": 443, "profile": "h2", "links": 2}
RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "ExecMainStartTimestamp": "Sun 2027-01-31 00:00:50.000000 UTC",
    "ActiveEnterTimestamp": "Sun 2027-01-31 00:00:52.000000 UTC",
    "StateChangeTimestamp": "Sun 2027-01-31 00:00:52.000000 UTC",
}
LATER = datetime(2027, 2, 1, tzinfo=UTC).timestamp()

opened: list[set[str]] = []
"""Where the names of opened files are put, while somebody wants to know."""


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if opened and event == "open" and isinstance(args[0], str | os.PathLike):
        opened[-1].add(os.fspath(args[0]))


sys.addaudithook(_hear)


@contextlib.contextmanager
def reads(directory: Path) -> Iterator[set[str]]:
    """Collect the names of the files in `directory` that are read."""
    seen: set[str] = set()
    found: set[str] = set()
    opened.append(seen)
    try:
        yield found
    finally:
        opened.pop()
        names = set(os.listdir(directory))
        found |= {os.path.basename(path) for path in seen if os.path.dirname(path) in ("", str(directory))} & names


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder whose name is short enough for sockets, with an Xray that does nothing."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        xray = Path(folder) / "xray"
        xray.write_text("#!/bin/sh\nexec sleep 60\n")
        xray.chmod(0o755)
        yield Path(folder)


@contextlib.asynccontextmanager
async def living(daemon: Daemon, runtime: Path) -> AsyncIterator[None]:
    """Let a daemon live until its Xray has been started."""
    task = asyncio.create_task(daemon.run())
    try:
        await until(lambda: task.done() or (daemon.ready.is_set() and (runtime / "xray.json").exists()))
        yield
    finally:
        daemon.stop()
        await task


async def read_by(make: Callable[[Path], Daemon], config: Path, directory: Path, runtime: Path) -> set[str]:
    """Return which files of its identity a daemon reads while it starts, or gives its Xray to read."""
    with reads(directory) as read:
        async with living(make(config), runtime):
            given = json.loads((runtime / "xray.json").read_text())
    return read | {path.name for path in map(Path, strings(given)) if path.parent == directory}


def strings(value: object) -> Iterator[str]:
    """Yield all texts in a JSON document."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


@pytest.fixture
def issued(tmp_path: Path) -> Path:
    """The folder of a tenant's identity, with all its files and the roots of its relay."""
    now, home = datetime.now(UTC), tmp_path / "serve"
    with Transaction() as transaction:
        csr = provision_tenant(transaction, home, "acme", now=now).csr
        transaction.commit()
    with Transaction() as transaction:
        tenants = {"acme": {"csr": csr}}
        made = provision_authority(transaction, tmp_path / "pki", RELAY_NAME, "correct horse", now=now, tenants=tenants)
        transaction.commit()
    with Transaction() as transaction:
        provision_tenant(transaction, home, "acme", now=now, ca_certificate=made.tenants["acme"])
        transaction.commit()
    (home / identity.RELAY_ROOTS).write_text(made.root_certificate)
    return home


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def check_watched(read: set[str], watched: dict[str, Any], home: str) -> None:
    """Check that a change of each file leads to what it takes, and of others to nothing."""
    wish = Wish("x.service", True, True, tuple(watched["restart_on"]), tuple(watched["reload_on"]))
    actions = {name: decide(wish, RUNNING, {f"{home}/{name}": LATER}).action for name in read | AT_EACH_USE}
    expected = dict.fromkeys(read, "restart") | dict.fromkeys(AT_A_RELOAD, "reload") | dict.fromkeys(AT_EACH_USE, "")
    assert actions == expected


async def test_what_the_server_reads_is_watched(no_leaks: None, tmp_path: Path, runtime: Path, issued: Path) -> None:
    home = issued
    config = tmp_path / "serve.yml"
    settings = {
        "tenant": "acme",
        "relay": {**RELAY, "roots_file": str(home / identity.RELAY_ROOTS)},
        "relay_host_keys": [(home / f"{identity.SSH_HOST_KEY}.pub").read_text().strip()],
        "identity_dir": str(home),
        "users_file": str(tmp_path / "users.json"),
        "ssh_port": free_port(),
        "runtime_dir": str(runtime),
        "xray": str(runtime / "xray"),
    }
    config.write_text(yaml.safe_dump(settings))
    read = await read_by(serve.make, config, home, runtime)
    assert read - AT_EACH_USE == {
        identity.SSH_KEY,
        identity.SSH_HOST_KEY,
        identity.TLS_KEY,
        identity.TLS_CHAIN,
        identity.UUID_FILE,
        identity.RELAY_ROOTS,
    }
    watched = {kind: variable("server", f"__server_{kind}") for kind in ("restart_on", "reload_on")}
    check_watched(read, watched, variable("server", "__server_identity_dir"))
    assert variable("server", "__server_users_file") in watched["reload_on"]
    assert variable("server", "__server_config") in watched["reload_on"]


async def test_what_the_client_reads_is_watched(no_leaks: None, tmp_path: Path, runtime: Path, issued: Path) -> None:
    home = tmp_path / "connect/acme"
    shutil.copytree(issued, home)
    for name in (*AT_EACH_USE, identity.SSH_HOST_KEY):
        (home / name).unlink()
    config = home / "connect.yml"
    settings = {
        "tenant": "acme",
        "user": "alice",
        "relay": {**RELAY, "roots_file": str(home / identity.RELAY_ROOTS)},
        "server_host_keys": [(home / f"{identity.SSH_HOST_KEY}.pub").read_text().strip()],
        "bridges": [{"name": "postgres", "port": 5432, "local_port": free_port()}],
        "runtime_dir": str(runtime),
        "xray": str(runtime / "xray"),
    }
    config.write_text(yaml.safe_dump(settings))
    read = await read_by(connect.make, config, home, runtime) - {"connect.yml"}
    assert read == {
        identity.SSH_KEY,
        identity.TLS_KEY,
        identity.TLS_CHAIN,
        identity.UUID_FILE,
        identity.RELAY_ROOTS,
    }
    installed = {"contexts": {"acme": {"ready": True}}}
    (unit,) = variable("client", "__client_units", __client_installed=installed, __client_enabled={"files": []})
    directory = variable("client", "__client_dir")
    check_watched(read, unit, f"{directory}/acme")
    assert f"{directory}/acme/connect.yml" in unit["reload_on"]
    assert f"{variable('client', '__client_noted')}/acme" in unit["restart_on"]


def keys(document: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the keys of a configuration, nested ones as `relay.host`."""
    found: set[str] = set()
    for key, value in document.items():
        found |= keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return found


def test_the_servers_note_says_what_is_not_followed_live() -> None:
    known = {"server_tenant": "acme", "server_relay_roots": "PEM"}
    settings = variable("server", "__server_settings", **known)
    note, *_ = variable("server", "__server_files_beside", **known)
    assert note["path"] in variable("server", "__server_restart_on")
    assert keys(settings) - keys(yaml.safe_load(note["content"])) == set(serve.LIVE_CHANGES)


def test_the_clients_note_says_what_is_not_followed_live() -> None:
    relay = {**RELAY, "roots": ""}
    contexts = {"acme": {"tenant": "acme", "user": "alice", "relay": relay, "bridges": [], "server_host_keys": []}}
    (note,) = variable("client", "__client_notes", client_contexts=contexts)
    noted = {key.replace("roots", "roots_file") for key in keys(yaml.safe_load(note["content"]))}
    of_the_folder = {"context", "identity_dir", "runtime_dir", "state_dir", "xray"}
    assert configured(ConnectConfig) == noted | set(connect.LIVE_CHANGES) | of_the_folder
    assert not noted & connect.LIVE_CHANGES


def configured(kind: Any, prefix: str = "") -> set[str]:
    """Return the keys that a kind of configuration has."""
    found: set[str] = set()
    for field in fields(kind):
        inner = load_connect.__globals__.get(str(field.type))
        nested = field.type if is_dataclass(field.type) else inner if is_dataclass(inner) else None
        found |= configured(nested, f"{prefix}{field.name}.") if nested else {f"{prefix}{field.name}"}
    return found
