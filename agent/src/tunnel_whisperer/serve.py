"""The server's daemon: the embedded SSH server, and the links by which the relay's ports lead to it."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tunnel_whisperer import pki, reloading
from tunnel_whisperer.carrier import CarrierSettings, XrayCarrier
from tunnel_whisperer.config import ServeConfig, load_serve
from tunnel_whisperer.daemon import Carrier, Daemon
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import CA_CHAIN, Identity, read_public
from tunnel_whisperer.issuing import Issuing
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.door import Door
from tunnel_whisperer.link.keeper import Keeper, RelayUsers
from tunnel_whisperer.link.link import CELL, LOOPBACK, CellPorts, Login, Surroundings
from tunnel_whisperer.link.pool import LinkPool
from tunnel_whisperer.link.reverse import ReverseLink
from tunnel_whisperer.link.server import EmbeddedServer
from tunnel_whisperer.link.states import LinkChanged, LinkState
from tunnel_whisperer.provision.users import Place
from tunnel_whisperer.renewing import Renewal
from tunnel_whisperer.tls_chain import Chain, Life
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users_file import UsersFile
from tunnel_whisperer.words import count

API_SOCKET = "xray-api.sock"
LIVE_CHANGES = frozenset({"relay_host_keys", "relay.links", "target_hosts"})
"""Keys of the configuration that are followed while running; the others need a restart."""


class ServeDaemon(Daemon):
    """Brings the users of one tenant to this host."""

    kind = "serve"

    def __init__(
        self,
        path: Path,
        config: ServeConfig,
        carrier: Carrier,
        relay_users: RelayUsers,
        *,
        ports: CellPorts = CELL,
        cell_user: str | None = None,
    ) -> None:
        """`config` was read from `path`; `relay_users` are reached by `xray-api.sock` in its runtime directory."""
        super().__init__(config.tenant, config.runtime_dir, carrier)
        self._path = path
        self._config = config
        self._ports = ports
        self._host_keys = ssh.host_keys(config.relay_host_keys)
        self._identity = identity = Identity(config.identity_dir, config.state_dir)
        self._users = UsersFile(config.users_file)
        place = Place(config.identity_dir, config.users_file)
        self._issuing = Issuing(config.tenant, place, lambda: self._users.snapshot)
        host_key = identity.ssh_host_key()
        self._server = EmbeddedServer(host_key, config.ssh_port, self._users.users, engine=self._issuing)
        self._renewal = Renewal(lambda: carrier.chain, self._renew, authority=self._authority)
        self._server.target_hosts = config.target_hosts
        self._login = Login(cell_user or f"tw-{config.tenant}", identity.ssh_key(), lambda: self._host_keys)
        self._pool: LinkPool[ReverseLink] = LinkPool(config.relay.links, self._make_link, self._link_changed)
        self._api = Door("the relay's Xray", self._pool, LOOPBACK, ports.xray_api)
        self._keeper = Keeper(relay_users, self._wanted, lambda: self._pool.up)

    @property
    def pool(self) -> LinkPool[ReverseLink]:
        """The links."""
        return self._pool

    async def start(self) -> None:
        """Listen for users, and for those who ask the relay's Xray."""
        await self._server.start()
        path = self._config.runtime_dir / API_SOCKET
        _remove(path)
        listener = await asyncio.get_running_loop().create_unix_server(self._api.accept, str(path))
        path.chmod(0o600)
        self.part("way to the relay's Xray", self._hold_api(listener, path))
        self.part("sessions", self._server.run())
        self.part("users file", self._users.run(self._users_changed))
        self.part("users at the relay", self._keeper.run())
        self.part("certificate", self._renewal.run())

    async def drain(self) -> None:
        """Take no new sessions and wait for the flows."""
        self._server.stop_accepting()
        await self._server.flows.drained()

    async def close(self) -> None:
        """Let everybody go."""
        await self._server.close()

    async def reread(self) -> Mapping[str, Any]:
        """Follow the configuration and the users."""
        new = load_serve(self._path)
        host_keys = ssh.host_keys(new.relay_host_keys)
        users_changed = await self._users.refresh()
        changed, restart = reloading.differences(self._config, new, LIVE_CHANGES)
        self._config = reloading.take(self._config, new, LIVE_CHANGES)
        self._host_keys = host_keys
        self._pool.resize(new.relay.links)
        if users_changed:
            changed.append(f"{count(len(self._users.users), 'user')} in force")
        if users_changed or "target_hosts" in changed:
            self._server.target_hosts = new.target_hosts
            self._users_changed(self._users.users)
        return {"changed": changed, "restart": restart}

    def details(self) -> dict[str, Any]:
        """Tell of the users."""
        return {
            "tenant": self._config.tenant,
            "relay": f"{self._config.relay.host}:{self._config.relay.port}",
            "ssh": self._server.status(),
            "users_file": {"path": str(self._users.path), "error": self._users.error},
            "relay_users": self._keeper.status(),
            "certificate": self._renewal.status(),
            "authority": self._renewal.authority_status(),
        }

    def condition(self) -> tuple[str, str]:
        """Tell how the links are, and who is here."""
        state, reason = self.links_condition()
        if state == "up":
            reason = f"{reason}, {count(len(self._server.online()), 'user')} online"
        return state, reason

    async def _renew(self, chain: Chain) -> Chain:
        return await self._issuing.renew_own(self._identity)

    def _authority(self) -> Life | None:
        """Return when the tenant's own certificate is valid, as far as it can be read just now."""
        with contextlib.suppress(ConfigError, ValueError):
            text = read_public(self._identity.directory / CA_CHAIN).decode("ascii", "replace")
            return Life.of(pki.read_certificates(text)[0])
        return None

    async def _hold_api(self, listener: asyncio.AbstractServer, path: Path) -> None:
        """Keep the socket to the relay's Xray until cancelled."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            listener.close()
            _remove(path)
            await self._api.close()

    def _make_link(self, number: int) -> ReverseLink:
        around = Surroundings(
            dialer=self._carrier,
            report=self._pool.report,
            siblings=lambda: self._pool.links,
            explain=lambda: self._carrier.status().get("last_error"),
            ports=self._ports,
        )
        return ReverseLink(number, self._login, around, self._server.connect)

    def _link_changed(self, change: LinkChanged) -> None:
        if change.before is LinkState.CONNECTING and change.after is LinkState.UP:
            self._keeper.nudge()

    def _users_changed(self, users: UserSet) -> None:
        self._server.apply(users)
        self._keeper.nudge()

    def _wanted(self) -> tuple[Mapping[str, str], Collection[str]]:
        return {user.name: user.uuid for user in self._users.users.values()}, self._server.recent()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def make(path: Path) -> ServeDaemon:
    """Make the daemon that the configuration at `path` describes; raises ConfigError."""
    from tunnel_whisperer.carrier.api import RelayUsers as XrayUsers

    config = load_serve(path)
    settings = CarrierSettings.for_entry(config.relay, config.tenant, config.identity_dir, config.state_dir)
    carrier = XrayCarrier(settings, config.runtime_dir, config.xray)
    return ServeDaemon(path, config, carrier, XrayUsers(f"unix:{config.runtime_dir / API_SOCKET}"))
