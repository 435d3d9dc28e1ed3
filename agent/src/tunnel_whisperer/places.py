"""Where the contexts of a client lie, with their state and their sockets: the system's places, and those of a person.

A person who is not root has contexts of their own beside the system's; a name means an own one first.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunnel_whisperer import names
from tunnel_whisperer.errors import ConfigError

CONNECT = "tw-connect-"
CONFIG_FILE = "connect.yml"
_OURS = "tunnel-whisperer"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one party, the system or a person, keeps its contexts."""

    kind: Literal["system", "own"]
    contexts: Path
    """Has a folder for each context."""
    state: Path
    """Has a folder for what the service of each context changes."""
    run: Path
    """Has a folder for the sockets of each context that runs."""

    @property
    def current_file(self) -> Path:
        """Names the context to take where none is named."""
        return self.contexts.parent / "current-context"

    @property
    def closed(self) -> bool:
        """Whether this user may not look into it."""
        return any(
            os.path.lexists(folder) and not os.access(folder, os.R_OK | os.X_OK)
            for folder in (self.contexts.parent, self.contexts)
        )

    def runtime_dir(self, name: str) -> Path:
        """Return where the daemon of a context lives."""
        return self.run / f"{CONNECT}{name}"


@dataclass(frozen=True, slots=True)
class Context:
    """A context by name, and where it is."""

    name: str
    place: Place

    @property
    def directory(self) -> Path:
        """The folder with its configuration and its identity."""
        return self.place.contexts / self.name

    @property
    def file(self) -> Path:
        """Its `connect.yml`."""
        return self.directory / CONFIG_FILE

    @property
    def state_dir(self) -> Path:
        """The folder with what its service changes."""
        return self.place.state / self.name

    @property
    def runtime_dir(self) -> Path:
        """The folder with the sockets of its daemon."""
        return self.place.runtime_dir(self.name)


SYSTEM = Place("system", Path("/etc/tw/connect"), Path("/var/lib/tw/connect"), Path("/run"))


def is_root() -> bool:
    """Say whether this process may change the system's places."""
    return os.geteuid() == 0


def places() -> tuple[Place, ...]:
    """Return the places this user has contexts in; new ones go to the first."""
    mine = None if is_root() else own()
    return (SYSTEM,) if mine is None else (mine, SYSTEM)


def own() -> Place | None:
    """Return the places of a person, after the XDG base directories; None for a user without a home."""
    home = os.path.expanduser("~")  # Path.home() fails where there is none
    if not os.path.isabs(home) or home == "/":
        return None
    state = _base("XDG_STATE_HOME", Path(home, ".local/state")) / _OURS
    return Place(
        "own",
        contexts=_base("XDG_CONFIG_HOME", Path(home, ".config")) / _OURS / "contexts",
        state=state / "connect",
        run=_runtime_base() or state / "run",
    )


def runtime_dir(file: Path, context: str) -> Path:
    """Return where the daemon lives whose `connect.yml` is `file`, unless that says otherwise."""
    return _place_of(file).runtime_dir(context)


def state_dir(file: Path, context: str) -> Path:
    """Return where the daemon keeps what it changes whose `connect.yml` is `file`, unless that says otherwise."""
    return _place_of(file).state / context


def _place_of(file: Path) -> Place:
    here = places()
    return next((place for place in here if file.absolute().parent.parent == place.contexts), here[0])


def known(where: Iterable[Place] | None = None) -> list[Context]:
    """Return all contexts that one can connect with, as far as this user may see."""
    found = []
    for place in places() if where is None else where:
        with contextlib.suppress(PermissionError):
            files = sorted(place.contexts.glob(f"*/{CONFIG_FILE}"))  # a dot begins what a change puts beside a context
            found += [Context(file.parent.name, place) for file in files if not file.parent.name.startswith(".")]
    return found


def current(where: Sequence[Place] | None = None) -> str | None:
    """Return the name of the context to take where none is named; raises ConfigError where the note is damaged."""
    for place in places() if where is None else where:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            name = place.current_file.read_text("utf-8", "replace").strip()
            if names.label_fault(name):
                hint = "note another: tw context use NAME"
                raise ConfigError("names no context", where=str(place.current_file), hint=hint)
            return name
    return None


def find(name: str | None = None, where: Sequence[Place] | None = None) -> Context:
    """Find a context by name; without one the current context, else the only one. Raises ConfigError."""
    here = places() if where is None else where
    contexts = known(here)
    taken = current(here) if name is None else name
    if taken is None:
        if len({context.name for context in contexts}) != 1:
            raise ConfigError(
                "no context named, and not exactly one to take",
                where=str(here[0].contexts),
                hint=_listed(contexts, here),
            )
        return contexts[0]
    for context in contexts:
        if context.name == taken:
            return context
    words = f"no context {taken!r}" if name is not None else f"the current context {taken!r} is not there any more"
    raise ConfigError(words, where=str(here[0].contexts), hint=_listed(contexts, here))


def _listed(contexts: Sequence[Context], here: Sequence[Place]) -> str:
    listed = ", ".join(dict.fromkeys(context.name for context in contexts))
    text = f"contexts here: {listed}" if listed else "no context has been set up here"
    return "; ".join([text, *_unseen(here)])


def _unseen(here: Sequence[Place]) -> Iterator[str]:
    for place in here:
        if place.closed:
            yield f"only root and the group tw may look into {place.contexts}"


def _base(variable: str, default: Path) -> Path:
    """Return a base directory; a relative one is to be ignored, says the specification."""
    given = os.environ.get(variable, "")
    return Path(given) if os.path.isabs(given) else default


def _runtime_base() -> Path | None:
    """Return the directory for our sockets that ends with our session; one of somebody else (after su) is not ours."""
    for path in (_base("XDG_RUNTIME_DIR", Path("/nonexistent")), Path(f"/run/user/{os.geteuid()}")):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == os.geteuid():
                return path
    return None
