"""The daemons of this host: where they live while they run, and which of them ought to."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunnel_whisperer.config import CONTEXTS, DEFAULT_SERVE
from tunnel_whisperer.control import SOCKET, ask
from tunnel_whisperer.errors import TwError

RUN = Path("/run")
SERVE = "serve"
_CONNECT = "tw-connect-"


@dataclass(frozen=True, slots=True)
class Found:
    """A daemon that runs or ought to, with its status or why there is none."""

    name: str
    status: dict[str, Any] | None
    error: TwError | None


def runtime_dir(name: str, run: Path = RUN) -> Path:
    """Return where a daemon lives: `serve`, or the name of a context."""
    return run / ("tw-serve" if name == SERVE else f"{_CONNECT}{name}")


def find(run: Path = RUN, serve: Path = DEFAULT_SERVE, contexts: Path = CONTEXTS) -> list[Found]:
    """Ask every daemon that runs here or is set up here; raises PermissionError where we may not even see which."""
    if contexts.parent.exists() and not os.access(contexts.parent, os.R_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(contexts.parent))
    names = {path.parent.name.removeprefix(_CONNECT) for path in run.glob(f"{_CONNECT}*/{SOCKET}")}
    names |= {path.parent.name for path in _glob(contexts, "*/connect.yml")}
    server = [SERVE] if _exists(runtime_dir(SERVE, run) / SOCKET) or _exists(serve) else []
    return [_ask(name, run) for name in (*server, *sorted(names))]


def _ask(name: str, run: Path) -> Found:
    try:
        return Found(name, ask(runtime_dir(name, run) / SOCKET, "status", timeout=5.0), None)
    except TwError as error:
        return Found(name, None, error)


def _glob(directory: Path, pattern: str) -> list[Path]:
    try:
        return list(directory.glob(pattern))
    except PermissionError:  # then those that run are all one can know of
        return []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False
