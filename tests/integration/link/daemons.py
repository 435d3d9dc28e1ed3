"""The two daemons in processes of their own, as systemd runs them, but over plain TCP into a test's cell.

As a program (`python -m tests.integration.link.daemons FILE`) it is one daemon, described by a JSON file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncssh
import yaml

from tests.integration.carrier.certificates import Issued
from tests.integration.carrier.stand import Stand, binary
from tests.integration.link.cell import Cell, Dialer
from tests.integration.link.stand import user
from tunnel_whisperer import daemon
from tunnel_whisperer.carrier import CarrierSettings, XrayCarrier
from tunnel_whisperer.carrier.api import RelayUsers
from tunnel_whisperer.config import ConnectConfig, ServeConfig, load_connect, load_serve
from tunnel_whisperer.connect import ConnectDaemon
from tunnel_whisperer.control import ask
from tunnel_whisperer.daemon import Daemon
from tunnel_whisperer.errors import DaemonUnreachableError
from tunnel_whisperer.identity import CA_CHAIN, CA_KEY, Identity
from tunnel_whisperer.link.keeper import Change
from tunnel_whisperer.link.link import CellPorts
from tunnel_whisperer.serve import API_SOCKET, ServeDaemon
from tunnel_whisperer.users.model import User, UserSet
from tunnel_whisperer.users.store import encode

ROOT = Path(__file__).resolve().parents[3]


class PlainCarrier(Dialer):
    """Stands in for a carrier: plain TCP, and no certificate."""

    chain = None

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    def status(self) -> dict[str, Any]:
        return {"state": "ready", "pid": None, "restarts": 0, "last_error": None}


@dataclass
class RememberedUsers:
    """Stands in for the relay's Xray: writes down whom it has."""

    file: Path
    users: dict[str, str] = field(default_factory=dict)

    async def list(self) -> dict[str, str]:
        return dict(self.users)

    async def count(self) -> int:
        return len(self.users)

    async def change(self, changes: Iterable[Change], done: Callable[[Change], None]) -> None:
        for change in changes:
            name, uuid = change
            if uuid is None:
                self.users.pop(name, None)
            else:
                self.users[name] = uuid
            done(change)
        self.file.write_text(json.dumps(self.users))


