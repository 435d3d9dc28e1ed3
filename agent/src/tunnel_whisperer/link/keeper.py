"""Keeps the server's users in the relay's Xray, which forgets them whenever it restarts."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.errors import FatalError, TwError
from tunnel_whisperer.words import count

LOOK_EVERY = 30.0
"""Seconds between looks that nothing asked for. A restart of Xray ends our links, so it is seen without them."""

_logger = logging.getLogger("tunnel_whisperer.users")


class Changes(Protocol):
    """What a reconciliation did."""

    @property
    def added(self) -> Collection[str]:
        """Names that were put in."""
        ...

    @property
    def removed(self) -> Collection[str]:
        """Names that were taken out."""
        ...


class RelayUsers(Protocol):
    """The users of the relay's Xray."""

    async def reconcile(self, desired: Mapping[str, str], first: Collection[str] = ()) -> Changes:
        """Make them the desired ones (name -> UUID), beginning with `first`; raises TwError."""
        ...


class Keeper:
    """Reconciles when told to, and now and then by itself; after a refusal, when told to only."""

    def __init__(
        self,
        relay: RelayUsers,
        wanted: Callable[[], tuple[Mapping[str, str], Collection[str]]],
        reachable: Callable[[], bool],
        backoff: Backoff | None = None,
    ) -> None:
        """`wanted` tells the users and those to begin with; `reachable` whether there is a way to the relay."""
        self._relay = relay
        self._wanted = wanted
        self._reachable = reachable
        self._backoff = backoff or Backoff(high=5.0)
        self._nudge = asyncio.Event()
        self.error: str | None = None
        self.kept: int | None = None
        """How many users the relay's Xray knew after the last reconciliation."""

    def nudge(self) -> None:
        """Look now: the users or the way to the relay changed."""
        self._nudge.set()

    async def run(self) -> None:
        """Keep the users until cancelled."""
        while True:
            self._nudge.clear()
            wait: float | None = LOOK_EVERY
            if self._reachable():
                wait = await self._reconcile()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._nudge.wait()

    async def _reconcile(self) -> float | None:
        """Reconcile once; return after how many seconds to look again, None for not before a nudge."""
        desired, first = self._wanted()
        began = time.monotonic()
        try:
            changes = await self._relay.reconcile(desired, first)
        except FatalError as error:
            self._fail(f"{error}; not tried again before the users or the links change")
            return None
        except TwError as error:
            self._fail(str(error))
            return self._backoff.next(0.0)
        self._backoff.next(self._backoff.stable)
        self.error = None
        self.kept = len(desired)
        if changes.added or changes.removed:
            took = time.monotonic() - began
            _logger.info(
                "the relay's Xray: %s added, %d removed in %.2f s",
                count(len(changes.added), "user"),
                len(changes.removed),
                took,
            )
        return LOOK_EVERY

    def _fail(self, why: str) -> None:
        if why != self.error:
            _logger.warning("the relay's Xray could not be given our users: %s", why)
        self.error = why

    def status(self) -> dict[str, Any]:
        """Tell how far the relay knows our users."""
        return {"users": self.kept, "error": self.error}
