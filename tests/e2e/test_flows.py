"""What flows through a bridge arrives whole, in order, in time, and with both of its ends."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.e2e import far_end
from tests.e2e.bridges import QUERY, answers, near
from tests.lab.api import Lab

pytestmark = pytest.mark.usefixtures("far_end_applications")


def test_of_1000_connections_to_a_server_that_speaks_first_none_loses_its_greeting(lab: Lab) -> None:
    found = near(lab, "greetings", far_end.GREETING, 1000, 50)
    print(f"1000 greetings in {found['seconds']} s")
    assert found["missing"] == []


@pytest.mark.parametrize("size", [0, 1, 65_537, 3_000_000])
def test_a_side_that_has_shut_down_writing_reads_the_full_answer(lab: Lab, size: int) -> None:
    assert near(lab, "half_close", far_end.WHOLE, size) == {"whole": True, "size": size + 32}


@pytest.mark.timeout(300)
def test_256_mib_come_down_byte_for_byte(lab: Lab) -> None:
    found = near(lab, "download", far_end.BULK, 256, timeout=240)
    print(f"256 MiB down: {found['rate']} MiB/s")
    assert (found["wrong"], found["rest"]) == ([], 0)


@pytest.mark.timeout(300)
def test_256_mib_go_up_byte_for_byte(lab: Lab) -> None:
    found = near(lab, "upload", far_end.BULK, 256, timeout=240)
    print(f"256 MiB up: {found['rate']} MiB/s")
    assert found["same"]


def test_200_connections_at_once_all_work(lab: Lab) -> None:
    assert near(lab, "at_once", far_end.ECHO, 200) == {"good": 400, "of": 400}


@pytest.mark.timeout(400)
def test_a_session_that_was_idle_for_3_minutes_still_answers(lab: Lab) -> None:
    """One and the same session of the database, before and after; nothing else moves meanwhile."""
    words = [*QUERY[:-3], "demo"]
    with lab.popen("client", words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as session:
        session.stdin.write("select 'before';\n")
        session.stdin.flush()
        assert session.stdout.readline().strip() == "before"
        time.sleep(180)
        session.stdin.write("select 'after';\n")
        session.stdin.flush()
        began = time.monotonic()
        assert session.stdout.readline().strip() == "after"
        assert time.monotonic() - began < 2
        session.stdin.close()
        assert session.wait(10) == 0
    assert answers(lab)
