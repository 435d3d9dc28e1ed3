"""Where bridges listen on this host instead of where `connect.yml` says: for good (`ports.yml`), or for one run."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tunnel_whisperer import config_reader
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.problems import Problems, quote, suggest
from tunnel_whisperer.users.targets import read_host, read_port

if TYPE_CHECKING:
    from tunnel_whisperer.config import Bridge

PORTS_FILE = "ports.yml"
"""Lies beside a context's `connect.yml`; whoever writes that leaves this alone."""

_HEADER = "# Written by tw port: where bridges listen on this host instead of where connect.yml says.\n"


@dataclass(frozen=True, slots=True)
class LocalEnd:
    """Where a bridge listens; without an address where it did before. `str()` gives the form that people type."""

    port: int
    listen: str | None = None

    def __str__(self) -> str:
        if self.listen is None:
            return str(self.port)
        return f"[{self.listen}]:{self.port}" if ":" in self.listen else f"{self.listen}:{self.port}"


LocalEnds = Mapping[str, LocalEnd]
"""By the name of the bridge."""


def read_end(given: object) -> LocalEnd:
    """Read `PORT`, `ADDRESS:PORT` or `[ADDRESS]:PORT`; raises ValueError saying what is wrong."""
    text = str(given)
    address, separator, port = text.rpartition(":")
    if not separator:
        return LocalEnd(read_port(port))
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if bare == address and ":" in bare:
        raise ValueError(f"{quote(text)} is not clear; an IPv6 address goes into brackets: [::1]:8080")
    return LocalEnd(read_port(port), read_host(bare))


def read_maps(texts: Sequence[str]) -> dict[str, LocalEnd]:
    """Read what `--map` was given: `BRIDGE=[ADDRESS:]PORT` each. Raises InvalidInputError."""
    problems = Problems()
    found: dict[str, LocalEnd] = {}
    for text in texts:
        name, separator, end = text.partition("=")
        where = f"--map {quote(text)}"
        if not separator or not name:
            problems.add(where, "is of another form; accepted: BRIDGE=PORT or BRIDGE=ADDRESS:PORT")
            continue
        if name in found:
            problems.add(where, f"bridge {quote(name)} has been given a place already")
        read = problems.read(read_end, end, where)
        if read is not None:
            found[name] = read
    problems.check()
    return found


def load(path: Path) -> dict[str, LocalEnd]:
    """Load a `ports.yml`, which need not be there; raises ConfigError."""
    if not path.exists():
        return {}
    top = config_reader.read(path)
    found = {}
    for name in top.names():
        section = top.section(name)
        found[name] = LocalEnd(section.port("local_port"), section.host("listen") if section.has("listen") else None)
        section.done()
    return found


def write(ends: LocalEnds) -> bytes:
    """Return the text of a `ports.yml`."""
    document = {
        name: {"local_port": end.port} | ({} if end.listen is None else {"listen": end.listen})
        for name, end in sorted(ends.items())
    }
    return (_HEADER + yaml.safe_dump(document, sort_keys=False)).encode()


def place_of(bridge: "Bridge") -> str:
    """Return where a bridge listens, in the form that people type."""
    return str(LocalEnd(bridge.local_port, bridge.listen))


def unknown(bridges: Sequence["Bridge"], ends: LocalEnds) -> str | None:
    """Say which of these ends is for a bridge that is not there."""
    names = [bridge.name for bridge in bridges]
    for name in ends:
        if name not in names:
            return f"there is no bridge {quote(name)} ({suggest(name, names)})"
    return None


def moved(bridges: Sequence["Bridge"], ends: LocalEnds, *, where: str) -> tuple["Bridge", ...]:
    """Return the bridges with their ends put in; one for a bridge that is gone waits for its return.

    Raises ConfigError, which names `where`, when two bridges would listen at one place.
    """
    result = tuple(
        bridge if end is None else replace(bridge, local_port=end.port, listen=end.listen or bridge.listen)
        for bridge in bridges
        for end in [ends.get(bridge.name)]
    )
    if result == tuple(bridges):
        return result
    for index, bridge in enumerate(result):
        for other in result[:index]:
            if bridge.local_port == other.local_port and _overlap(bridge.listen, other.listen):
                message = (
                    f"bridges {quote(other.name)} and {quote(bridge.name)} would both listen at {place_of(bridge)}"
                )
                raise ConfigError(message, where=where, hint="give one of them another port")
    return result


def beyond_loopback(bridges: Sequence["Bridge"]) -> list[str]:
    """Warn of each bridge that other hosts can reach."""
    return [
        f"bridge {bridge.name} listens at {place_of(bridge)}: whoever reaches this host there reaches the server's port"
        for bridge in bridges
        if not _is_loopback(bridge.listen)
    ]


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _overlap(one: str, other: str) -> bool:
    first, second = _address(one), _address(other)
    if first is None or second is None or first.version != second.version:
        return one == other
    return first == second or first.is_unspecified or second.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None
