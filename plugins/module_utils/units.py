# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deciding what a systemd unit needs to run with what its files say now: nothing here touches systemd."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "FragmentPath",
    "DropInPaths",
    "ExecMainStartTimestamp",
    "ActiveEnterTimestamp",
    "ActiveEnterTimestampMonotonic",
    "StateChangeTimestamp",
    "Result",
    "ReloadResult",
)
"""What is asked of systemd about a unit."""


def parse_show(text: str) -> dict[str, dict[str, str]]:
    """Read what `systemctl show` says of several units: blocks of KEY=VALUE with an empty line between them."""
    units: dict[str, dict[str, str]] = {}
    for block in text.split("\n\n"):
        pairs = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in pairs:
            units[pairs["Id"]] = pairs
    return units


def moment(text: str) -> float:
    """Read a time of day as `systemctl show` tells it in UTC, into seconds since the epoch; 0 for none.

    These are the wall's clock, as the times of files are: the monotonic clock stands still while a host is suspended.
    systemd before 251 tells whole seconds only; then the second counts as over.
    """
    words = text.split()
    if len(words) < 3:
        return 0.0
    clock, _dot, fraction = words[2].partition(".")
    return calendar.timegm(time.strptime(f"{words[1]} {clock}", "%Y-%m-%d %H:%M:%S")) + float(f"0.{fraction or 999999}")


@dataclass(frozen=True)
class Wish:
    """What is wanted of one unit."""

    name: str
    present: bool
    enabled: bool
    restart_on: tuple[str, ...]
    reload_on: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What has to be done: `action` is start, restart, reload, stop or ''; `enablement` is enable, disable or ''."""

    action: str = ""
    enablement: str = ""
    reason: str = ""

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.action or self.enablement)


STILL_TO_COME = float("inf")
"""The time of a file that check mode only says will change: younger than whatever runs."""


def newest(paths: Iterable[str], times: Mapping[str, float]) -> tuple[float, str]:
    """Return the youngest of these files that exist, as (time, path)."""
    return max(((times[path], path) for path in paths if path in times), default=(0.0, ""))


def own_files(state: Mapping[str, str]) -> list[str]:
    """List the files that make the unit itself."""
    return [path for path in [state.get("FragmentPath", ""), *state.get("DropInPaths", "").split()] if path]


def decide(wish: Wish, state: Mapping[str, str], times: Mapping[str, float]) -> Verdict:
    """Compare the unit with the wish.

    `times` holds the time of the last change of each file. That a file is younger than the process that read it is all
    the memory needed: a restart that an earlier run owed and did not come to is made up for.
    """
    active = state.get("ActiveState") in ("active", "reloading")
    listed = state.get("UnitFileState", "")
    if not wish.present:
        known = state.get("LoadState") not in ("not-found", None)
        stop = "stop" if state.get("ActiveState") not in ("inactive", None) else ""
        return Verdict(stop, "disable" if known and listed == "enabled" else "")
    enablement = "enable" if wish.enabled and listed != "enabled" else ""
    if not active:
        return Verdict("start", enablement, f"it is {state.get('ActiveState') or 'not there'}")

    entered = moment(state.get("ActiveEnterTimestamp", ""))
    # What the process reads it reads after its own start and before it says that it is ready.
    started = moment(state.get("ExecMainStartTimestamp", "")) or entered
    when, path = newest([*wish.restart_on, *own_files(state)], times)
    if when > started:
        return Verdict("restart", enablement, f"{path or 'its file'} is younger than the process")
    changed = moment(state.get("StateChangeTimestamp", ""))
    read = changed if changed > entered else started
    when, path = newest(wish.reload_on, times)
    if when > read or state.get("ReloadResult", "success") != "success":
        return Verdict("reload", enablement, f"{path or 'its file'} is younger than what it last read")
    return Verdict("", enablement)
