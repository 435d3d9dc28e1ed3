"""Instances of clients: how a client tells that its links are one session, and whose links may stay where one only may.

Our client says by the version in its SSH greeting which running program it is: random digits made at its start. They
tell who carries the bytes that two connections belong together, and nothing else. A plain SSH client says nothing of
the kind; each of its connections is a session of its own.
"""

import re
import secrets
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tunnel_whisperer import __version__
from tunnel_whisperer.users.grants import SingleSession

_OURS = re.compile(r"SSH-2\.0-tw_[0-9A-Za-z.+]{1,40}_(?P<id>[0-9a-f]{16})(?P<again>_again)?")

Why = Literal["elsewhere", "taken over"]
"""The user is connected from elsewhere and stays there, or has connected from elsewhere since."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A connection of a user: of which instance, and whether it may take the place of another one.

    A client that was just started may: somebody wants to use it there. One that merely comes back may not, or two
    would throw each other out for ever.
    """

    instance: Hashable
    claims: bool


class Instance:
    """This running program, as servers are told of it."""

    def __init__(self, known_as: str | None = None) -> None:
        """Be a new one, or speak for one that is connected already."""
        self.id = known_as or secrets.token_hex(8)
        self.answered = known_as is not None
        """Whether a server has taken it in or turned it away: from then on it takes nobody's place."""

    @property
    def version(self) -> str:
        """What it says in its greeting."""
        return f"tw_{__version__}_{self.id}" + ("_again" if self.answered else "")


def seat(greeting: str) -> Seat:
    """Return the seat of a connection whose client greeted so."""
    ours = _OURS.fullmatch(greeting)
    return Seat(object(), claims=True) if ours is None else Seat(ours["id"], claims=ours["again"] is None)


def surplus(seats: Sequence[Seat], policy: SingleSession) -> Iterator[tuple[int, Why]]:
    """Return which of a user's connections, in the order in which they came, are too many, and why."""
    if policy == "off" or not seats:
        return
    holder, since = seats[0].instance, 0
    for number, one in enumerate(seats):
        if policy == "takeover" and one.claims and one.instance != holder:
            holder, since = one.instance, number
    for number, one in enumerate(seats):
        if one.instance != holder:
            yield number, "taken over" if number < since else "elsewhere"
