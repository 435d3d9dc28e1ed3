"""A port that somebody else holds is named, and stops nothing else."""

from __future__ import annotations

import json

import pytest

from tests.e2e import far_end
from tests.e2e.bridges import PORTS, alice, answers, near, users
from tests.lab.api import Lab

pytestmark = [pytest.mark.usefixtures("far_end_applications"), pytest.mark.timeout(300)]

HOLD = "import socket, time; held = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"


def state(lab: Lab, port: int) -> str:
    """Return what the client's daemons say of the bridge at a local port."""
    daemons = json.loads(lab.run("client", ["tw", "status", "--json"], check=False).stdout)["daemons"]
    bridges = [bridge for daemon in daemons for bridge in daemon["bridges"]]
    (found,) = (bridge["state"] for bridge in bridges if bridge["local"] == f"127.0.0.1:{port}")
    return str(found)


def test_a_local_port_in_use_is_named_and_the_other_bridges_work(lab: Lab) -> None:
    taken = 18080
    hold = ["systemd-run", "--quiet", "--collect", "--unit=holder", "python3", "-c", HOLD.format(port=taken)]
    lab.run("client", hold)
    try:
        wanted = alice(lab, ports=sorted(PORTS.values()), local_ports={str(far_end.ECHO): taken})
        run = users(lab, "playbooks/users.yml", {"alice": wanted}, check=False)
        assert run.returncode != 0
        assert f"127.0.0.1:{taken}" in run.stdout + run.stderr
        assert answers(lab)
        assert near(lab, "greetings", far_end.GREETING, 3, 3)["missing"] == []
        lab.run("client", ["systemctl", "stop", "holder"])
        lab.wait_until(lambda: "listening" in state(lab, taken), 30, "the bridge to take the port that became free")
        assert near(lab, "at_once", taken, 2)["good"] == 4
    finally:
        lab.run("client", ["systemctl", "stop", "holder"], check=False)
        users(lab, "playbooks/users.yml", {"alice": alice(lab, ports=sorted(PORTS.values()))})
