"""A tenant and a client that are to be absent leave nothing behind, disturb nobody, and can come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.bridges import answers, changed, inventory_vars
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(900)

TRACES = ["/opt/tw", "/etc/tw", "/var/lib/tw", "/usr/local/bin/tw"]


@pytest.fixture
def overlay(tmp_path: Path) -> str:
    """A second inventory that lets the second server and the second client be absent."""
    hosts = {
        "tw_servers": {"hosts": {"server2": {"server_state": "absent"}}},
        "tw_clients": {"hosts": {"client2": {"client_state": "absent"}}},
    }
    path = tmp_path / "absent.yml"
    path.write_text(yaml.safe_dump(hosts))
    return str(path)


def test_absent_then_present_again(lab: Lab, overlay: str) -> None:
    kept = {name: user for name, user in inventory_vars(lab)["tw_users"].items() if name == "alice"}
    only_alice = json.dumps({"tw_users": kept})
    try:
        lab.playbook("playbooks/site.yml", "-i", overlay, "-e", only_alice)
        for host in ("server2", "client2"):
            left = lab.shell(host, f"ls -d {' '.join(TRACES)} 2>/dev/null || true; getent passwd tw || true").stdout
            assert left.split() in ([], ["/opt/tw"])
            assert lab.run(host, ["systemctl", "list-units", "--all", "--plain", "--no-legend", "tw-*"]).stdout == ""
        assert "globex" not in lab.run("relay", ["ls", "/etc/tw-relay/tenants"]).stdout
        assert answers(lab)

        again = lab.playbook("playbooks/site.yml", "-i", overlay, "-e", only_alice)
        assert set(changed(again.stdout).values()) == {0}
    finally:
        back = lab.playbook("playbooks/site.yml", check=False)
    assert back.returncode == 0
    assert answers(lab)
