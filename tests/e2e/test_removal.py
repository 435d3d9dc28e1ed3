"""What is to be absent (a tenant, a client, a relay) leaves nothing behind, disturbs nobody else, and can come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.bridges import answers, changed, inventory_vars
from tests.e2e.test_t9_closed import SOME, open_ports, reached_directly, reached_through_tunnel
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(900)

TRACES = ["/opt/tw", "/etc/tw", "/var/lib/tw", "/usr/local/bin/tw"]
RELAY_TRACES = ["/opt/tw", "/etc/tw-relay", "/var/lib/tw-relay", "/var/lib/tw-caddy", "/run/tw-relay"]


def overlay(folder: Path, **absent: str) -> str:
    """Write a second inventory, in which these hosts have their role's state set to absent."""
    roles = {"relay": "tw_relays", "server": "tw_servers", "client": "tw_clients"}
    hosts = {roles[role]: {"hosts": {host: {f"{role}_state": "absent"}}} for role, host in absent.items()}
    path = folder / "absent.yml"
    path.write_text(yaml.safe_dump(hosts))
    return str(path)


def test_a_tenant_and_a_client_are_removed_and_come_back(lab: Lab, tmp_path: Path) -> None:
    absent = overlay(tmp_path, server="server2", client="client2")
    kept = {name: user for name, user in inventory_vars(lab)["tw_users"].items() if name == "alice"}
    only_alice = json.dumps({"tw_users": kept})
    try:
        lab.playbook("playbooks/site.yml", "-i", absent, "-e", only_alice)
        for host in ("server2", "client2"):
            left = lab.shell(host, f"ls -d {' '.join(TRACES)} 2>/dev/null || true; getent passwd tw || true").stdout
            assert left.split() in ([], ["/opt/tw"])
            assert lab.run(host, ["systemctl", "list-units", "--all", "--plain", "--no-legend", "tw-*"]).stdout == ""
        assert "globex" not in lab.run("relay", ["ls", "/etc/tw-relay/tenants"]).stdout
        assert answers(lab)

        again = lab.playbook("playbooks/site.yml", "-i", absent, "-e", only_alice)
        assert set(changed(again.stdout).values()) == {0}
    finally:
        back = lab.playbook("playbooks/site.yml", check=False)
    assert back.returncode == 0
    assert answers(lab)


@pytest.mark.timeout(1200)
def test_a_relay_is_removed_without_a_lockout_and_comes_back(lab: Lab, tmp_path: Path) -> None:
    """The run comes in through the tunnel that it takes away; what the inventory says of SSH is what it goes on by."""
    removal = ["-i", overlay(tmp_path, relay="relay1"), "--limit", "relay1"]
    assert not reached_directly(lab)
    try:
        lab.playbook("playbooks/site.yml", *removal)
        assert reached_directly(lab)
        assert open_ports(lab, SOME) == [22]
        assert lab.shell("relay", f"ls -d {' '.join(RELAY_TRACES)} 2>/dev/null || true").stdout == ""
        assert lab.run("relay", ["systemctl", "list-units", "--all", "--plain", "--no-legend", "tw-*"]).stdout == ""
        assert "tw_relay" not in lab.run("relay", ["nft", "list", "tables"]).stdout

        again = lab.playbook("playbooks/site.yml", *removal)
        assert changed(again.stdout)["relay1"] == 0
    finally:
        back = lab.playbook("playbooks/site.yml", check=False)
    assert back.returncode == 0, back.stdout
    assert open_ports(lab, SOME) == [80, 443]
    assert not reached_directly(lab)
    assert reached_through_tunnel(lab)
    assert answers(lab)
