"""The users in force, kept the same as their file: looked at several times a second, read when it changed."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from tunnel_whisperer.errors import TwError
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users.store import load_users

INTERVAL = 0.5

_logger = logging.getLogger("tunnel_whisperer.users")


class UsersFile:
    """Follows a users file. One that is broken changes nothing: who was in force stays so."""

    def __init__(self, path: Path) -> None:
        """Read it; raises ConfigError."""
        self.path = path
        self.error: str | None = None
        self._stamp = self._look()
        self.users = load_users(path)

    def refresh(self) -> bool:
        """Read the file, and say whether the users changed; raises TwError when it is broken."""
        self._stamp = self._look()
        try:
            users = load_users(self.path)
        except TwError as error:
            self.error = str(error)
            raise
        self.error = None
        if dict(users) == dict(self.users):
            return False
        self.users = users
        return True

    async def run(self, on_change: Callable[[UserSet], None]) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            if self._look() == self._stamp:
                continue
            try:
                if self.refresh():
                    on_change(self.users)
            except TwError as error:
                _logger.error("the users stay as they are: %s", error)

    def _look(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.path)
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size
