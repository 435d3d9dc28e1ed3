"""Keeps the server's users in the relay's Xray, which forgets them whenever it restarts."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from tunnel_whisperer.backoff import Backoff
from tunnel_whisperer.errors import FatalError, TwError
from tunnel_whisperer.names import RESERVED_USERS
from tunnel_whisperer.words import count

LOOK_EVERY = 30.0
"""Seconds between looks that nothing asked for. A restart of Xray ends our links, so it is seen without them."""

Change = tuple[str, str | None]
"""A name with the UUID it is to be put in with; without one it is to be taken out."""

_logger = logging.getLogger("tunnel_whisperer.users")


class RelayUsers(Protocol):
    """The users of the relay's Xray. Every method raises TwError."""

    async def list(self) -> Mapping[str, str]:
        """Return all users, the server too: name -> UUID."""
        ...

    async def count(self) -> int:
        """Return how many there are."""
        ...

    async def change(self, changes: Iterable[Change], done: Callable[[Change], None]) -> None:
        """Make changes, several at once, and tell `done` of each."""
        ...


def differences(
    known: Mapping[str, str], wanted: Mapping[str, str], new: Collection[str] = (), first: Collection[str] = ()
) -> tuple[list[Change], list[Change]]:
    """Return who has to be taken out, and then who has to be put in; whose UUID changed is in both.

    Those who are `new` are the first to come in, and then those in `first`.
    """
    gone: list[Change] = [(name, None) for name, uuid in known.items() if wanted.get(name) != uuid]
    missing = [name for name, uuid in wanted.items() if known.get(name) != uuid and name not in RESERVED_USERS]
    missing.sort(key=lambda name: (name not in new, name not in first))
    return gone, [(name, wanted[name]) for name in missing]


class Keeper:
    """Puts the users right when told that something changed, and looks now and then by itself.

    What it knows of Xray's users it has seen once and kept up to date since, so that a change needs no look at all of
    them: a few thousand take their time over a slow line. Whenever their number is not the one it ought to be, or a
    change may have got lost, it looks at all. After a refusal it waits until it is told that something changed.
    """

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
        self._known: dict[str, str] | None = None
        self._before: Mapping[str, str] | None = None
        self._new: set[str] = set()
        self._others = 0
        """How many users Xray has that are not ours to keep: the server itself."""
        self._made: list[Change] = []
        self.error: str | None = None
        self.kept: int | None = None
        """How many users the relay's Xray knew when all was right last."""

    def nudge(self) -> None:
        """Look now: the users or the way to the relay changed."""
        self._nudge.set()

    async def run(self) -> None:
        """Keep the users until cancelled."""
        while True:
            self._nudge.clear()
            wait: float | None = LOOK_EVERY
            if self._reachable():
                wait = await self._settle()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._nudge.wait()

    def status(self) -> dict[str, Any]:
        """Tell how far the relay knows our users."""
        return {"users": self.kept, "error": self.error}

    async def _settle(self) -> float | None:
        """Put the users right; return after how many seconds to look again, None for not before a nudge."""
        began = time.monotonic()
        self._made.clear()
        try:
            if self._known is not None:
                await self._put_right(self._known)
            if self._known is None or await self._relay.count() != len(self._known) + self._others:
                self._known = await self._look()
                await self._put_right(self._known)
        except FatalError as error:
            self._fail(f"{error}; not tried again before the users or the links change")
            return None
        except TwError as error:
            self._fail(str(error))
            return self._backoff.next(0.0)
        finally:
            self._tell(time.monotonic() - began)
        self._backoff.next(self._backoff.stable)
        self.error = None
        self.kept = len(self._known)
        return LOOK_EVERY

    def _fail(self, why: str) -> None:
        self._known = None  # what was on its way may have arrived or not
        if why != self.error:
            _logger.warning("the relay's Xray could not be given our users: %s", why)
        self.error = why

    async def _look(self) -> dict[str, str]:
        found = await self._relay.list()
        known = {name: uuid for name, uuid in found.items() if name not in RESERVED_USERS}
        self._others = len(found) - len(known)
        return known

    async def _put_right(self, known: dict[str, str]) -> None:
        """Make `known` what is wanted, as that is at each moment: a change overtakes what is still waiting."""

        def done(change: Change) -> None:
            name, uuid = change
            self._made.append(change)
            if uuid is None:
                known.pop(name, None)
            else:
                known[name] = uuid
                self._new.discard(name)

        while True:
            self._nudge.clear()
            wanted, first = self._wanted()
            if self._before is not None:
                self._new.update(name for name, uuid in wanted.items() if self._before.get(name) != uuid)
            self._before = wanted
            self._new.intersection_update(wanted)
            gone, missing = differences(known, wanted, self._new, first)
            if not gone and not missing:
                return
            await self._relay.change(self._until_nudged(gone or missing), done)

    def _until_nudged(self, changes: Iterable[Change]) -> Iterator[Change]:
        for change in changes:
            if self._nudge.is_set():
                return
            yield change

    def _tell(self, took: float) -> None:
        added = sum(uuid is not None for _, uuid in self._made)
        if self._made:
            removed = len(self._made) - added
            _logger.info("the relay's Xray: %s added, %d removed in %.2f s", count(added, "user"), removed, took)
