"""T9: of the relay, 80 and 443 are reached and nothing else; sshd is behind the tunnel; nobody is locked out."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.bridges import answers, changed, seconds_until_answer
from tests.e2e.outside import relay_name
from tests.lab.api import Lab

SCAN = ["nmap", "-n", "-Pn", "-sS", "--min-rate", "4000", "--max-retries", "1", "-oG", "-"]
SOME = "22,80,443,2019,2222,10085"
BOUND = "127.0.0.1:22"
GUARD = "/usr/local/sbin/tw-relay-guard"


def open_ports(lab: Lab, ports: str) -> list[int]:
    """Scan the relay from the public network."""
    said = lab.ns_run("outside", [*SCAN, "-p", ports, relay_name(lab)], timeout=400).stdout
    return sorted(int(port) for port in re.findall(r"(\d+)/open/tcp", said))


def listening(lab: Lab, protocol: str = "-t") -> list[str]:
    """Ask the relay's kernel for its listeners."""
    told = lab.run("relay", ["ss", "-Hln", protocol]).stdout
    return sorted(line.split()[3] for line in told.splitlines())


def reached_directly(lab: Lab) -> bool:
    """Try to reach the relay's sshd by plain SSH, as before the first run."""
    options = ["-o", "ControlPath=none", "-o", "ConnectTimeout=3", "-o", "BatchMode=yes"]
    words = ["ssh", "-F", str(lab.place.ssh_config), *options, "relay1", "true"]
    return lab.run("ctl", words, check=False).returncode == 0


def reached_through_tunnel(lab: Lab) -> bool:
    """Run a command on the relay over a new SSH connection through the tunnel."""
    control = json.loads(lab.control(["ansible-inventory", "--host", "relay1"]).stdout)["control_dir"]
    dial = f"{control}/relays/{relay_name(lab)}/operators/primary/dial.yml"
    proxy = f"ProxyCommand={control}/bin/tw relay dial --config {dial}"
    words = ["ssh", "-F", str(lab.place.ssh_config), "-o", "ControlPath=none", "-o", proxy, "relay1", "true"]
    return lab.run("ctl", words, check=False).returncode == 0


@pytest.mark.timeout(420)
def test_t9_a_scan_of_all_tcp_ports_finds_80_and_443(lab: Lab) -> None:
    assert open_ports(lab, "-") == [80, 443]


def test_t9_sshd_is_bound_to_loopback_and_says_so(lab: Lab) -> None:
    assert [address for address in listening(lab) if address.endswith(":22")] == [BOUND]
    told = lab.run("relay", ["sshd", "-T"]).stdout
    assert re.findall(r"^listenaddress (.*)$", told, re.MULTILINE) == [BOUND]


def test_t9_nothing_else_listens_where_others_could_come(lab: Lab) -> None:
    public = [address for address in listening(lab) if not address.startswith(("127.", "[::1]"))]
    assert sorted(address.rpartition(":")[2] for address in public) == ["443", "80"]


def test_t9_the_operator_comes_in_through_the_tunnel_alone(lab: Lab) -> None:
    assert not reached_directly(lab)
    assert reached_through_tunnel(lab)


def test_t9_the_firewall_is_a_table_of_its_own_and_drops_by_default(lab: Lab) -> None:
    table = lab.run("relay", ["nft", "list", "table", "inet", "tw_relay"]).stdout
    assert "policy drop" in table
    assert re.findall(r"tcp dport (.*) accept", table) == ["{ 80, 443 }"]


def test_t9_rules_of_others_stay_and_a_flush_by_others_does_not_open_the_relay(lab: Lab) -> None:
    ours = lab.run("relay", ["nft", "list", "table", "inet", "tw_relay"]).stdout
    for verb in ("start", "reload", "restart", "stop"):
        lab.shell("relay", "nft add table inet others; systemctl reload tw-firewall")
        assert "table inet others" in lab.run("relay", ["nft", "list", "tables"]).stdout
        lab.run("relay", ["systemctl", verb, "nftables"])
        assert "table inet others" not in lab.run("relay", ["nft", "list", "tables"]).stdout, verb
        assert lab.run("relay", ["nft", "list", "table", "inet", "tw_relay"]).stdout == ours, verb


