# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of a tenant's cell on the relay say, as a function of the tenant: nothing here touches a disk."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

#: Where everything the role decides lives on the relay, and where sockets do.
ETC = "/etc/tw-relay"
RUN = "/run/tw-relay"
#: The ports inside a cell. Every tenant has the same, because no tenant can see another's.
SSH_PORT = 22
API_PORT = 10085
REVERSE_PORTS = range(2222, 2230)
#: The name by which a tenant's server is known to its Xray, and the tenant names that have a meaning of their own.
SERVER = "server"
OPERATOR = "operator"
RESERVED_TENANTS = (OPERATOR, "caddy")
#: `tw-<tenant>` must fit into the 32 characters of a user name, with room to spare.
NAME_LIMIT = 24

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def tenant_problem(name: object) -> str:
    """Say what is wrong with a tenant's name, or return an empty string."""
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        return "a tenant's name is one lower-case DNS label (letters, digits and inner hyphens)"
    if len(name) > NAME_LIMIT:
        return f"a tenant's name has at most {NAME_LIMIT} characters, this one has {len(name)}"
    if name in RESERVED_TENANTS:
        return "this name is reserved for the relay itself"
    return ""


def uuid_problem(value: str | None) -> str:
    """Say what is wrong with a VLESS UUID, without repeating it: it is a secret."""
    return "" if _UUID.fullmatch(value or "") else "it must be a UUID in lower case (8-4-4-4-12 hexadecimal digits)"


