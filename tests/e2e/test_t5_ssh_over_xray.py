"""T5: SSH over the carriers: reverse forwards in the cell, local forwards at the client, ciphertext between."""

from __future__ import annotations

import base64
import re

import pytest

from tests.e2e import far_end
from tests.e2e.bridges import answers, near, seconds_until_answer
from tests.lab.api import Lab

pytestmark = pytest.mark.usefixtures("far_end_applications")

LISTEN = """
import base64, socket, sys, time
taps = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
taps.bind(("lo", 0))
taps.settimeout(0.2)
print("listening", flush=True)
end, seen = time.monotonic() + float(sys.argv[1]), b""
while time.monotonic() < end:
    try:
        seen += taps.recv(65536)
    except TimeoutError:
        pass
print(base64.b64encode(seen).decode(), flush=True)
"""


def in_cell(lab: Lab, tenant: str, argv: list[str]) -> list[str]:
    """Return the command that runs inside the network of a tenant's cell, on the relay."""
    pid = lab.run("relay", ["systemctl", "show", "-P", "MainPID", f"tw-xray@{tenant}.service"]).stdout.strip()
    return ["nsenter", "--net", "--target", pid, *argv]


def test_t5_the_servers_links_hold_reverse_forwards_in_the_cell(lab: Lab) -> None:
    told = lab.run("relay", in_cell(lab, "acme", ["ss", "-Htln"])).stdout
    ports = sorted(line.split()[3] for line in told.splitlines())
    assert [port for port in ports if re.fullmatch(r"127\.0\.0\.1:222[2-9]", port)] == [
        "127.0.0.1:2222",
        "127.0.0.1:2223",
    ]


def test_t5_the_relay_sees_ssh_and_no_word_of_what_it_carries(lab: Lab) -> None:
    """The capture is made in the middle of the cell, where the carrier's own encryption has already been taken off."""
    tap = lab.popen("relay", in_cell(lab, "acme", ["python3", "-c", LISTEN, "8"]), text=True)
    assert tap.stdout is not None
    assert tap.stdout.readline().strip() == "listening"
    lab.run("client", ["systemctl", "restart", "tw-connect@acme"])
    seconds_until_answer(lab, 30)
    assert near(lab, "greetings", far_end.GREETING, 5, 5)["missing"] == []
    seen = base64.b64decode(tap.communicate(timeout=30)[0])
    assert b"SSH-2.0-" in seen
    assert len(seen) > 10_000
    assert b"GREETING-IN-THE-CLEAR" not in seen


def test_t5_a_client_turns_away_a_server_with_another_host_key(lab: Lab) -> None:
    config = "/etc/tw/connect/acme/connect.yml"
    kept = lab.run("client", ["cat", config]).stdout
    stranger = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKWX6SXYWlj8NXWwzVMUuuKxYi6GOVwEy1NBAbCdEfGh"
    lab.run("client", ["tee", config], input=re.sub(r"ssh-ed25519 \S+", stranger, kept))
    try:
        lab.run("client", ["systemctl", "restart", "tw-connect@acme"])
        assert not answers(lab, 8)
        told = lab.run("client", ["tw", "test", "acme"], check=False)
        assert "its host key is not the pinned one" in told.stdout
        assert told.returncode == 1
    finally:
        lab.run("client", ["tee", config], input=kept)
        lab.run("client", ["systemctl", "restart", "tw-connect@acme"])
    seconds_until_answer(lab, 30)


def test_t5_a_client_cannot_open_a_port_that_is_not_permitted(lab: Lab) -> None:
    """The client's own configuration is not what holds it back: it asks for more, and the server refuses."""
    config = "/etc/tw/connect/acme/connect.yml"
    kept = lab.run("client", ["cat", config]).stdout
    more = kept.replace("bridges:\n", "bridges:\n- {name: forbidden, host: 127.0.0.1, port: 22, local_port: 10022}\n")
    assert more != kept
    lab.run("client", ["tee", config], input=more)
    try:
        lab.run("client", ["systemctl", "reload", "tw-connect@acme"])
        (heard,) = near(lab, "greetings", 10022, 1, 1)["missing"]
        assert "SSH-" not in heard, "sshd at the server greeted, though its port is not permitted"
        assert heard == "" or "ConnectionResetError" in heard
        assert answers(lab)
    finally:
        lab.run("client", ["tee", config], input=kept)
        lab.run("client", ["systemctl", "reload", "tw-connect@acme"])
    assert near(lab, "refused", 10022)["refused"]
