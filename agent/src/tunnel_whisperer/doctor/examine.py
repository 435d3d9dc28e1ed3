"""The steps in their order, for each kind of configuration file."""

import asyncio
import contextlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import asyncssh

from tunnel_whisperer.carrier import CarrierSettings, XrayCarrier
from tunnel_whisperer.carrier.brief import brief_carrier
from tunnel_whisperer.config import Bridge, ConnectConfig, DialConfig, ServeConfig, load_any
from tunnel_whisperer.control import SOCKET, ask
from tunnel_whisperer.doctor import network, own, tunnel
from tunnel_whisperer.doctor.result import Finding, Record, TroubleError
from tunnel_whisperer.errors import TwError
from tunnel_whisperer.identity import Identity, read_public
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.instances import Instance
from tunnel_whisperer.link.link import CELL, LOOPBACK, CellPorts
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users.store import load_users

Config = ServeConfig | ConnectConfig | DialConfig

CONFIGURATION, CERTIFICATE = "configuration", "certificate"
NAME, TCP, TLS, CLOCK, GATE = "name", "tcp", "tls", "clock", "gate"
XRAY, CARRIER, SSH, API, USERS, BRIDGE = "xray", "carrier", "ssh", "api", "users", "bridge"
REFUSAL = "refusal"


async def examine(path: Path, record: Record, *, ports: CellPorts = CELL, cell_user: str | None = None) -> None:
    """Try everything that the configuration at `path` describes.

    `ports` and `cell_user` are those of the tenant's cell, where they are not the usual ones.
    """
    loaded: list[Config] = []

    async def load() -> Finding:
        loaded.append(_load(path))
        return Finding("good")

    if not await record.step(CONFIGURATION, str(path), load):
        return
    config = loaded[0]
    async with contextlib.AsyncExitStack() as stack:
        match config:
            case ServeConfig():
                await _Server(config, record, stack, ports).examine(config, cell_user or f"tw-{config.tenant}")
            case ConnectConfig():
                await _Client(config, record, stack, ports).examine(config)
            case DialConfig():
                await _Operator(config, record, stack, ports).examine(config)


def _load(path: Path) -> Config:
    config = load_any(path)
    identity = Identity(config.identity_dir)
    identity.uuid()
    if not isinstance(config, DialConfig):
        identity.ssh_key()
    if config.relay.roots_file:
        read_public(config.relay.roots_file)
    return config


class _Examination:
    """What all kinds have in common; `_up` and `_session` are there once their steps went well."""

    _up: XrayCarrier
    _session: asyncssh.SSHClientConnection

    def __init__(self, config: Config, record: Record, stack: contextlib.AsyncExitStack, ports: CellPorts) -> None:
        """Connections are closed with `stack`."""
        self._relay = config.relay
        self._xray = config.xray
        self._identity = Identity(config.identity_dir, None if isinstance(config, DialConfig) else config.state_dir)
        self._record = record
        self._stack = stack
        self._ports = ports

    async def _reach(self, entry: str, holder: str | None) -> None:
        """Look at everything up to a carrier; our certificate is `holder`'s, or anybody's of that entry."""
        step, relay, identity = self._record.step, self._relay, self._identity
        place = f"{relay.host}:{relay.port}"
        await step(CERTIFICATE, str(identity.tls_chain), partial(own.certificate, identity, entry, holder))
        await step(NAME, relay.host, partial(network.resolve, relay))
        await step(TCP, place, partial(network.tcp, relay), after=(NAME,))
        await step(TLS, place, partial(network.tls, relay), after=(TCP,))
        await step(CLOCK, place, partial(network.clock, relay), after=(TCP,))
        gate = partial(network.gate, relay, identity, entry)
        await step(GATE, f"{place}/tw/{entry}", gate, after=(TLS, CERTIFICATE))
        await step(XRAY, str(self._xray), partial(own.xray, self._xray))
        settings = CarrierSettings.for_entry(relay, entry, identity.directory, identity.state_dir)
        await step(CARRIER, relay.host, partial(self._carry, settings), after=(XRAY, GATE))

    async def _carry(self, settings: CarrierSettings) -> Finding:
        self._up = await self._stack.enter_async_context(brief_carrier(settings, self._xray))
        return Finding(f"Xray is up, profile {settings.relay.profile}")

    async def _log_in(
        self, port: int, user: str, pinned: tuple[str, ...], hint: str, version: str = ssh.VERSION
    ) -> None:
        session = tunnel.login(self._up, port, user, self._identity, pinned, hint, version)
        self._session = await self._stack.enter_async_context(session)


