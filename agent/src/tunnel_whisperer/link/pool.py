"""The links to one relay: one coroutine owns them, hears what they report, and lets others know."""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

from tunnel_whisperer.link.link import Link
from tunnel_whisperer.link.states import LinkChanged, LinkState

L = TypeVar("L", bound=Link)

_logger = logging.getLogger("tunnel_whisperer.link")


class LinkPool(Generic[L]):
    """Keeps `count` links made by `make`."""

    def __init__(
        self, count: int, make: Callable[[int], L], on_change: Callable[[LinkChanged], None] = lambda change: None
    ) -> None:
        """Prepare only; `run` starts the links. Their `Surroundings.report` must be `report`."""
        self._count = count
        self._make = make
        self._on_change = on_change
        self._events: asyncio.Queue[LinkChanged | asyncio.Future[None]] = asyncio.Queue()
        self._waiting: set[asyncio.Future[None]] = set()
        self._resized = asyncio.Event()
        self._told: dict[int, str] = {}
        self.links: list[L] = []

    def report(self, change: LinkChanged) -> None:
        """Hear of a change; for links."""
        self._events.put_nowait(change)

    # -- what others may ask --

    def best(self, besides: Collection[Link] = ()) -> L | None:
        """Return the live link with the fewest flows; one that is doubted only when there is no other."""
        live = [link for link in self.links if link.live and link not in besides]
        return min(live, key=lambda link: (link.life.state is LinkState.DEGRADED, len(link.flows)), default=None)

    async def live(self, timeout: float, besides: Collection[Link] = ()) -> L | None:
        """Return the best live link, waiting for one at most `timeout` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while (link := self.best(besides)) is None and (left := until - loop.time()) > 0:
            change = loop.create_future()
            self._waiting.add(change)
            try:
                await asyncio.wait((change,), timeout=left)
            finally:
                self._waiting.discard(change)
        return link

    @property
    def up(self) -> bool:
        """Whether any link is live."""
        return any(link.live for link in self.links)

    def hurry(self) -> None:
        """Let links that wait for their next attempt try now."""
        for link in self.links:
            if not link.live:
                link.hurry()

    def probe(self) -> None:
        """Let every link make sure that its far end is there, and those that wait try now."""
        for link in self.links:
            link.probe()

    def status(self) -> list[dict[str, Any]]:
        """Tell how the links are."""
        return [link.status() for link in self.links]

    async def answer(self) -> None:
        """Return when the coroutine that owns the links has come round to it; a watchdog asks."""
        asked = asyncio.get_running_loop().create_future()
        self._events.put_nowait(asked)
        await asked

    def resize(self, count: int) -> None:
        """Keep `count` links from now on."""
        self._count = count
        self._resized.set()

    # -- its life --

    async def run(self) -> None:
        """Keep the links until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(), name="links")
            while True:
                event = await self._events.get()
                if isinstance(event, LinkChanged):
                    self._handle(event)
                elif not event.done():
                    event.set_result(None)

    async def _keep(self) -> None:
        """Have as many links as wanted."""
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = []
            while True:
                self._resized.clear()
                while len(self.links) < self._count:
                    link = self._make(len(self.links) + 1)
                    self.links.append(link)
                    tasks.append(group.create_task(link.run(), name=f"link {link.number}"))
                while len(self.links) > self._count:
                    self.links.pop()
                    tasks.pop().cancel()
                await self._resized.wait()

    def _handle(self, change: LinkChanged) -> None:
        """Act on what a link reported."""
        self._log(change)
        if change.before is LinkState.CONNECTING and change.after is LinkState.UP:
            self.hurry()  # the way is open again: no sense in waiting any longer
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._on_change(change)

    def _log(self, change: LinkChanged) -> None:
        """Tell of a change, but of attempts that fail in the same way once only."""
        told, self._told[change.link] = self._told.get(change.link), change.reason
        level = logging.WARNING if change.after in (LinkState.DOWN, LinkState.DEGRADED) else logging.INFO
        if change.after is LinkState.CONNECTING:
            level = logging.DEBUG
            self._told[change.link] = told or ""
        elif change.before is LinkState.CONNECTING and change.reason == told:
            level = logging.DEBUG
        _logger.log(level, "link %d: %s: %s", change.link, change.after.value, change.reason)
