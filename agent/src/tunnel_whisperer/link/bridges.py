"""A context's bridges: one door and one local listener each."""

import asyncio
import errno
import logging
from collections.abc import Iterable
from typing import Any

from tunnel_whisperer.config import Bridge
from tunnel_whisperer.link import ssh
from tunnel_whisperer.link.client import ClientLink
from tunnel_whisperer.link.door import Door
from tunnel_whisperer.link.listening import holder
from tunnel_whisperer.link.pool import LinkPool

RETRY = 2.0
"""Seconds after which a local port that was taken is tried again."""
BACKLOG = 1024

_logger = logging.getLogger("tunnel_whisperer.bridge")


class OpenBridge:
    """One bridge: its door, and its listener unless its port is taken."""

    def __init__(self, bridge: Bridge, pool: LinkPool[ClientLink]) -> None:
        """Prepare only; `listen` opens it."""
        self.bridge = bridge
        self.door = Door(bridge.name, pool, bridge.host, bridge.port)
        self.fault: str | None = None
        self._server: asyncio.AbstractServer | None = None

    @property
    def listening(self) -> bool:
        """Whether local connections are taken."""
        return self._server is not None

    async def listen(self) -> None:
        """Listen; what is in the way is told in `fault`, once in the log."""
        bridge = self.bridge
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self.door.accept, bridge.listen, bridge.local_port, backlog=BACKLOG
            )
        except OSError as error:
            fault = await self._explain(error)
            if fault != self.fault:
                self.fault = fault
                _logger.error("%s: %s: %s", bridge.name, self.address, fault)
            return
        if self.fault is not None:
            _logger.info("%s: %s is free again", bridge.name, self.address)
        self.fault = None

    async def _explain(self, error: OSError) -> str:
        if error.errno != errno.EADDRINUSE:
            return f"cannot be listened on: {ssh.in_words(error)}"
        who = await asyncio.to_thread(holder, self.bridge.listen, self.bridge.local_port)
        return f"the port is taken by {who}" if who else "the port is taken"

    def shut(self) -> None:
        """Take no more local connections; the flows go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def address(self) -> str:
        """The local address, as one types it."""
        listen = self.bridge.listen
        return f"[{listen}]:{self.bridge.local_port}" if ":" in listen else f"{listen}:{self.bridge.local_port}"

    def status(self) -> dict[str, Any]:
        """Tell how the bridge is."""
        return {
            "name": self.bridge.name,
            "local": self.address,
            "target": f"{self.bridge.host}:{self.bridge.port}",
            "state": "listening" if self.listening else "closed",
            "reason": self.fault or (f"the server refused: {self.door.refusal}" if self.door.refusal else None),
            "flows": len(self.door.flows),
            "sent": self.door.flows.sent,
            "received": self.door.flows.received,
        }


class Bridges:
    """All bridges of a context. `run` owns them; `apply` changes only what has changed, `shut` is for good."""

    def __init__(self, pool: LinkPool[ClientLink]) -> None:
        """Have none yet."""
        self._pool = pool
        self._open: dict[str, OpenBridge] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._closing = asyncio.Event()

    async def apply(self, wanted: Iterable[Bridge]) -> list[str]:
        """Have exactly these bridges; return in words what changed. One that is as it was is not touched."""
        async with self._changing:
            if self._closing.is_set():
                return []
            new = {bridge.name: bridge for bridge in wanted}
            changes = [f"bridge {name} closed" for name in self._open if name not in new]
            for name, bridge in new.items():
                old = self._open.get(name)
                if old is None:
                    changes.append(f"bridge {name} opened")
                elif old.bridge != bridge:
                    changes.append(f"bridge {name} changed")
            self._close_changed(new)
            for name, bridge in new.items():
                known = self._open.setdefault(name, OpenBridge(bridge, self._pool))
                known.bridge = bridge
                await self._listen(known)
            return changes

    async def run(self) -> None:
        """Try ports that were taken again until cancelled, then cut and close everything."""
        try:
            while True:
                await asyncio.sleep(RETRY)
                async with self._changing:
                    for bridge in self._open.values():
                        await self._listen(bridge)
        finally:
            self.shut()
            for bridge in self._open.values():
                self._leave(bridge)
            if self._leaving:
                await asyncio.wait(self._leaving)

    def shut(self) -> None:
        """Take no more local connections from now on; the flows go on."""
        self._closing.set()
        for bridge in self._open.values():
            bridge.shut()

    async def drained(self) -> None:
        """Wait until no flow is left."""
        for bridge in tuple(self._open.values()):
            await bridge.door.flows.drained()

    @property
    def flows(self) -> int:
        """How many flows there are."""
        return sum(len(bridge.door.flows) for bridge in self._open.values())

    @property
    def all_listen(self) -> bool:
        """Whether every bridge takes connections."""
        return all(bridge.listening for bridge in self._open.values())

    def status(self) -> list[dict[str, Any]]:
        """Tell how the bridges are."""
        return [bridge.status() for bridge in self._open.values()]

    async def _listen(self, bridge: OpenBridge) -> None:
        """Have a bridge listen, unless all are being closed; that may also begin meanwhile."""
        if not bridge.listening and not self._closing.is_set():
            await bridge.listen()
            if self._closing.is_set():
                bridge.shut()

    def _close_changed(self, new: dict[str, Bridge]) -> None:
        """Close listeners that move and bridges that go, before any is opened: ports may have been swapped."""
        for name, old in tuple(self._open.items()):
            bridge = new.get(name)
            if bridge is None or (bridge.host, bridge.port) != (old.bridge.host, old.bridge.port):
                old.shut()
                del self._open[name]
                self._leave(old)  # what flowed there has no bridge any more
            elif (bridge.listen, bridge.local_port) != (old.bridge.listen, old.bridge.local_port):
                old.shut()
                old.fault = None

    def _leave(self, bridge: OpenBridge) -> None:
        task = asyncio.create_task(bridge.door.close(), name=f"closing of bridge {bridge.bridge.name}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