class _Server(_Examination):
    """A tenant's server: the cell's sshd, Xray's API behind it, and what users may reach from here."""

    _known: UserSet

    async def examine(self, config: ServeConfig, user: str) -> None:
        step = self._record.step
        await self._reach(config.tenant, "server")
        await step(SSH, "sshd of the cell", partial(self._cell, config, user), after=(CARRIER,))
        await step(API, f"Xray at {LOOPBACK}:{self._ports.xray_api}", self._api, after=(SSH,))
        if await step(USERS, str(config.users_file), partial(self._users, config)):
            await self._targets()

    async def _cell(self, config: ServeConfig, user: str) -> Finding:
        down = f"at the relay: systemctl status tw-sshd@{config.tenant}"
        said = await tunnel.carrier_to(self._up, self._ports.ssh, down)
        hint = f"let the operator run site.yml: the relay has another key for {user} than this host"
        await self._log_in(self._ports.ssh, user, config.relay_host_keys, hint)
        return Finding(f"{said.details}, host key as pinned, logged in as {user}")

    async def _api(self) -> Finding:
        return await tunnel.channel(self._session, LOOPBACK, self._ports.xray_api, "let the operator run site.yml")

    async def _users(self, config: ServeConfig) -> Finding:
        self._known = load_users(config.users_file)
        return Finding(f"{len(self._known)} users")

    async def _targets(self) -> None:
        reach: dict[tuple[str, int], list[str]] = {}
        for one in self._known.values():
            for place in one.targets:
                reach.setdefault((place.host, place.port), []).append(one.name)
        for (host, port), names in sorted(reach.items()):
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            await self._record.step(BRIDGE, f"{host}:{port} for {shown}", partial(tunnel.target, host, port))


class _Client(_Examination):
    """A context: the server through one of its links, and a channel for each bridge."""

    async def examine(self, config: ConnectConfig) -> None:
        step = self._record.step
        await self._reach(config.tenant, config.user)
        await step(SSH, f"server of {config.tenant}", partial(self._server, config), after=(CARRIER,))
        for bridge in config.bridges:
            target = f"{bridge.name}: {bridge.host}:{bridge.port}"
            await step(BRIDGE, target, partial(self._bridge, bridge), after=(SSH,))
        port = _undeclared(config.bridges)
        await step(REFUSAL, f"another port: {LOOPBACK}:{port}", partial(self._refusal, port), after=(SSH,))

    async def _server(self, config: ConnectConfig) -> Finding:
        live, why = await tunnel.live_ports(self._up, self._ports.reverse)
        if not live:
            action = f"at the server: tw status and tw test (its links, and whether the relay knows {config.user})"
            raise TroubleError(f"no link of the server answers: {why}", action)
        hint = f"let the operator run users.yml: the server has another key for {config.user} than this host, or none"
        instance = await asyncio.to_thread(_instance, config.runtime_dir)
        await self._log_in(live[0], config.user, config.server_host_keys, hint, instance.version)
        links = ", ".join(str(port) for port in live)
        return Finding(f"host key as pinned, logged in as {config.user}, links at {links}")

    async def _bridge(self, bridge: Bridge) -> Finding:
        permit = f"give this user port {bridge.port} in tw_users and run users.yml, or take the bridge away"
        return await tunnel.channel(self._session, bridge.host, bridge.port, permit)

    async def _refusal(self, port: int) -> Finding:
        return await tunnel.refusal(self._session, LOOPBACK, port)


def _instance(runtime_dir: Path) -> Instance:
    """Speak for the daemon of this context where it runs: a user who may have one session is not connected twice."""
    try:
        return Instance(str(ask(runtime_dir / SOCKET, "status", timeout=2.0)["instance"]))
    except (TwError, KeyError):
        alone = Instance()
        alone.answered = True  # an examination takes nobody's place
        return alone


def _undeclared(bridges: Iterable[Bridge]) -> int:
    """Return the lowest port that no bridge leads to."""
    declared = {bridge.port for bridge in bridges}
    return next(port for port in range(1, len(declared) + 2) if port not in declared)


class _Operator(_Examination):
    """The operator's entry: the relay's own sshd, as far as it introduces itself."""

    async def examine(self, config: DialConfig) -> None:
        await self._reach(config.entry, None)
        await self._record.step(SSH, "the relay's sshd", self._sshd, after=(CARRIER,))

    async def _sshd(self) -> Finding:
        return await tunnel.carrier_to(self._up, self._ports.ssh, "at the relay's console: systemctl status ssh")