@dataclass
class Process:
    """One daemon that runs."""

    popen: asyncio.subprocess.Process
    directory: Path
    config: Path
    log: Path

    @property
    def runtime_dir(self) -> Path:
        return self.directory

    async def ask(self, operation: str = "status") -> dict[str, Any]:
        return await asyncio.to_thread(ask, self.directory / "control.sock", operation)

    async def until_state(self, state: str, within: float = 10.0) -> dict[str, Any]:
        """Wait until the daemon says that it is in this state."""
        status: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while status.get("state") != state:
                    await asyncio.sleep(0.05)
                    with contextlib.suppress(DaemonUnreachableError):
                        status = await self.ask()
        assert status.get("state") == state, f"{status}\n{self.log.read_text()}"
        return status

    async def until_reason(self, text: str, within: float = 10.0) -> None:
        """Wait until the daemon gives this reason for its state."""
        async with asyncio.timeout(within):
            while True:
                with contextlib.suppress(DaemonUnreachableError):
                    if text in (await self.ask())["reason"]:
                        return
                await asyncio.sleep(0.05)

    async def until_live(self, links: int, within: float = 10.0) -> dict[str, Any]:
        """Wait until the daemon has so many links, and all of them are live."""
        status: dict[str, Any] = {"links": []}
        async with asyncio.timeout(within):
            while [link["state"] for link in status["links"]] != ["up"] * links:
                await asyncio.sleep(0.05)
                with contextlib.suppress(DaemonUnreachableError):
                    status = await self.ask()
        return status

    def change(self, **keys: Any) -> None:
        """Write keys of the configuration anew."""
        self.config.write_text(yaml.safe_dump(yaml.safe_load(self.config.read_text()) | keys))

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def ended(self, within: float) -> tuple[int, float]:
        """Wait for the end; returns the exit code and how long it took."""
        began = time.monotonic()
        async with asyncio.timeout(within):
            return await self.popen.wait(), time.monotonic() - began

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Daemons:
    """Starts the daemons of one test in a directory of their own, and ends them."""

    def __init__(self, cell: Cell, directory: Path, stand: Stand | None = None) -> None:
        """With a stand the carriers are real ones, else plain TCP."""
        self.cell = cell
        self.directory = directory
        self.stand = stand
        self.users_file = directory / "users.json"
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._started: list[Process] = []

    def onboard(self, name: str, key: asyncssh.SSHKey, *ports: int, **more: Any) -> User:
        """A user whose UUID is the one in its identity directory."""
        return replace(user(name, key, *ports), uuid=Identity(self.identity(name)).uuid(), **more)

    def set_users(self, *users: User) -> None:
        """Have these users."""
        self.write(UserSet({one.name: one for one in users}))

    def write(self, users: UserSet) -> None:
        """Replace the users file as the engine does: whole."""
        new = self.users_file.with_suffix(".new")
        new.write_bytes(encode(users))
        new.replace(self.users_file)

    async def serve(self, links: int = 2) -> Process:
        """Start the server's daemon; its users are those of `set_users`."""
        identity = self.identity("serve", id_ed25519=self.cell.key, ssh_host_ed25519_key=self.host_key)
        if not self.users_file.exists():
            self.set_users()
        return await self._start(
            "serve",
            {
                "tenant": "acme",
                "relay": self._relay(links),
                "relay_host_keys": [public(self.cell.host_key)],
                "identity_dir": str(identity),
                "users_file": str(self.users_file),
                "ssh_port": self.cell.free_port,
            },
        )

    async def connect(
        self, name: str, key: asyncssh.SSHKey, bridges: list[dict[str, Any]], links: int = 2, context: str = ""
    ) -> Process:
        """Start a client's daemon; `context` sets it apart from another one of the same user."""
        return await self._start(
            f"connect-{context or name}",
            {
                "context": context or name,
                "tenant": "acme",
                "user": name,
                "relay": self._relay(links),
                "server_host_keys": [public(self.host_key)],
                "identity_dir": str(self.identity(name, id_ed25519=key)),
                "bridges": bridges,
            },
        )

    def _relay(self, links: int) -> dict[str, Any]:
        if self.stand is None:
            return {"host": "relay.example", "links": links}
        relay = self.stand.relay()
        return {"host": relay.host, "port": relay.port, "roots_file": str(relay.roots_file), "links": links}

    def identity(self, name: str, **keys: asyncssh.SSHKey) -> Path:
        """Make an identity directory, once for each name: `serve` or a user's."""
        directory = self.directory / f"identity-{name}"
        if self.stand is not None:
            directory = self.stand.directory / f"identity-{'server' if name == 'serve' else name}"
            if not directory.exists():
                self.stand.identity("server" if name == "serve" else name)
            if name == "serve":
                authority = self.stand.tenant_ca
                Issued(authority.key, (*authority.chain, *self.stand.root.chain)).write(
                    directory / CA_CHAIN, directory / CA_KEY
                )
        directory.mkdir(exist_ok=True)
        for file, key in keys.items():
            (directory / file).write_bytes(key.export_private_key())
            (directory / file).chmod(0o600)
        return directory

    async def _start(self, name: str, config: dict[str, Any]) -> Process:
        directory, state = self.directory / f"tw-{name}", self.directory / f"state-{name}"
        config_file = self.directory / f"{name}.yml"
        xray = {} if self.stand is None else {"xray": str(binary("xray"))}
        config_file.write_text(
            yaml.safe_dump({**config, **xray, "runtime_dir": str(directory), "state_dir": str(state)})
        )
        description = self.directory / f"{name}.json"
        ports = {"ssh": self.cell.ports.ssh, "xray_api": self.cell.ports.xray_api, "reverse": self.cell.ports.reverse}
        description.write_text(
            json.dumps(
                {
                    "config": str(config_file),
                    "ports": ports,
                    "cell_user": self.cell.user,
                    "kind": name.partition("-")[0],
                    "real_carrier": self.stand is not None,
                }
            )
        )
        log = self.directory / f"{name}.log"
        with log.open("ab") as out:
            popen = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.integration.link.daemons", str(description), stderr=out, cwd=ROOT
            )
        process = Process(popen, directory, config_file, log)
        self._started.append(process)
        return process

    async def close(self) -> None:
        for process in self._started:
            if process.popen.returncode is None:
                process.popen.kill()
                await process.popen.wait()
            print(f"--- {process.log.name}\n{process.log.read_text()}")


@contextlib.asynccontextmanager
async def daemons(cell: Cell, stand: Stand | None = None) -> AsyncIterator[Daemons]:
    with tempfile.TemporaryDirectory(prefix="tw-run-") as directory:  # short: it holds unix sockets
        made = Daemons(cell, Path(directory), stand)
        try:
            yield made
        finally:
            await made.close()


def public(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key().decode().split()[:2])


def make(description: Path) -> Daemon:
    """Make one daemon as it is described."""
    told = json.loads(description.read_text())
    ports = CellPorts(told["ports"]["ssh"], told["ports"]["xray_api"], tuple(told["ports"]["reverse"]))
    path = Path(told["config"])
    if told["kind"] == "connect":
        client = load_connect(path)
        return ConnectDaemon(path, client, carrier(client) if told["real_carrier"] else PlainCarrier(), ports)
    config = load_serve(path)
    if told["real_carrier"]:
        real = RelayUsers(f"unix:{config.runtime_dir}/{API_SOCKET}")
        return ServeDaemon(path, config, carrier(config), real, ports=ports, cell_user=told["cell_user"])
    remembered = RememberedUsers(description.with_name("relay-users.json"))
    return ServeDaemon(path, config, PlainCarrier(), remembered, ports=ports, cell_user=told["cell_user"])


def carrier(config: ServeConfig | ConnectConfig) -> XrayCarrier:
    settings = CarrierSettings.for_entry(config.relay, config.tenant, config.identity_dir, config.state_dir)
    return XrayCarrier(settings, config.runtime_dir, config.xray)


if __name__ == "__main__":
    sys.exit(daemon.run(lambda: make(Path(sys.argv[1]))))
