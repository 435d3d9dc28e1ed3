"""What a unit needs so that it runs with what its files say."""

from __future__ import annotations

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.units import Verdict, Wish, decide, parse_show

BOOT = 1000.0
RUNNING = {
    "Id": "web.service",
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "FragmentPath": "/etc/systemd/system/web.service",
    "DropInPaths": "",
    "ActiveEnterTimestampMonotonic": "50000000",
    "StateChangeTimestampMonotonic": "80000000",
    "ReloadResult": "success",
}
GONE = {"Id": "web.service", "LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}


def wish(present: bool = True, enabled: bool = True, pending: bool = False) -> Wish:
    return Wish("web.service", present, enabled, ("/bin/web",), ("/etc/web.conf",), pending)


def verdict(state: dict[str, str], what: Wish | None = None, **times: float) -> Verdict:
    paths = {"unit": "/etc/systemd/system/web.service", "binary": "/bin/web", "config": "/etc/web.conf"}
    return decide(what or wish(), state, {paths[name]: time for name, time in times.items()}, BOOT)


def test_what_is_as_it_should_be_is_left_alone() -> None:
    found = verdict(RUNNING, unit=BOOT, binary=BOOT + 49, config=BOOT + 79)
    assert not found.changed


@pytest.mark.parametrize(
    ("younger", "action"),
    [({"unit": BOOT + 51}, "restart"), ({"binary": BOOT + 51}, "restart"), ({"config": BOOT + 81}, "reload")],
)
def test_a_file_younger_than_what_was_read_of_it_is_read_again(younger: dict[str, float], action: str) -> None:
    """However that came to be: a run that failed after writing it owes this, and the next one makes up for it."""
    assert verdict(RUNNING, **younger).action == action


def test_a_reload_counts_as_having_read() -> None:
    assert verdict(RUNNING, config=BOOT + 60).action == ""


def test_a_restart_makes_a_reload_needless() -> None:
    assert verdict(RUNNING, binary=BOOT + 90, config=BOOT + 90).action == "restart"


def test_a_reload_that_failed_is_tried_again() -> None:
    assert verdict({**RUNNING, "ReloadResult": "exit-code"}).action == "reload"


@pytest.mark.parametrize("state", ["inactive", "failed", "activating"])
def test_what_does_not_run_is_started(state: str) -> None:
    assert verdict({**RUNNING, "ActiveState": state}).action == "start"


def test_before_its_file_is_there_a_unit_is_said_to_be_started() -> None:
    assert verdict(GONE) == Verdict("start", "enable", "it is inactive")
    assert verdict({}).action == "start"


def test_pending_changes_count_in_check_mode() -> None:
    assert verdict(RUNNING, wish(pending=True)).action == "restart"


def test_enablement_is_its_own_matter() -> None:
    assert verdict({**RUNNING, "UnitFileState": "disabled"}) == Verdict("", "enable")
    assert not verdict({**RUNNING, "UnitFileState": "disabled"}, wish(enabled=False)).changed


def test_absent_stops_and_disables_once() -> None:
    gone = wish(present=False)
    assert verdict(RUNNING, gone) == Verdict("stop", "disable")
    assert not verdict(GONE, gone).changed
    assert not verdict({}, gone).changed
    assert not verdict({**RUNNING, "ActiveState": "inactive", "UnitFileState": "disabled"}, gone).changed


def test_several_units_are_read_from_one_answer() -> None:
    told = "Id=a.service\nActiveState=active\nDropInPaths=/x=y\n\nId=b.service\nActiveState=failed\n"
    assert parse_show(told)["a.service"]["DropInPaths"] == "/x=y"
    assert parse_show(told)["b.service"]["ActiveState"] == "failed"
