"""Who has a local port already, as far as this host lets us know."""

import contextlib
import ipaddress
import os
import pwd
import socket
import struct
from pathlib import Path

_LISTENING = "0A"
_TABLES = (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6))


def holder(host: str, port: int, proc: Path = Path("/proc")) -> str | None:
    """Name the process that listens on `host:port`, or the user it belongs to when that is all one can see."""
    for table, family in _TABLES:
        for address, uid, inode in _listeners(proc / "net" / table, family, port):
            if _clashes(address, host):
                return _process(inode, proc) or f"a process of user {_user(uid)}"
    return None


def _listeners(table: Path, family: int, port: int) -> list[tuple[str, int, str]]:
    """Return address, uid and inode of all sockets in the kernel's table that listen on `port`."""
    found = []
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            address, _, hex_port = fields[1].rpartition(":")
            if fields[3] == _LISTENING and int(hex_port, 16) == port:
                found.append((_address(address, family), int(fields[7]), fields[9]))
    return found


def _address(text: str, family: int) -> str:
    """Read an address as the kernel writes it: 32-bit words in the host's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))


def _clashes(address: str, host: str) -> bool:
    try:
        wanted = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return True
    found = ipaddress.ip_address(address)
    return found == wanted or found.is_unspecified or wanted.is_unspecified


def _process(inode: str, proc: Path) -> str | None:
    """Name the process that holds a socket; others' can be looked into by root alone."""
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for entry in (directory / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(entry) == f"socket:[{inode}]":
                        return f"{(directory / 'comm').read_text().strip()} (pid {directory.name})"
    return None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
