"""Doors: each turns local connections into flows to one target at the far end."""

import asyncio
import logging
from typing import Generic, TypeVar

from tunnel_whisperer.link.flows import FlowGroup
from tunnel_whisperer.link.link import Link, LinkLostError, RefusedError
from tunnel_whisperer.link.pool import LinkPool
from tunnel_whisperer.link.pump import Flow

PATIENCE = 10.0
"""Seconds a local connection waits for a live link before it is closed."""

L = TypeVar("L", bound=Link)

_logger = logging.getLogger("tunnel_whisperer.bridge")


class Door(Generic[L]):
    """Carries what it accepts to `host:port` at the far end, over the best live link."""

    def __init__(self, name: str, pool: LinkPool[L], host: str, port: int, *, patience: float = PATIENCE) -> None:
        """`name` is for messages."""
        self.name = name
        self.host = host
        self.port = port
        self.flows = FlowGroup()
        self.refusal: str | None = None
        """Why the far end refused the latest flow; None once it took one."""
        self._pool = pool
        self._patience = patience
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()

    def accept(self) -> asyncio.Protocol:
        """Take one local connection; for `create_server`."""
        flow = Flow()
        flow.join(self.flows)
        task = asyncio.create_task(self._carry(flow), name=f"opening of {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._settle)
        return flow.socket_side

    async def close(self) -> None:
        """Cut the flows and return when their opening has ended."""
        self.flows.cut()
        for task in self._waiting:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _settle(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("%s: opening a flow failed", self.name, exc_info=error)

    async def _carry(self, flow: Flow) -> None:
        """Open the flow's channel; the flow needs nobody after that."""
        try:
            opened = await self._open(flow)
        except BaseException:
            flow.cut()
            raise
        if not opened:
            flow.cut()

    async def _open(self, flow: Flow) -> bool:
        tried: list[L] = []
        while not flow.channel_lost:
            link = await self._await_link(tried)
            if link is None:
                _logger.warning("%s: closed a connection: no link came up within %g s", self.name, self._patience)
                break
            try:
                await link.open(flow, self.host, self.port)
            except LinkLostError:
                tried = [link]
                await asyncio.sleep(0)  # the link learns in the same round that it is lost
                continue
            except RefusedError as error:
                self.refusal = str(error)
                _logger.warning("%s: %s:%d refused at the server: %s", self.name, self.host, self.port, error)
                break
            self.refusal = None
            return True
        return False

    async def _await_link(self, besides: list[L]) -> L | None:
        if link := self._pool.best(besides):
            return link
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            # One that was just lost may be the first to come back.
            return await self._pool.live(self._patience)
        finally:
            self._waiting.discard(task)
