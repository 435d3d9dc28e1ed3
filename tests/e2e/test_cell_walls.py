"""A tenant with its own keys and full use of its Xray's API stays in its cell.

It runs no command, makes and opens no unix socket, and reaches no port but its own.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.e2e import intruder
from tests.e2e.bridges import seconds_until_answer
from tests.e2e.intruder import ask, carriers, ssh
from tests.e2e.test_t5_ssh_over_xray import in_cell
from tests.lab.api import Lab

pytestmark = pytest.mark.timeout(300)

TENANT = "acme"
SSHD = ("127.0.0.1", 22)
API = ("127.0.0.1", 10085)
SERVER_OPTION = "--server=127.0.0.1:10085"
FREE = {
    "protocol": "freedom",
    "settings": {"domainStrategy": "UseIP", "finalRules": [{"action": "allow", "ip": ["0.0.0.0/0", "::/0"]}]},
}


@pytest.fixture
def door(lab: Lab) -> Iterator[int]:
    """A local port on the server that leads to the cell's sshd."""
    with carriers(lab, TENANT, [SSHD]) as ports:
        yield ports[SSHD]


@pytest.mark.parametrize("words", [["id"], ["-tt"], ["-s", "sftp"], ["/bin/sh", "-c", "id"]], ids=" ".join)
def test_cell_no_command_is_run(lab: Lab, door: int, words: list[str]) -> None:
    code, said = ssh(lab, TENANT, door, *words)
    assert code not in {0, 124}
    assert "uid=" not in said
    assert "Permission denied" not in said, "the key has to be good for this to show anything"


@pytest.mark.parametrize(
    "forward",
    [
        ["-R", "127.0.0.1:2230:127.0.0.1:9"],
        ["-R", "127.0.0.1:10086:127.0.0.1:9"],
        ["-R", "0.0.0.0:2229:127.0.0.1:9"],
        ["-R", "2229:127.0.0.1:9"],
        ["-R", "/tmp/made.sock:127.0.0.1:9"],
        ["-R", "/run/tw-relay/acme/made.sock:127.0.0.1:9"],
    ],
    ids=lambda words: words[1],
)
def test_cell_no_listener_beyond_the_reverse_forwards(lab: Lab, door: int, forward: list[str]) -> None:
    code, said = ssh(lab, TENANT, door, "-N", *forward)
    assert (code, "remote port forwarding failed" in said) == (255, True), said


def test_cell_a_reverse_forward_of_its_own_is_granted(lab: Lab, door: int) -> None:
    """Or the refusals above would show nothing."""
    assert ssh(lab, TENANT, door, "-N", "-R", "127.0.0.1:2229:127.0.0.1:9")[0] == 124


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("127.0.0.1:10085", "open"),
        ("127.0.0.1:22", "closed"),
        ("127.0.0.1:2222", "closed"),
        ("203.0.113.10:443", "closed"),
        ("/run/dbus/system_bus_socket", "closed"),
        ("/run/tw-relay/acme/xray.sock", "closed"),
    ],
)
def test_cell_ssh_leads_to_the_api_only(lab: Lab, door: int, target: str, seen: str) -> None:
    bridge = shlex.join(["ssh", *_options(door), "-N", "-L", f"127.0.0.1:19500:{target}", f"tw-{TENANT}@127.0.0.1"])
    knock = shlex.join(["python3", "-c", KNOCK, "19500"])
    said = lab.shell("server", f"timeout 15 {bridge} > /dev/null 2>&1 & {knock}; kill $!", timeout=30).stdout
    assert said.strip() == seen


KNOCK = """
import socket, sys, time
for _ in range(50):
    try:
        peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit("the local end of the forward never came up")
peer.settimeout(5)
peer.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
try:
    got = peer.recv(100)
except ConnectionError:
    got = b""
print("open" if got else "closed")
"""


def _options(door: int) -> list[str]:
    known = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    return [*known, "-i", intruder.KEY, "-p", str(door)]


def api(lab: Lab, verb: str, config: dict[str, Any] | None = None, words: Sequence[str] = ()) -> str:
    """Use the API of the tenant's Xray; what reaches it is what a server sends it over its link."""
    path = "/run/intruder-api.json"
    files = []
    if config is not None:
        lab.run("relay", ["tee", path], input=json.dumps(config))
        files = [path]
    command = [intruder.XRAY, "api", verb, SERVER_OPTION, "--timeout=5", *words, *files]
    done = lab.run("relay", in_cell(lab, TENANT, command), check=False)
    return done.stdout + done.stderr


@pytest.fixture
def let_loose(lab: Lab) -> Iterator[None]:
    """The tenant's Xray with every outbound and rule of ours undone, and the tenant's own put in their place."""
    for tag in ("nowhere", "loopback"):
        api(lab, "rmo", words=[tag])
        told = api(lab, "ado", {"outbounds": [{**FREE, "tag": tag}]})
        assert "failed" not in told.lower(), told
    yield
    lab.run("relay", ["systemctl", "restart", f"tw-xray@{TENANT}"])
    seconds_until_answer(lab, 30)


