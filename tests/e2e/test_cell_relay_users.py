"""Whoever has an account on the relay gets at no tenant and not at Caddy; the cells are what they claim to be."""

from __future__ import annotations

import time

import pytest

from tests.e2e.bridges import seconds_until_answer
from tests.e2e.test_t5_ssh_over_xray import in_cell
from tests.e2e.test_t9_closed import reached_through_tunnel
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(180)

CONNECT = """
import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    print("open")
except OSError as error:
    print(type(error).__name__)
"""
TENANT = "/run/tw-relay/acme/xray.sock"
OPERATOR = "/run/tw-relay/operator/xray.sock"
ADMIN = "/run/tw-caddy/admin.sock"


def opened(lab: Lab, user: str, path: str) -> str:
    """Connect to a unix socket on the relay as a user there."""
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "python3", "-c", CONNECT, path]
    return lab.run("relay", words).stdout.strip()


@pytest.mark.parametrize("path", [TENANT, OPERATOR, ADMIN])
@pytest.mark.parametrize("user", ["games", "tw-acme", "tw-operator"])
def test_cell_a_local_user_opens_no_socket_but_its_own(lab: Lab, user: str, path: str) -> None:
    own = {("tw-acme", TENANT), ("tw-operator", OPERATOR)}
    assert opened(lab, user, path) == ("open" if (user, path) in own else "PermissionError")


def test_cell_caddy_opens_all_of_them(lab: Lab) -> None:
    """Or the refusals above would show nothing. Its groups are those of its unit."""
    pid = lab.run("relay", ["systemctl", "show", "-P", "MainPID", "tw-caddy"]).stdout.strip()
    groups = lab.shell("relay", f"sed -n 's/^Groups:[[:space:]]*//p' /proc/{pid}/status").stdout.split()
    for path in (TENANT, OPERATOR, ADMIN):
        words = ["setpriv", "--reuid=tw-caddy", "--regid=tw-caddy", f"--groups={','.join(groups)}", "python3", "-c"]
        assert lab.run("relay", [*words, CONNECT, path]).stdout.strip() == "open"


@pytest.mark.parametrize("user", ["games", "tw-operator", "tw-caddy"])
def test_cell_a_local_user_reads_nothing_of_a_tenant(lab: Lab, user: str) -> None:
    folder = "/etc/tw-relay/tenants/acme"
    for file in ("xray.json", "ssh_host_ed25519_key", "authorized_keys"):
        words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "cat", f"{folder}/{file}"]
        assert lab.run("relay", words, check=False).returncode != 0


def test_cell_is_one_namespace_with_loopback_only(lab: Lab) -> None:
    spaces = set()
    for unit in ("tw-xray@acme", "tw-sshd@acme"):
        pid = lab.run("relay", ["systemctl", "show", "-P", "MainPID", unit]).stdout.strip()
        spaces.add(lab.run("relay", ["readlink", f"/proc/{pid}/ns/net"]).stdout)
    assert len(spaces) == 1
    assert spaces != {lab.run("relay", ["readlink", "/proc/1/ns/net"]).stdout}
    links = lab.run("relay", in_cell(lab, "acme", ["ip", "-br", "link"])).stdout.splitlines()
    assert [line.split()[0] for line in links] == ["lo"]
    assert lab.run("relay", in_cell(lab, "acme", ["ip", "route", "show", "table", "main"])).stdout == ""


@pytest.mark.parametrize("unit", ["tw-xray@acme", "tw-sshd@acme"])
def test_cell_sees_a_file_system_with_nothing_in_it(lab: Lab, unit: str) -> None:
    pid = lab.run("relay", ["systemctl", "show", "-P", "MainPID", unit]).stdout.strip()
    root = f"/proc/{pid}/root"
    for path in ("bin/sh", "usr/bin", "root/.ssh", "home", "run/dbus", "run/tw-caddy", "var/lib/tw-caddy"):
        assert lab.run("relay", ["test", "-e", f"{root}/{path}"], check=False).returncode != 0, path
    assert lab.run("relay", ["ls", f"{root}/etc/tw-relay"]).stdout.split() == ["tenants"]
    assert lab.run("relay", ["ls", f"{root}/etc/tw-relay/tenants"]).stdout.split() == ["acme"]
    status = lab.run("relay", ["cat", f"/proc/{pid}/status"]).stdout
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status


@pytest.mark.parametrize("unit", ["tw-caddy", "tw-xray@acme", "tw-sshd@acme", "tw-xray-operator"])
def test_cell_what_is_killed_is_back_within_a_second(lab: Lab, unit: str) -> None:
    ask = ["systemctl", "show", "-P", "MainPID", unit]
    before = lab.run("relay", ask).stdout.strip()
    lab.run("relay", ["systemctl", "kill", "-s", "KILL", unit])
    began = time.monotonic()
    lab.wait_until(lambda: lab.run("relay", ask).stdout.strip() not in {before, "0"}, 10, f"{unit} to be back")
    took = time.monotonic() - began
    if unit == "tw-xray-operator":
        lab.wait_until(lambda: reached_through_tunnel(lab), 10, "the operator to be let in")
    print(f"{unit}: back after {took:.1f} s, a query after {seconds_until_answer(lab, 60):.1f} s more")
    assert took < 2


def test_cell_the_other_half_survives_a_restart(lab: Lab) -> None:
    ask = ["systemctl", "show", "-P", "MainPID", "tw-sshd@acme"]
    before = lab.run("relay", ask).stdout
    lab.run("relay", ["systemctl", "restart", "tw-xray@acme"])
    assert lab.run("relay", ask).stdout == before
    seconds_until_answer(lab, 60)
    test_cell_is_one_namespace_with_loopback_only(lab)
