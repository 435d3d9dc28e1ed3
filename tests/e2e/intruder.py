"""A tenant that means harm: with its own keys, from its own server, it asks the relay for whatever it likes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.e2e.outside import relay_name
from tests.lab.api import Lab

UNIT = "intruder.service"
FIRST_PORT = 19000
XRAY = "/opt/tw/bin/xray"
OWN = "/etc/tw/serve"
KEY = "/run/intruder.key"

ASK = """
import socket, sys
try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5) as peer:
        peer.settimeout(4)
        peer.sendall(sys.argv[2].encode())
        print(peer.recv(200).hex())
except OSError:
    print("")
"""

Target = tuple[str, int]


@contextmanager
def carriers(lab: Lab, tenant: str, targets: list[Target]) -> Iterator[dict[Target, int]]:
    """Open a way through the relay to each target, as the tenant's server; yields the local port of each."""
    ports = {target: FIRST_PORT + index for index, target in enumerate(targets)}
    uuid = lab.run("server", ["cat", f"{OWN}/vless_uuid"]).stdout.strip()
    lab.run("server", ["install", "-m", "0600", f"{OWN}/id_ed25519", KEY])
    lab.run("server", ["tee", "/run/intruder.json"], input=json.dumps(_config(lab, tenant, uuid, ports)))
    lab.run(
        "server", ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", XRAY, "run", "-c", "/run/intruder.json"]
    )
    try:
        lab.wait_until(lambda: f":{FIRST_PORT}" in lab.run("server", ["ss", "-Htln"]).stdout, 10, "the intruder's Xray")
        yield ports
    finally:
        lab.run("server", ["systemctl", "stop", UNIT], check=False)


def _config(lab: Lab, tenant: str, uuid: str, ports: Mapping[Target, int]) -> dict[str, Any]:
    name = relay_name(lab)
    door = {"listen": "127.0.0.1", "protocol": "dokodemo-door"}
    certificates = [
        {"usage": "client-cert", "certificateFile": f"{OWN}/tls.crt", "keyFile": f"{OWN}/tls.key"},
        {"usage": "verify", "certificateFile": f"{OWN}/relay_roots.pem"},
    ]
    user = {"id": uuid, "encryption": "none"}
    return {
        "log": {"loglevel": "warning"},
        "inbounds": [
            {**door, "port": port, "settings": {"address": host, "port": at, "network": "tcp"}}
            for (host, at), port in ports.items()
        ],
        "outbounds": [
            {
                "protocol": "vless",
                "settings": {"vnext": [{"address": name, "port": 443, "users": [user]}]},
                "streamSettings": {
                    "network": "xhttp",
                    "xhttpSettings": {
                        "host": name,
                        "path": f"/tw/{tenant}",
                        "mode": "stream-one",
                        "extra": {"xmux": {"maxConcurrency": 1}},
                    },
                    "security": "tls",
                    "tlsSettings": {
                        "serverName": name,
                        "alpn": ["h2"],
                        "disableSystemRoot": True,
                        "certificates": certificates,
                    },
                },
            }
        ],
    }


def ask(lab: Lab, port: int, said: str = "") -> bytes:
    """Say something to a local port on the server; return the first of what comes back, nothing if it is closed."""
    told = lab.run("server", ["python3", "-c", ASK, str(port), said], timeout=30).stdout
    return bytes.fromhex(told.strip())


def ssh(lab: Lab, tenant: str, port: int, *words: str, seconds: float = 6) -> tuple[int, str]:
    """Log in to the cell's sshd with the tenant's own key; return the exit code (124: still up) and what was said."""
    options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    login = ["-o", "LogLevel=INFO", "-i", KEY, "-p", str(port), f"tw-{tenant}@127.0.0.1"]
    command = ["timeout", f"{seconds:g}", "ssh", *options, "-o", "ExitOnForwardFailure=yes", *login, *words]
    done = lab.run("server", command, check=False)
    return done.returncode, done.stdout + done.stderr
