"""Users changed at the server take effect within a second, on live connections; a transfer of another user goes on."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e import far_end
from tests.e2e.bridges import HERE, PORTS, alice, far_end_applications, near, users
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(300)

PERMITTED = sorted(PORTS.values())
NEAR = (HERE / "near_end.py").read_text()
BLOCKS = 400


@pytest.fixture(scope="module", autouse=True)
def two_users(lab: Lab) -> Iterator[None]:
    """The applications at the server, permitted to alice on the first client and to bob on the second."""
    with far_end_applications(lab):
        users(lab, "playbooks/users.yml", {"alice": alice(lab, ports=PERMITTED), "bob": bob(lab)})
        yield
    users(lab, "playbooks/users.yml")


def bob(lab: Lab, **more: Any) -> dict[str, Any]:
    return {"tenant": "acme", "apps": ["postgres"], "host": "client2", "ports": PERMITTED, **more}


@contextmanager
def others_transfer(lab: Lab) -> Iterator[None]:
    """Bob downloads all the time, and every byte of it has to arrive."""
    words = ["python3", "-c", NEAR, "download", str(far_end.BULK), str(BLOCKS)]
    with lab.popen("client2", words, stderr=subprocess.STDOUT, text=True) as running:
        yield
        told, _ = running.communicate(timeout=120)
    found = json.loads(told.splitlines()[-1])
    print(f"bob meanwhile: {found}")
    assert (found["wrong"], found["rest"]) == ([], 0)


@contextmanager
def held(lab: Lab, port: int = far_end.ECHO) -> Iterator[Callable[[], float]]:
    """A flow of alice that is used all the time; the function waits for its end and returns when that was."""
    with lab.popen("client", ["python3", "-c", NEAR, "hold", str(port)], stderr=subprocess.DEVNULL, text=True) as flow:
        assert flow.stdout is not None
        assert json.loads(flow.stdout.readline())["lines"] == 1

        def ended() -> float:
            assert flow.stdout is not None
            last = [json.loads(line) for line in flow.stdout][-1]
            assert "end" in last
            return time.monotonic()

        try:
            yield ended
        finally:
            flow.kill()


def tw(lab: Lab, *words: str) -> float:
    """Run `tw` at the server; return when it was done."""
    lab.run("server", ["tw", *words])
    return time.monotonic()


def may(lab: Lab, port: int) -> bool:
    """Say whether alice can use a port now."""
    done = lab.run("client", ["python3", "-", "at_once", str(port), "1"], input=NEAR, check=False, timeout=30)
    return done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["good"] == 2


def only(ports: list[int]) -> list[str]:
    return [word for port in ports for word in ("--port", str(port))]


def test_a_narrowed_user_loses_exactly_what_it_may_no_longer_reach(lab: Lab) -> None:
    fewer = [port for port in PERMITTED if port != far_end.ECHO]
    with others_transfer(lab), held(lab) as ended:
        done = tw(lab, "user", "edit", "alice", *only(fewer))
        took = ended() - done
        print(f"narrowed: its flow ended {took:.2f} s after the command")
        assert took < 3.0
        assert near(lab, "greetings", far_end.GREETING, 3, 3)["missing"] == []

        done = tw(lab, "user", "edit", "alice", *only(PERMITTED))
        lab.wait_until(lambda: may(lab, far_end.ECHO), 5, "the port to be open again", interval=0.05)
        print(f"widened: open {time.monotonic() - done:.2f} s after the command, a try included")


def test_an_expired_user_is_cut_off_at_its_moment_and_comes_back_with_a_later_one(lab: Lab) -> None:
    with others_transfer(lab), held(lab) as ended:
        end = datetime.now(UTC) + timedelta(seconds=6)
        tw(lab, "user", "edit", "alice", "--expires", end.strftime("%Y-%m-%dT%H:%M:%SZ"))
        ended()
        late = (datetime.now(UTC) - end.replace(microsecond=0)).total_seconds()
        print(f"expired: cut off {late:.2f} s after its moment")
        assert 0 <= late < 3
        tw(lab, "user", "edit", "alice", "--expires", "never")
        lab.wait_until(lambda: may(lab, far_end.ECHO), 20, "alice to be back")


def test_what_changed_while_the_relay_was_away_is_put_right_on_its_return(lab: Lab) -> None:
    lab.run("relay", ["systemctl", "stop", "tw-xray@acme"])
    try:
        tw(lab, "user", "remove", "bob", "--yes")
    finally:
        lab.run("relay", ["systemctl", "start", "tw-xray@acme"])
    lab.wait_until(lambda: may(lab, far_end.ECHO), 30, "alice to be back")
    assert lab.run("client2", ["tw", "test", "acme"], check=False, timeout=90).returncode == 1
    users(lab, "playbooks/users.yml", {"alice": alice(lab, ports=PERMITTED), "bob": bob(lab)})


def test_a_users_certificate_renews_itself_and_no_flow_notices(lab: Lab) -> None:
    status = json.loads(lab.run("client", ["tw", "status", "--json"]).stdout)
    (context,) = (one for one in status["daemons"] if one["name"] == "acme")
    assert context["certificate"]["until"] > datetime.now(UTC).isoformat()
