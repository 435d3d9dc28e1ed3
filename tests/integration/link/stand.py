"""Both ends of the link layer around one cell: server, its links, a client's links, and doors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncssh

from tests.integration.link.cell import Cell
from tests.until import until
from tunnel_whisperer.link.client import ClientLink
from tunnel_whisperer.link.door import Door
from tunnel_whisperer.link.link import Login, Surroundings, Timing
from tunnel_whisperer.link.pool import LinkPool
from tunnel_whisperer.link.reverse import ReverseLink
from tunnel_whisperer.link.server import EmbeddedServer
from tunnel_whisperer.link.states import LinkChanged
from tunnel_whisperer.users.authorized_keys import build
from tunnel_whisperer.users.grants import Grant
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.model import User, UserSet
from tunnel_whisperer.users.targets import Target


def user(name: str, key: asyncssh.SSHKey, *ports: int) -> User:
    public = read_public_key(key.export_public_key().decode())
    targets = tuple(Target("127.0.0.1", port) for port in ports)
    line = build(public, targets, f"{name}@acme")
    return User(name=name, uuid="", authorized_key=line, grant=Grant(ports=targets))


def user_set(*users: User) -> UserSet:
    return UserSet({one.name: one for one in users})


@dataclass
class Stand:
    """Everything between two sockets."""

    cell: Cell
    timing: Timing = field(default_factory=Timing)
    host_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    changes: list[LinkChanged] = field(default_factory=list)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    def __post_init__(self) -> None:
        self.server = EmbeddedServer(self.host_key, 0, UserSet())

    async def serve(self, links: int = 2) -> LinkPool[ReverseLink]:
        """Bring up the server's end."""
        await self.server.start()
        login = Login(self.cell.user, self.cell.key, lambda: self.cell.host_keys)
        pool: LinkPool[ReverseLink] = LinkPool(
            links, lambda number: ReverseLink(number, login, around, self.server.connect), self.changes.append
        )
        around = self._around(pool)
        self._stack.push_async_callback(self.server.close)
        await self._stack.enter_async_context(running(self.server.run(), pool.run()))
        await until(lambda: sum(link.live for link in pool.links) == links)
        return pool

    async def connect(
        self, name: str, key: asyncssh.SSHKey, links: int = 2, *, wait: bool = True
    ) -> LinkPool[ClientLink]:
        """Bring up a client's end."""
        pinned = [asyncssh.import_public_key(self.host_key.export_public_key())]
        login = Login(name, key, lambda: pinned)
        pool: LinkPool[ClientLink] = LinkPool(links, lambda number: ClientLink(number, login, around))
        around = self._around(pool)
        await self._stack.enter_async_context(running(pool.run()))
        if wait:
            await until(lambda: sum(link.live for link in pool.links) == links)
        return pool

    async def door(
        self, pool: LinkPool[ClientLink], port: int, *, patience: float = 10.0
    ) -> tuple[Door[ClientLink], int]:
        """Open a door to a port at the server's end; returns it and the local port."""
        door = Door(f"bridge to {port}", pool, "127.0.0.1", port, patience=patience)
        server = await asyncio.get_running_loop().create_server(door.accept, "127.0.0.1", 0, backlog=1024)

        async def close() -> None:
            server.close()
            await door.close()

        self._stack.push_async_callback(close)
        return door, server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        await self._stack.aclose()

    def _around(self, pool: LinkPool[ReverseLink] | LinkPool[ClientLink]) -> Surroundings:
        return Surroundings(
            dialer=self.cell.dialer,
            report=pool.report,
            siblings=lambda: pool.links,
            ports=self.cell.ports,
            timing=self.timing,
        )


@contextlib.asynccontextmanager
async def running(*coroutines: object) -> AsyncIterator[None]:
    """Run coroutines while inside; an error of one of them is an error of the test."""
    tasks = [asyncio.create_task(one) for one in coroutines]  # type: ignore[var-annotated, arg-type]  # any coroutine
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError) and result is not None:
                raise result
