"""Whatever is restarted, killed, frozen or rebooted, a query is answered again with nothing touched by hand."""

from __future__ import annotations

import time

import pytest

from tests.e2e.bridges import answers, seconds_until_answer
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(300)

RELAY_UNITS = ["tw-caddy", "tw-xray@acme", "tw-sshd@acme", "tw-cell@acme"]
DAEMONS = [("server", "tw-serve"), ("client", "tw-connect@acme")]


def processes(lab: Lab, host: str, unit: str, name: str) -> list[str]:
    """Return the processes of a unit: `tw` itself, or its Xray."""
    main = lab.run(host, ["systemctl", "show", "-P", "MainPID", unit]).stdout.strip()
    if name == "tw":
        return [main]
    return lab.run(host, ["pgrep", "-P", main, "xray"]).stdout.split()


@pytest.mark.parametrize("unit", RELAY_UNITS)
def test_a_restart_on_the_relay(lab: Lab, unit: str) -> None:
    assert answers(lab)
    lab.run("relay", ["systemctl", "restart", unit])
    print(f"{unit} restarted: an answer after {seconds_until_answer(lab, 30):.1f} s")


def test_a_reboot_of_the_relay(lab: Lab) -> None:
    assert answers(lab)
    began = time.monotonic()
    lab.reboot("relay", deadline=120)
    seconds_until_answer(lab, 60)
    print(f"relay rebooted: an answer after {time.monotonic() - began:.1f} s, the boot included")


@pytest.mark.parametrize(("host", "unit"), DAEMONS)
def test_a_restart_of_a_daemon(lab: Lab, host: str, unit: str) -> None:
    lab.run(host, ["systemctl", "restart", unit])
    print(f"{unit} restarted: an answer after {seconds_until_answer(lab, 30):.1f} s")


@pytest.mark.parametrize("name", ["tw", "xray"])
@pytest.mark.parametrize(("host", "unit"), DAEMONS)
def test_a_daemon_or_its_xray_is_killed(lab: Lab, host: str, unit: str, name: str) -> None:
    assert answers(lab)
    lab.run(host, ["kill", "-9", *processes(lab, host, unit, name)])
    print(f"kill -9 of {name} of {unit}: an answer after {seconds_until_answer(lab, 30):.1f} s")


@pytest.mark.parametrize("name", ["tw", "xray"])
@pytest.mark.parametrize(("host", "unit"), DAEMONS)
def test_a_daemon_or_its_xray_is_frozen_for_60_seconds(lab: Lab, host: str, unit: str, name: str) -> None:
    """It does not have to come back by itself: what watches it may replace it, and does so sooner."""
    assert answers(lab)
    frozen = processes(lab, host, unit, name)
    began = time.monotonic()
    lab.run(host, ["kill", "-STOP", *frozen])
    try:
        taken = seconds_until_answer(lab, 60)
        print(f"{name} of {unit} frozen: an answer after {taken:.1f} s")
        time.sleep(max(0.0, 60 - (time.monotonic() - began)))
    finally:
        lab.run(host, ["kill", "-CONT", *frozen], check=False)
    assert seconds_until_answer(lab, 30) < 10


@pytest.mark.parametrize(("host", "unit"), DAEMONS)
def test_a_reboot_of_a_host(lab: Lab, host: str, unit: str) -> None:
    began = time.monotonic()
    lab.reboot(host, deadline=120)
    lab.wait_until(lambda: answers(lab, 3), 90, "a query to be answered", interval=0.5)
    print(f"{host} rebooted: an answer after {time.monotonic() - began:.1f} s, the boot included")
    assert lab.run(host, ["systemctl", "is-active", unit]).stdout.strip() == "active"
