"""Where a bridge may lead. Standard library only: the collection uses it on the controller too."""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass

from tunnel_whisperer.problems import quote

LOOPBACK = "127.0.0.1"
OWN_HOSTS = frozenset({LOOPBACK, "::1", "localhost"})
"""The server itself; any other host has to be declared by its operator."""

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """An address at the server's end; `str()` gives the form that `permitopen` takes."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def as_data(self) -> int | str:
        """Return it as short as `read_port_or_target` takes it."""
        return self.port if self.host == LOOPBACK else str(self)

    def reachable(self, hosts: Collection[str]) -> bool:
        """Say whether it is at the server itself, or at one of the declared `hosts`."""
        return self.host in OWN_HOSTS or self.host in hosts


def read_port(value: object) -> int:
    """Read a TCP port given as a number or in digits; raises ValueError saying what is wrong."""
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        number = int(value)
    if number is None or not 1 <= number <= 65535:
        raise ValueError(f"{quote(value)} is no port; accepted: a whole number from 1 to 65535")
    return number


def read_host(value: object) -> str:
    """Read a host name or an IP address, in its usual form; raises ValueError saying what is wrong."""
    if isinstance(value, str):
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            host = value.lower()
        if len(host) <= 253 and _HOST.fullmatch(host) and not host.rpartition(".")[2].isdigit():
            return host
    raise ValueError(f"{quote(value)} is no host; accepted: a host name or an IP address")


def read_target(text: str) -> Target:
    """Read the form `permitopen` takes, `host:port` or `[address]:port`; raises ValueError."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    target = Target(read_host(bare), read_port(port))
    if str(target) != text:
        raise ValueError(f"{quote(text)} is no target; accepted: {target}")
    return target


def read_port_or_target(value: object) -> Target:
    """Read a port of the server itself, or `host:port` for another host behind it; raises ValueError."""
    if isinstance(value, str) and ":" in value:
        return read_target(value.lower())
    try:
        return Target(LOOPBACK, read_port(value))
    except ValueError:
        accepted = "a whole number from 1 to 65535, or host:port"
        raise ValueError(f"{quote(value)} is no port; accepted: {accepted}") from None