def test_cell_the_way_to_the_api_shows_that_the_rules_alone_are_no_wall(lab: Lab, let_loose: None) -> None:
    with carriers(lab, TENANT, [API, SSHD]) as ports:
        assert ask(lab, ports[SSHD]).startswith(b"SSH-")
        assert ask(lab, ports[API], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") != b""


def test_cell_xray_let_loose_reaches_nothing_of_the_relay_or_beyond(lab: Lab, let_loose: None) -> None:
    web = "GET / HTTP/1.0\r\n\r\n"
    targets = [
        ("203.0.113.10", 80),
        ("203.0.113.10", 443),
        ("203.0.113.10", 22),
        ("127.0.0.1", 80),
        ("127.0.0.1", 443),
        ("127.0.0.1", 2019),
        ("203.0.113.53", 53),
        ("203.0.113.54", 14000),
        ("::1", 22),
    ]
    with carriers(lab, TENANT, [SSHD, *targets]) as ports:
        assert ask(lab, ports[SSHD]).startswith(b"SSH-")
        assert {target: ask(lab, ports[target], web) for target in targets} == dict.fromkeys(targets, b"")


def test_cell_its_sshd_is_not_the_relays(lab: Lab, let_loose: None) -> None:
    lab.run("relay", ["systemctl", "stop", f"tw-sshd@{TENANT}"])
    try:
        with carriers(lab, TENANT, [SSHD]) as ports:
            assert ask(lab, ports[SSHD]) == b""
    finally:
        lab.run("relay", ["systemctl", "start", f"tw-sshd@{TENANT}"])


SOCKETS = [
    "/run/tw-relay/operator/xray.sock",
    "/run/tw-caddy/admin.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/notify",
]


def test_cell_fallbacks_to_unix_sockets_find_none(lab: Lab, let_loose: None) -> None:
    """A VLESS inbound hands what it does not understand to a "fallback", which may be any unix socket it can open."""
    own = "/run/tw-relay/acme/xray.sock"
    found = {}
    with carriers(lab, TENANT, [("127.0.0.1", 2229), ("127.0.0.1", 10085)]) as ports:
        for path in [*SOCKETS, own]:
            api(lab, "rmi", words=["trap"])
            inbound = {
                "tag": "trap",
                "listen": "127.0.0.1",
                "port": 2229,
                "protocol": "vless",
                "settings": {"clients": [], "decryption": "none", "fallbacks": [{"dest": path}]},
                "streamSettings": {"network": "raw"},
            }
            told = api(lab, "adi", {"inbounds": [inbound]})
            assert "failed" not in told.lower(), told
            found[path] = ask(lab, ports["127.0.0.1", 2229], "GET / HTTP/1.1\r\nHost: a\r\n\r\n") != b""
    assert found == {**dict.fromkeys(SOCKETS, False), own: True}


def test_cell_listeners_of_its_own_stay_inside(lab: Lab, let_loose: None) -> None:
    def listener(where: dict[str, Any]) -> str:
        api(lab, "rmi", words=["trap"])
        settings = {"address": "127.0.0.1", "port": 22, "network": "tcp"}
        return api(
            lab, "adi", {"inbounds": [{"tag": "trap", "protocol": "dokodemo-door", "settings": settings, **where}]}
        )

    before = lab.run("relay", ["ss", "-Htln"]).stdout
    listener({"listen": "0.0.0.0", "port": 8080})
    assert lab.run("relay", ["ss", "-Htln"]).stdout == before
    for path in ("/run/made.sock", "/tmp/made.sock", "/dev/shm/made.sock", "/run/tw-relay/operator/made.sock"):
        listener({"listen": path})
        assert lab.run("relay", ["test", "-e", path], check=False).returncode != 0
    listener({"listen": "/run/tw-relay/acme/made.sock"})
    assert lab.run("relay", ["test", "-S", "/run/tw-relay/acme/made.sock"], check=False).returncode == 0


def test_cell_what_xray_can_be_made_to_write_is_nothing(lab: Lab, let_loose: None) -> None:
    """TLS of Xray's can be told to log its keys into a file."""
    path = "/run/tw-relay/acme/keys"
    stream = {"network": "raw", "security": "tls", "tlsSettings": {"serverName": "a", "masterKeyLog": path}}
    settings = {"vnext": [{"address": "127.0.0.1", "port": 22, "users": [{"id": "a" * 8, "encryption": "none"}]}]}
    api(lab, "rmo", words=["nowhere"])
    api(
        lab,
        "ado",
        {"outbounds": [{"tag": "nowhere", "protocol": "vless", "settings": settings, "streamSettings": stream}]},
    )
    with carriers(lab, TENANT, [("127.0.0.1", 2229)]) as ports:
        ask(lab, ports["127.0.0.1", 2229], "hello")
    assert lab.shell("relay", f"cat {path} 2> /dev/null || true").stdout == ""
    assert lab.run("relay", ["findmnt", "-n", "-o", "FSTYPE", "/run/tw-relay/acme"]).stdout.strip() == "tmpfs"