def public_key_problem(line: str | None) -> str:
    """Say what is wrong with the server's SSH public key, or return an empty string."""
    parts = (line or "").split()
    if len(parts) < 2 or parts[0] != "ssh-ed25519" or "\n" in (line or "").strip():
        return 'it must be one line "ssh-ed25519 <key>"'
    try:
        blob = base64.b64decode(parts[1].encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return "its second word is not base64"
    if len(blob) != 51 or blob[4:15] != b"ssh-ed25519":
        return "its second word is not an Ed25519 key"
    return ""


def bare_key(line: str) -> str:
    """Cut a public key line down to type and key: comments do not belong to what is compared."""
    return " ".join(line.split()[:2])


def _document(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def _inbound(tag: str, entry: str, clients: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tag": tag,
        "listen": f"{RUN}/{entry}/xray.sock,0660",
        "protocol": "vless",
        "settings": {"clients": clients, "decryption": "none"},
        "streamSettings": {
            "network": "xhttp",
            "xhttpSettings": {
                "path": f"/tw/{entry}",
                "mode": "auto",
                "scMaxEachPostBytes": 1000000,
                "scMaxBufferedPosts": 30,
            },
            # Caddy adds this header; only Caddy can open the socket, so the address it forwards is to be believed.
            "sockopt": {"trustedXForwardedFor": ["X-TW-Edge"]},
        },
    }


def _outbounds() -> list[dict[str, Any]]:
    return [
        {"tag": "nowhere", "protocol": "blackhole"},
        {
            "tag": "loopback",
            "protocol": "freedom",
            "settings": {"domainStrategy": "AsIs", "finalRules": [{"action": "allow", "ip": ["127.0.0.0/8"]}]},
            "streamSettings": {"sockopt": {"tcpKeepAliveIdle": 30, "tcpKeepAliveInterval": 10}},
        },
    ]


def _rule(port: int | str, **match: list[str]) -> dict[str, Any]:
    return {**match, "network": "tcp", "ip": ["127.0.0.1"], "port": str(port), "outboundTag": "loopback"}


def _policy(online: bool) -> dict[str, Any]:
    # The link layer above notices what is dead, and an idle database session is not: so Xray cuts nothing within a day.
    # A stream whose target has closed ends at once (uplinkOnly): the other side must not learn of it seconds later.
    level: dict[str, Any] = {"handshake": 10, "connIdle": 86400, "uplinkOnly": 0, "downlinkOnly": 5}
    if online:
        level.update(statsUserUplink=True, statsUserDownlink=True, statsUserOnline=True)
    return {"levels": {"0": level}}


def xray_config(tenant: str, uuid: str) -> str:
    """Return the configuration of a tenant's Xray: its server is admitted, users are added live by the server."""
    reverse = f"{REVERSE_PORTS[0]}-{REVERSE_PORTS[-1]}"
    return _document(
        {
            "log": {"loglevel": "warning", "access": "none"},
            "stats": {},
            "api": {
                "tag": "api",
                "listen": f"127.0.0.1:{API_PORT}",
                "services": ["HandlerService", "StatsService"],
            },
            "policy": _policy(online=True),
            "inbounds": [_inbound("tenant-in", tenant, [{"id": uuid, "email": SERVER, "level": 0}])],
            "outbounds": _outbounds(),
            "routing": {
                "domainStrategy": "AsIs",
                "rules": [
                    _rule(SSH_PORT, user=[SERVER]),
                    {"user": [SERVER], "outboundTag": "nowhere"},
                    _rule(reverse, inboundTag=["tenant-in"]),
                ],
            },
        }
    )


def operator_config(operators: Mapping[str, str]) -> str:
    """Return the configuration of the operator's Xray: no API, and one way out, to the host's own sshd."""
    clients = [{"id": operators[name], "email": name, "level": 0} for name in sorted(operators)]
    return _document(
        {
            "log": {"loglevel": "warning", "access": "none"},
            "policy": _policy(online=False),
            "inbounds": [_inbound("operator-in", OPERATOR, clients)],
            "outbounds": _outbounds(),
            "routing": {"domainStrategy": "AsIs", "rules": [_rule(SSH_PORT, inboundTag=["operator-in"])]},
        }
    )


def authorized_keys(public_key: str) -> str:
    """Return the keys file of a cell's sshd: the server's key, good for its forwards and nothing else."""
    options = ["restrict", "port-forwarding"]
    options += [f'permitlisten="127.0.0.1:{port}"' for port in REVERSE_PORTS]
    options.append(f'permitopen="127.0.0.1:{API_PORT}"')
    return f"{','.join(options)} {bare_key(public_key)}\n"


def sshd_config(tenant: str, version: tuple[int, int]) -> str:
    """Return the configuration of a cell's sshd, for an OpenSSH of this (major, minor) version."""
    home = f"{ETC}/tenants/{tenant}"
    listen = " ".join(f"127.0.0.1:{port}" for port in REVERSE_PORTS)
    lines = [
        "# Managed by Ansible. The tenant's server logs in here to hold its reverse forwards, and does nothing else.",
        f"ListenAddress 127.0.0.1:{SSH_PORT}",
        f"HostKey {home}/ssh_host_ed25519_key",
        f"AuthorizedKeysFile {home}/authorized_keys",
        f"AllowUsers tw-{tenant}",
        "AuthenticationMethods publickey",
        "PubkeyAuthentication yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "PidFile none",
        "AllowTcpForwarding yes",
        f"PermitListen {listen}",
        f"PermitOpen 127.0.0.1:{API_PORT}",
        "GatewayPorts no",
        "AllowStreamLocalForwarding no",
        "AllowAgentForwarding no",
        "X11Forwarding no",
        "PermitTunnel no",
        "PermitTTY no",
        "PermitUserRC no",
        "PermitUserEnvironment no",
        "MaxSessions 0",
        "ForceCommand /usr/sbin/nologin",
        "# A link that is frozen gives its port back within ten seconds.",
        "ClientAliveInterval 3",
        "ClientAliveCountMax 2",
        "LoginGraceTime 20",
        "MaxAuthTries 3",
        "MaxStartups 20:30:60",
        "Compression no",
        "UseDNS no",
        "PrintMotd no",
        "LogLevel INFO",
    ]
    if version >= (9, 8):
        # Everyone in a cell comes from 127.0.0.1: a penalty for one would be a penalty for all.
        lines.append("PerSourcePenalties no")
    return "\n".join(lines) + "\n"


def read_tenant(files: Mapping[str, str]) -> dict[str, str]:
    """Take uuid and public key back out of a cell's files, so that a tenant not given in a run is kept as it is.

    Raises ValueError naming the file in which they are not found.
    """
    try:
        config = json.loads(files["xray.json"])
        uuid = next(c["id"] for i in config["inbounds"] for c in i["settings"]["clients"] if c["email"] == SERVER)
    except (ValueError, KeyError, TypeError, StopIteration):
        uuid = None
    if not isinstance(uuid, str) or uuid_problem(uuid):
        raise ValueError("xray.json is missing or damaged")
    words = files.get("authorized_keys", "").split()
    key = " ".join(words[words.index("ssh-ed25519") :][:2]) if "ssh-ed25519" in words else ""
    if public_key_problem(key):
        raise ValueError("authorized_keys is missing or damaged")
    return {"uuid": uuid, "public_key": key}


def masked(text: str) -> str:
    """Hide secrets in a text that is to be shown as a diff: those that go as well as those that come."""
    return _UUID.sub("********", text)
