# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a relay's host: who listens where, which addresses it has, what its sshd is told. It changes nothing.

It reads /proc rather than ask programs, because a fresh host may lack them.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Iterator
from typing import Any

#: The drop-in that binds the host's sshd to loopback, the note that systemd held port 22 before, and the mark on lines
#: of others that would undo the drop-in.
SSHD_DROP_IN = "/etc/ssh/sshd_config.d/10-tw-relay.conf"
HAD_SOCKET = "/var/lib/tw-relay/had-ssh-socket"
SET_ASIDE = "#tw-relay# "

_LISTEN = re.compile(r"^\s*ListenAddress\s", re.IGNORECASE)
_INCLUDE = re.compile(r"^\s*Include\s+(?P<paths>.*)$", re.IGNORECASE)
_MATCH = re.compile(r"^\s*Match\s", re.IGNORECASE)
_VERSION = re.compile(r"OpenSSH_(\d+)\.(\d+)")
_STATE_LISTEN = "0A"


def decode_address(text: str) -> str:
    """Turn an address as /proc/net/tcp and tcp6 write it (words in the machine's order) into an ordinary one."""
    raw = bytes.fromhex(text)
    words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]
    packed = b"".join(words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def parse_listeners(table: str) -> Iterator[tuple[str, int, str]]:
    """Yield (address, port, inode) of every listening socket in the text of /proc/net/tcp or tcp6."""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == _STATE_LISTEN:
            address, port = words[1].rsplit(":", 1)
            yield decode_address(address), int(port, 16), words[9]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _owner(pid: str) -> dict[str, Any]:
    groups = _read(f"/proc/{pid}/cgroup")
    units = re.findall(r"/([^/\n]+\.(?:service|socket|scope))(?=/|\n|$)", groups)
    return {"pid": int(pid), "process": _read(f"/proc/{pid}/comm").strip(), "unit": units[-1] if units else ""}


def _socket_owners(inodes: set[str]) -> dict[str, dict[str, Any]]:
    owners: dict[str, dict[str, Any]] = {}
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        inode = target[8:-1] if target.startswith("socket:[") else ""
        # A socket that systemd opened for a service is held by both; the service is who we want to hear of.
        if inode in inodes and owners.get(inode, {"pid": 1})["pid"] == 1:
            owners[inode] = _owner(link.split("/")[2])
    return owners


def listeners() -> list[dict[str, Any]]:
    """List all TCP listeners of this network namespace with the process and the unit that hold them."""
    found = [row for table in ("/proc/net/tcp", "/proc/net/tcp6") for row in parse_listeners(_read(table))]
    owners = _socket_owners({inode for _address, _port, inode in found})
    nobody = {"pid": 0, "process": "", "unit": ""}
    return [
        dict(owners.get(inode, nobody), address=address, port=port)
        for address, port, inode in sorted(found, key=lambda row: (row[1], row[0]))
    ]


def parse_fib_trie(text: str) -> set[str]:
    """Find this host's own IPv4 addresses in the text of /proc/net/fib_trie."""
    return set(re.findall(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL", text))


def addresses() -> list[str]:
    """List the host's own addresses, without loopback."""
    found = parse_fib_trie(_read("/proc/net/fib_trie"))
    for line in _read("/proc/net/if_inet6").splitlines():
        found.add(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))))
    return sorted(a for a in found if not ipaddress.ip_address(a).is_loopback)


def resolve(name: str) -> list[str]:
    """Resolve a name (or an address) to addresses; nothing found is an empty list."""
    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return sorted({str(row[4][0]) for row in rows})


def openssh_version(text: str) -> tuple[int, int]:
    """Find (major, minor) in what `ssh -V` says; (0, 0) when it is no OpenSSH."""
    found = _VERSION.search(text)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def listen_lines(text: str) -> list[str]:
    """Return the lines of an sshd_config that say where to listen."""
    return [line.strip() for line in text.splitlines() if _LISTEN.match(line)]


def includes_drop_ins(text: str) -> bool:
    """Tell whether an sshd_config reads /etc/ssh/sshd_config.d, and does so outside any Match block."""
    for line in text.splitlines():
        if _MATCH.match(line):
            return False
        found = _INCLUDE.match(line)
        if found and any(path.startswith("/etc/ssh/sshd_config.d/") for path in found.group("paths").split()):
            return True
    return False


def sshd_files(main: str = "/etc/ssh/sshd_config") -> dict[str, str]:
    """Read the main configuration of the host's sshd and its drop-ins, all but our own."""
    paths: Iterable[str] = [main, *sorted(glob.glob("/etc/ssh/sshd_config.d/*.conf"))]
    return {path: _read(path) for path in paths if path != SSHD_DROP_IN and os.path.exists(path)}
