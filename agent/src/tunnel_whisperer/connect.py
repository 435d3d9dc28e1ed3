"""The client's daemon: a context's links to the server, and its bridges."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tunnel_whisperer import ports, reloading
from tunnel_whisperer.carrier import CarrierSettings, XrayCarrier
from tunnel_whisperer.config import ConnectConfig, load_connect
from tunnel_whisperer.daemon import Carrier, Daemon
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.bridges import Bridges
from tunnel_whisperer.link.client import ClientLink
from tunnel_whisperer.link.instances import Instance
from tunnel_whisperer.link.link import CELL, CellPorts, Login, Surroundings
from tunnel_whisperer.link.pool import LinkPool
from tunnel_whisperer.renewing import Renewal, renew_over
from tunnel_whisperer.tls_chain import Chain
from tunnel_whisperer.words import count

LIVE_CHANGES = frozenset({"bridges", "server_host_keys", "relay.links"})
"""Keys of the configuration that are followed while running; the others need a restart."""

NOWHERE_ELSE: ports.LocalEnds = MappingProxyType({})
"""All bridges listen where the files say."""

_logger = logging.getLogger("tunnel_whisperer.connect")


class ConnectDaemon(Daemon):
    """Brings ports of a tenant's server to this host."""

    kind = "connect"

    def __init__(
        self,
        path: Path,
        config: ConnectConfig,
        carrier: Carrier,
        ports: CellPorts = CELL,
        maps: ports.LocalEnds = NOWHERE_ELSE,
    ) -> None:
        """`config` was read from `path`; `maps` say where bridges listen in this run, whatever the files say."""
        super().__init__(config.context, config.runtime_dir, carrier)
        self._path = path
        self._config = config
        self._maps = maps
        self._ports = ports
        self._host_keys = ssh.host_keys(config.server_host_keys)
        self._identity = Identity(config.identity_dir, config.state_dir)
        self._instance = Instance()
        self._login = Login(config.user, self._identity.ssh_key(), lambda: self._host_keys, self._instance)
        self._renewal = Renewal(lambda: carrier.chain, self._renew)
        self._pool: LinkPool[ClientLink] = LinkPool(config.relay.links, self._make_link)
        self._bridges = Bridges(self._pool)

    @property
    def pool(self) -> LinkPool[ClientLink]:
        """The links."""
        return self._pool

    async def start(self) -> None:
        """Listen; a port that is taken is tried again and again, and stops nothing else."""
        await self._bridges.apply(self._config.bridges)
        self.part("bridges", self._bridges.run())
        self.part("certificate", self._renewal.run())

    async def drain(self) -> None:
        """Take no new connections and wait for the flows."""
        self._bridges.shut()
        await self._bridges.drained()

    async def close(self) -> None:
        """Let go of the bridges' ports; their flows end with the links."""
        self._bridges.shut()

    async def reread(self) -> Mapping[str, Any]:
        """Follow the configuration; bridges that are as they were are not touched."""
        new = load_connect(self._path, self._maps)
        host_keys = ssh.host_keys(new.server_host_keys)
        changed, restart = reloading.differences(self._config, new, LIVE_CHANGES - {"bridges"}, ignore={"bridges"})
        self._config = reloading.take(self._config, new, LIVE_CHANGES)
        self._host_keys = host_keys
        self._pool.resize(new.relay.links)
        return {"changed": changed + await self._bridges.apply(new.bridges), "restart": restart}

    def details(self) -> dict[str, Any]:
        """Tell of the bridges."""
        return {
            "tenant": self._config.tenant,
            "user": self._config.user,
            "relay": f"{self._config.relay.host}:{self._config.relay.port}",
            "instance": self._instance.id,
            "certificate": self._renewal.status(),
            "bridges": self._bridges.status(),
        }

    def condition(self) -> tuple[str, str]:
        """Tell how the links and the bridges are."""
        state, reason = self.links_condition()
        bridges = self._bridges.status()
        closed = [bridge for bridge in bridges if bridge["state"] != "listening"]
        if state == "up" and closed:
            return "degraded", f"bridge {closed[0]['name']} is closed: {closed[0]['reason']}"
        if state == "up":
            reason = f"{reason}, {count(len(bridges), 'bridge')}, {count(self._bridges.flows, 'flow')}"
        return state, reason

    async def _renew(self, chain: Chain) -> Chain:
        user, tenant = self._config.user, self._config.tenant
        return await renew_over(self._pool.best(), self._identity, user, tenant, chain)

    def _make_link(self, number: int) -> ClientLink:
        around = Surroundings(
            dialer=self._carrier,
            report=self._pool.report,
            siblings=lambda: self._pool.links,
            explain=lambda: self._carrier.status().get("last_error"),
            ports=self._ports,
        )
        return ClientLink(number, self._login, around)


def make(path: Path, maps: ports.LocalEnds = NOWHERE_ELSE) -> ConnectDaemon:
    """Make the daemon that the configuration at `path` describes, with bridges moved by `maps`; raises ConfigError."""
    config = load_connect(path, maps)
    if fault := ports.unknown(config.bridges, maps):
        raise ConfigError(fault, where="--map")
    for warning in ports.beyond_loopback(config.bridges):
        _logger.warning("%s", warning)
    settings = CarrierSettings.for_entry(config.relay, config.tenant, config.identity_dir, config.state_dir)
    carrier = XrayCarrier(settings, config.runtime_dir, config.xray)
    return ConnectDaemon(path, config, carrier, maps=maps)