def test_t9_the_guard_puts_sshd_and_firewall_back(lab: Lab) -> None:
    """What happens when nobody says in time that the new way works, without the waiting."""
    before = lab.shell("relay", "sshd -T | grep listenaddress; nft list table inet tw_relay").stdout
    lab.run("relay", [GUARD, "arm"])
    try:
        assert lab.run("relay", ["systemctl", "is-enabled", "tw-relay-restore.timer"]).stdout.strip() == "enabled"
        lab.shell(
            "relay",
            "echo 'ListenAddress 127.0.0.1:2022' > /etc/ssh/sshd_config.d/10-tw-relay.conf; systemctl reload ssh;"
            "sed -i 's/80, 443/80/' /etc/tw-relay/firewall.nft; systemctl reload tw-firewall",
        )
        lab.run(
            "relay", [GUARD, "arm"]
        )  # a second run, cut off as well, must not take the half-way state for the old one
        assert not reached_through_tunnel(lab)
        lab.run("relay", ["systemctl", "start", "tw-relay-restore.service"])
    finally:
        lab.run("relay", [GUARD, "restore"], check=False)
    after = lab.shell("relay", "sshd -T | grep listenaddress; nft list table inet tw_relay").stdout
    assert after == before
    assert reached_through_tunnel(lab)
    enabled = lab.run("relay", ["systemctl", "is-enabled", "tw-relay-restore.timer"], check=False).stdout.strip()
    assert enabled == "disabled"


@pytest.mark.timeout(480)
def test_t9_port_22_is_opened_on_demand_and_closed_again_once_the_tunnel_works(lab: Lab) -> None:
    relay = ["--limit", "relay1"]
    lab.playbook("playbooks/site.yml", *relay, "-e", "relay_ssh_public=true")
    try:
        assert open_ports(lab, SOME) == [22, 80, 443]
        assert reached_directly(lab)
        # Without the operator's Xray the run comes in by plain SSH, and the tunnel it is given leads nowhere.
        lab.run("relay", ["systemctl", "stop", "tw-xray-operator"])
        broken = ["-e", json.dumps({"relay_tunnel_ssh_args": "-o ProxyCommand=false"})]
        run = lab.playbook("playbooks/site.yml", *relay, *broken, check=False)
        assert run.returncode != 0
        assert "through the tunnel does not succeed" in run.stdout + run.stderr
        assert reached_directly(lab)
    finally:
        lab.playbook("playbooks/site.yml", *relay)
    assert open_ports(lab, SOME) == [80, 443]
    assert not reached_directly(lab)
    assert reached_through_tunnel(lab)


@pytest.mark.timeout(180)
def test_t9_a_reboot_changes_none_of_it(lab: Lab) -> None:
    lab.reboot("relay")
    print(f"back after a reboot of the relay: {seconds_until_answer(lab, 60):.1f} s")
    assert answers(lab)
    assert [address for address in listening(lab) if address.endswith(":22")] == [BOUND]
    assert open_ports(lab, SOME) == [80, 443]
    assert reached_through_tunnel(lab)


@pytest.mark.timeout(480)
def test_t9_a_run_through_the_tunnel_survives_the_restart_of_its_tunnel(lab: Lab) -> None:
    """As with a new version of Caddy; files younger than the process that read them are what is looked at."""
    ask = ["systemctl", "show", "-P", "MainPID", "tw-caddy", "tw-xray-operator"]
    before = lab.run("relay", ask).stdout.split()
    lab.run("relay", ["touch", "/opt/tw/bin/caddy", "/etc/tw-relay/operator/xray.json"])
    lab.playbook("playbooks/site.yml", "--limit", "relay1")
    assert not set(before) & set(lab.run("relay", ask).stdout.split())
    assert changed(lab.playbook("playbooks/site.yml", "--limit", "relay1").stdout)["relay1"] == 0
