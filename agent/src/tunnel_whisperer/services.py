"""What systemd knows of contexts: the unit that runs one, and whether it is to."""

import os
from pathlib import Path

from tunnel_whisperer.places import Context

_FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
_TEMPLATE = "tw-connect@.service"


def unit_of(context: Context) -> str | None:
    """Return the unit that runs a context of the system; None where there is none."""
    if context.place.kind != "system" or not any((folder / _TEMPLATE).is_file() for folder in _FOLDERS):
        return None
    return _TEMPLATE.replace("@", f"@{context.name}").removesuffix(".service")


def enabled(context: Context) -> bool:
    """Say whether the unit of a context is started with the system."""
    unit = unit_of(context)
    return unit is not None and os.path.lexists(_FOLDERS[0] / "multi-user.target.wants" / f"{unit}.service")


def how_to_run(context: Context) -> str:
    """Return what to type so that a context runs."""
    unit = unit_of(context)
    return f"systemctl enable --now {unit}" if unit else f"tw connect {context.name}"


def how_to_stop(context: Context, pid: int | None = None) -> str:
    """Return what to do so that a context that runs does not."""
    unit = unit_of(context)
    if unit:
        return f"systemctl disable --now {unit}"
    return "end its tw connect" + (f" (pid {pid})" if pid else "")
