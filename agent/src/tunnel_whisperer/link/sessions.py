"""The connections there are to the embedded server: strangers until they have logged in, then their users'."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunnel_whisperer.link.session import Session


class Sessions:
    """Knows them all; each step costs the same however many there are."""

    def __init__(self) -> None:
        """Begin with none."""
        self._strangers: dict[Session, None] = {}
        self._users: dict[str, dict[Session, None]] = {}

    def __iter__(self) -> "Iterator[Session]":
        """Give all, those logged in first; they may leave meanwhile."""
        yield from self.known()
        yield from tuple(self._strangers)

    def known(self) -> "Iterator[Session]":
        """Give those that are logged in; they may leave meanwhile."""
        for user in tuple(self._users):
            yield from self.of(user)

    def of(self, user: str) -> "tuple[Session, ...]":
        """Return a user's connections, in the order in which they were logged in."""
        return tuple(self._users.get(user, ()))

    @property
    def users(self) -> set[str]:
        """Who is logged in."""
        return set(self._users)

    @property
    def strangers(self) -> int:
        """How many are not logged in."""
        return len(self._strangers)

    def oldest_stranger(self) -> "Session":
        """Return the one that has been a stranger for longest, and was not told to go yet."""
        return next(session for session in self._strangers if not session.leaving)

    def arrived(self, session: "Session") -> None:
        """Take one in as a stranger."""
        self._strangers[session] = None

    def logged_in(self, session: "Session") -> None:
        """Know who it is."""
        self._strangers.pop(session, None)
        self._users.setdefault(session.user, {})[session] = None

    def left(self, session: "Session") -> None:
        """Forget one."""
        self._strangers.pop(session, None)
        mine = self._users.get(session.user)
        if mine is not None:
            mine.pop(session, None)
            if not mine:
                del self._users[session.user]
