"""The daemons of this host: where they live while they run, and which of them ought to."""

import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunnel_whisperer import places
from tunnel_whisperer.config import DEFAULT_SERVE
from tunnel_whisperer.control import SOCKET, ask
from tunnel_whisperer.errors import TwError
from tunnel_whisperer.places import CONNECT, Context, Place

SERVE = "serve"


@dataclass(frozen=True, slots=True)
class Found:
    """A daemon that runs or ought to, with its status or why there is none."""

    name: str
    place: str
    """`system`, or `own` for one of the person who asks."""
    status: dict[str, Any] | None
    error: TwError | None


def runtime_dir(name: str, where: Sequence[Place] | None = None) -> Path:
    """Return where a daemon lives: `serve`, or the name of a context; an own one before the system's."""
    here = places.places() if where is None else where
    if name == SERVE:
        return here[-1].run / "tw-serve"
    for place in here:
        if _exists(place.runtime_dir(name)) or _exists(Context(name, place).file):
            return place.runtime_dir(name)
    return here[-1].runtime_dir(name)


def find(serve: Path = DEFAULT_SERVE, where: Sequence[Place] | None = None) -> list[Found]:
    """Ask every daemon that runs here or is set up here, of the system and of this user.

    Raises PermissionError where there is nothing of this user and we may not even see what the system has.
    """
    here = places.places() if where is None else where
    found = []
    if _exists(runtime_dir(SERVE, here) / SOCKET) or _exists(serve):
        found.append(_ask(SERVE, here[-1], runtime_dir(SERVE, here)))
    for place in here:
        names = {context.name for context in places.known([place])} | _living(place)
        found += [_ask(name, place, place.runtime_dir(name)) for name in sorted(names)]
    for place in here:
        if place.closed and not found:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place.contexts.parent))
    return found


def lives(context: Context) -> bool:
    """Say whether a daemon has the control socket of a context, whether or not it answers us."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(5.0)
            sock.connect(str(context.runtime_dir / SOCKET))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError:  # it is there, and busy or not for us
        return True
    return True


def status_of(context: Context) -> dict[str, Any] | None:
    """Return what the daemon of a context says of itself; None where none runs, or where this user may not ask."""
    with contextlib.suppress(TwError):
        return ask(context.runtime_dir / SOCKET, "status", timeout=5.0)
    return None


def _living(place: Place) -> set[str]:
    with contextlib.suppress(PermissionError):  # then those that are set up are all one can know of
        return {path.parent.name.removeprefix(CONNECT) for path in place.run.glob(f"{CONNECT}*/{SOCKET}")}
    return set()


def _ask(name: str, place: Place, directory: Path) -> Found:
    try:
        return Found(name, place.kind, ask(directory / SOCKET, "status", timeout=5.0), None)
    except TwError as error:
        return Found(name, place.kind, None, error)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False
