"""The playbooks as a whole: nothing to change the second time, and a proof that tells the truth."""

from __future__ import annotations

import time

import pytest

from tests.e2e.bridges import answers, changed
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(400)


def test_a_second_run_changes_nothing_on_any_host(lab: Lab) -> None:
    began = time.monotonic()
    run = lab.playbook("playbooks/site.yml")
    print(f"a run with nothing to change: {time.monotonic() - began:.0f} s")
    counts = changed(run.stdout)
    assert set(counts) == {host.name for host in lab.plan.managed}
    assert set(counts.values()) == {0}


def test_check_mode_sees_nothing_to_change_either(lab: Lab) -> None:
    run = lab.playbook("playbooks/site.yml", "--check", "--diff")
    assert set(changed(run.stdout).values()) == {0}
    assert answers(lab)


def test_a_run_prints_no_secret(lab: Lab) -> None:
    run = lab.playbook("playbooks/site.yml", "--diff", "-v")
    for host, place in (("server", "/etc/tw/serve"), ("client", "/etc/tw/connect/acme")):
        secret = lab.run(host, ["cat", f"{place}/vless_uuid"]).stdout.strip()
        assert secret not in run.stdout
    assert "PRIVATE KEY" not in run.stdout
    assert (lab.place.dir / "pki-passphrase").read_text().strip() not in run.stdout


def test_the_proof_shows_a_table_of_every_bridge_and_of_a_refused_port(lab: Lab) -> None:
    run = lab.playbook("playbooks/verify.yml")
    for user in lab.plan.users:
        assert f"bridge postgres at 127.0.0.1:{user.local_port or 5432}" in run.stdout
    assert "not permitted" in run.stdout
    assert "FAILED" not in run.stdout


def test_the_proof_fails_when_a_bridge_does_not_work(lab: Lab) -> None:
    lab.run("server", ["systemctl", "stop", "postgresql"])
    try:
        run = lab.playbook("playbooks/verify.yml", check=False)
    finally:
        lab.run("server", ["systemctl", "start", "postgresql"])
    assert run.returncode != 0
    assert "Not everything works" in run.stdout + run.stderr
    lab.wait_until(lambda: answers(lab, 3), 30, "the database to answer again")


def test_a_client_left_out_is_said_to_be_not_tried_and_keeps_working(lab: Lab) -> None:
    run = lab.playbook("playbooks/site.yml", "--limit", "!client1")
    line = next(line for line in run.stdout.splitlines() if line.startswith("client1 "))
    assert "not tried" in line
    assert answers(lab)


def test_a_client_out_of_reach_changes_nothing_for_its_users(lab: Lab) -> None:
    lab.cut("client", "mgmt")
    try:
        run = lab.playbook("playbooks/site.yml", check=False)
        assert answers(lab)
    finally:
        lab.mend("client", "mgmt")
    assert run.returncode != 0
    assert "not tried" in next(line for line in run.stdout.splitlines() if line.startswith("client1 "))
    assert changed(run.stdout)["server1"] == 0


def test_a_server_out_of_reach_leaves_its_clients_and_its_cell_as_they_are(lab: Lab) -> None:
    lab.cut("server", "mgmt")
    try:
        run = lab.playbook("playbooks/site.yml", check=False)
        assert answers(lab)
    finally:
        lab.mend("server", "mgmt")
    counts = changed(run.stdout)
    assert (counts["relay1"], counts["client1"]) == (0, 0)
