"""Users come, change and go while the bridges of others, and their own, are in use."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import far_end
from tests.e2e.bridges import HERE, PORTS, alice, answers, changed, near, users
from tests.lab.api import Lab

pytestmark = [pytest.mark.usefixtures("far_end_applications"), pytest.mark.timeout(240)]

PERMITTED = sorted(PORTS.values())


@contextmanager
def held_connection(lab: Lab) -> Iterator[subprocess.Popen[str]]:
    """A connection through a bridge that is used all the time; the program at the client tells of it line by line."""
    words = ["python3", "-c", (HERE / "near_end.py").read_text(), "hold", str(far_end.ECHO)]
    with lab.popen("client", words, stderr=subprocess.DEVNULL, text=True) as holding:
        assert next_line(holding)["lines"] == 1
        try:
            yield holding
        finally:
            holding.kill()


def next_line(holding: subprocess.Popen[str]) -> dict[str, Any]:
    """Read one line of what the program tells."""
    assert holding.stdout is not None
    found: dict[str, Any] = json.loads(holding.stdout.readline())
    return found


def test_a_user_that_is_removed_is_cut_off_at_once(lab: Lab) -> None:
    try:
        with held_connection(lab) as holding:
            # at the server alone: the client is not told, as when a machine has been stolen
            gone = users(lab, "playbooks/users.yml", {"alice": None}, "--limit", "server1")
            assert "alice: delete" in gone.stdout
            assert holding.stdout is not None
            told = [json.loads(line) for line in holding.stdout]
        print(f"removed while connected: {told[-1]}")
        assert "end" in told[-1]
        assert not answers(lab, 8)
    finally:
        users(lab, "playbooks/users.yml", {"alice": alice(lab, ports=PERMITTED)})
    assert answers(lab)


def test_a_port_taken_from_a_user_is_refused_while_the_others_go_on(lab: Lab) -> None:
    fewer = [port for port in PERMITTED if port != far_end.GREETING]
    try:
        with held_connection(lab) as holding:
            users(lab, "playbooks/users.yml", {"alice": alice(lab, ports=fewer)})
            assert near(lab, "refused", far_end.GREETING)["refused"]
            assert near(lab, "at_once", far_end.ECHO, 5)["good"] == 10
            assert holding.poll() is None
            assert "end" not in next_line(holding)
    finally:
        users(lab, "playbooks/users.yml", {"alice": alice(lab, ports=PERMITTED)})
    assert near(lab, "greetings", far_end.GREETING, 5, 5)["missing"] == []


def test_the_same_users_again_change_nothing(lab: Lab) -> None:
    again = users(lab, "playbooks/users.yml", {"alice": alice(lab, ports=PERMITTED)})
    assert set(changed(again.stdout).values()) == {0}
