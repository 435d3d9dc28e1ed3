"""T8: the API of the cell's Xray on port 10085, reached by the server over its link, and by nobody else."""

from __future__ import annotations

import json

from tests.e2e.bridges import answers, seconds_until_answer
from tests.e2e.test_t5_ssh_over_xray import in_cell
from tests.lab.api import Lab

API = ["--server=127.0.0.1:10085", "--timeout=5"]


def admitted(lab: Lab, tenant: str) -> set[str]:
    """Ask the tenant's Xray, inside its cell, which users it admits."""
    words = ["/opt/tw/bin/xray", "api", "inbounduser", *API, "-tag=tenant-in"]
    told = json.loads(lab.run("relay", in_cell(lab, tenant, words)).stdout or "{}")
    return {user["email"] for user in told.get("users", [])}


def test_t8_the_server_keeps_its_users_in_the_relays_xray(lab: Lab) -> None:
    assert admitted(lab, "acme") == {"server", *(user.name for user in lab.plan.users if user.tenant == "acme")}


def test_t8_they_are_put_back_when_xray_has_forgotten_them(lab: Lab) -> None:
    before = admitted(lab, "acme")
    lab.run("relay", ["systemctl", "restart", "tw-xray@acme.service"])
    print(f"back after a restart of the tenant's Xray: {seconds_until_answer(lab, 30):.1f} s")
    lab.wait_until(lambda: admitted(lab, "acme") == before, 15, "the users to be put back")


def test_t8_the_api_is_not_to_be_found_on_the_relay_itself(lab: Lab) -> None:
    told = lab.run("relay", ["ss", "-Htln"]).stdout
    assert ":10085" not in told
    tried = lab.run("relay", ["/opt/tw/bin/xray", "api", "inbounduser", *API, "-tag=tenant-in"], check=False)
    assert tried.returncode != 0
    assert answers(lab)


def test_t8_a_user_in_use_is_seen_online(lab: Lab) -> None:
    assert answers(lab)
    words = ["/opt/tw/bin/xray", "api", "statsonline", *API, "-email=alice"]
    told = json.loads(lab.run("relay", in_cell(lab, "acme", words)).stdout)
    assert told["stat"]["value"] >= 1
