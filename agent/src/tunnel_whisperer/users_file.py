"""The users in force: kept the same as their file, which is looked at several times a second, and as time allows."""

import asyncio
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tunnel_whisperer.errors import TwError
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users.store import Snapshot, load_snapshot

INTERVAL = 0.2

Now = Callable[[], datetime]

_logger = logging.getLogger("tunnel_whisperer.users")


def _now() -> datetime:
    return datetime.now(UTC)


class UsersFile:
    """Follows a users file. One that is broken changes nothing: who was in force stays so.

    `known` are the users in the file, `users` those of them who may come in now.
    """

    def __init__(self, path: Path, now: Now = _now) -> None:
        """Read it; raises ConfigError."""
        self.path = path
        self.error: str | None = None
        self._now = now
        self._reading = asyncio.Lock()
        self._stamp = self._look()
        self.snapshot = load_snapshot(path, Snapshot())
        """The file as it was read last."""
        self._since = now()
        self._until: datetime | None = None
        self.users = self._in_force()

    @property
    def known(self) -> UserSet:
        """Every user in the file."""
        return self.snapshot.users

    async def refresh(self) -> bool:
        """Read the file, and say whether the users in force changed; raises TwError when it is broken.

        It is read in a thread, as thousands of users take a moment, and others' bytes are not to wait for that.
        """
        async with self._reading:
            self._stamp = self._look()
            try:
                self.snapshot = await asyncio.to_thread(load_snapshot, self.path, self.snapshot)
            except TwError as error:
                self.error = str(error)
                raise
            self.error = None
            return self._renew()

    async def run(self, on_change: Callable[[UserSet], None]) -> None:
        """Follow the file and the time until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            if self._look() != self._stamp:
                try:
                    changed = await self.refresh()
                except TwError as error:
                    _logger.error("the users stay as they are: %s", error)
                    continue
            elif self._time_counts():
                changed = self._renew()
            else:
                continue
            if changed:
                on_change(self.users)

    def _time_counts(self) -> bool:
        """Say whether a moment has come at which somebody may or may no longer come in, or the clock was put back."""
        now = self._now()
        return now < self._since or (self._until is not None and now >= self._until)

    def _renew(self) -> bool:
        before = self.users
        self.users = self._in_force()
        return dict(before) != dict(self.users)

    def _in_force(self) -> UserSet:
        self._since = self._now()
        self._until = self.known.next_change(self._since)
        return self.known.active(self._since)

    def _look(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.path)
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size
