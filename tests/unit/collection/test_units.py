"""What a unit needs so that it runs with what its files say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.units import (
    Verdict,
    Wish,
    decide,
    moment,
    parse_show,
)
from ansible_collections.tunnel_whisperer.tw.plugins.modules import units

Run = Callable[..., dict[str, Any]]
MIDNIGHT = datetime(2027, 1, 31, tzinfo=UTC).timestamp()
"""Of the day on which the units below were started; a file's time is given in seconds of that day."""

RUNNING = {
    "Id": "web.service",
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "FragmentPath": "/etc/systemd/system/web.service",
    "DropInPaths": "",
    "ExecMainStartTimestamp": "Sun 2027-01-31 00:00:50.000000 UTC",
    "ActiveEnterTimestamp": "Sun 2027-01-31 00:00:52.000000 UTC",
    "ActiveEnterTimestampMonotonic": "52000000",
    "StateChangeTimestamp": "Sun 2027-01-31 00:01:20.000000 UTC",
    "ReloadResult": "success",
}
GONE = {"Id": "web.service", "LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}


def wish(present: bool = True, enabled: bool = True) -> Wish:
    return Wish("web.service", present, enabled, ("/bin/web",), ("/etc/web.conf",))


def verdict(state: dict[str, str], what: Wish | None = None, **times: float) -> Verdict:
    paths = {"unit": "/etc/systemd/system/web.service", "binary": "/bin/web", "config": "/etc/web.conf"}
    return decide(what or wish(), state, {paths[name]: MIDNIGHT + at for name, at in times.items()})


def test_what_is_as_it_should_be_is_left_alone() -> None:
    found = verdict(RUNNING, unit=0, binary=49, config=79)
    assert not found.changed


@pytest.mark.parametrize(
    ("younger", "action"),
    [({"unit": 51}, "restart"), ({"binary": 51}, "restart"), ({"config": 81}, "reload")],
)
def test_a_file_younger_than_what_was_read_of_it_is_read_again(younger: dict[str, float], action: str) -> None:
    """However that came to be: a run that failed after writing it owes this, and the next one makes up for it."""
    assert verdict(RUNNING, **younger).action == action


def test_a_reload_counts_as_having_read() -> None:
    assert verdict(RUNNING, config=60).action == ""


def test_what_changed_while_a_process_was_starting_may_not_have_been_read() -> None:
    fresh = {**RUNNING, "StateChangeTimestamp": RUNNING["ActiveEnterTimestamp"]}
    assert verdict(fresh, binary=51).action == "restart"
    assert verdict(fresh, config=51).action == "reload"
    assert verdict(fresh, binary=49, config=49).action == ""


def test_a_unit_without_a_process_counts_from_when_it_was_active() -> None:
    socket = {name: value for name, value in RUNNING.items() if name != "ExecMainStartTimestamp"}
    assert verdict(socket, unit=51).action == ""
    assert verdict(socket, unit=53).action == "restart"
    assert verdict({**socket, "ExecMainStartTimestamp": ""}, unit=51).action == ""


def test_a_restart_makes_a_reload_needless() -> None:
    assert verdict(RUNNING, binary=90, config=90).action == "restart"


def test_a_reload_that_failed_is_tried_again() -> None:
    assert verdict({**RUNNING, "ReloadResult": "exit-code"}).action == "reload"


@pytest.mark.parametrize("state", ["inactive", "failed", "activating"])
def test_what_does_not_run_is_started(state: str) -> None:
    assert verdict({**RUNNING, "ActiveState": state}).action == "start"


def test_before_its_file_is_there_a_unit_is_said_to_be_started() -> None:
    assert verdict(GONE) == Verdict("start", "enable", "it is inactive")
    assert verdict({}).action == "start"


@pytest.mark.parametrize(
    ("pending", "action"),
    [
        ([], ""),
        (["/etc/web.conf"], "reload"),
        (["/bin/web"], "restart"),
        (["/etc/web.conf", "/bin/web"], "restart"),
        (["/etc/systemd/system/web.service"], "restart"),
        (["/etc/other.conf"], ""),
    ],
)
def test_check_mode_says_what_a_real_run_would_do(running: None, run: Run, pending: list[str], action: str) -> None:
    """It is told which files would change, as nothing changed on disk."""
    unit = {"name": "web.service", "restart_on": ["/bin/web"], "reload_on": ["/etc/web.conf"]}
    said = run("units", {"units": [unit], "pending": pending}, check=True)
    assert said["units"]["web.service"]["action"] == action
    assert said["changed"] == bool(action)


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


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("Sun 2027-01-31 00:00:50.250000 UTC", 50.25),
        ("Sun 2027-01-31 00:00:50 UTC", 50.999999),
        ("", -MIDNIGHT),
        ("n/a", -MIDNIGHT),
    ],
)
def test_times_are_read_as_every_systemd_tells_them(told: str, seconds: float) -> None:
    assert moment(told) == pytest.approx(MIDNIGHT + seconds, abs=1e-6)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let web.service run, with files that were all there before."""
    monkeypatch.setattr(units.Systemd, "show", lambda self, names: {"web.service": RUNNING})
    monkeypatch.setattr(units, "change_times", lambda paths: dict.fromkeys(paths, MIDNIGHT))


@dataclass
class Host:
    """A module on a host with one unit, as far as `units` asks of both."""

    state: dict[str, str]
    asked: list[str] = field(default_factory=list)

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        self.asked.append(" ".join(words))
        return 0, "\n".join(f"{name}={value}" for name, value in self.state.items()), ""

    def systemd(self) -> Any:
        return units.Systemd(self)


def test_systemd_is_asked_for_the_walls_clock_to_the_microsecond() -> None:
    """The monotonic clock stands still while a host is suspended, and a file written since would seem older."""
    host = Host(RUNNING)
    assert host.systemd().show(["web.service"]) == {"web.service": RUNNING}
    (asked,) = host.asked
    assert asked.startswith("systemctl show --timestamp=us+utc -p ")
    assert {"ExecMainStartTimestamp", "ActiveEnterTimestamp", "StateChangeTimestamp"} <= set(
        asked.split()[4].split(",")
    )


def test_a_unit_that_failed_is_forgiven_once_it_is_stopped() -> None:
    """Or it would be listed as failed for ever, and every run would stop it again."""
    host, gone = Host({**RUNNING, "ActiveState": "failed"}), wish(present=False)
    units.apply(host.systemd(), {gone.name: (gone, verdict(host.state, gone))})
    assert host.asked.index("systemctl stop web.service") < host.asked.index("systemctl reset-failed web.service")
