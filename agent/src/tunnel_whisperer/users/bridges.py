"""How the bridges of a user are called, and where they appear on a client. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunnel_whisperer.problems import Problems
from tunnel_whisperer.users.grants import App, Grant
from tunnel_whisperer.users.targets import LOOPBACK, Target


@dataclass(frozen=True, slots=True)
class PlannedBridge:
    """A bridge a user is to have."""

    name: str
    port: int
    local_port: int
    host: str = LOOPBACK

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"name": self.name, "host": self.host, "port": self.port, "local_port": self.local_port}


def plan_bridges(problems: Problems, grant: Grant, apps: Mapping[str, App], where: str) -> tuple[PlannedBridge, ...]:
    """Name a bridge for every target, after the app that comes first where apps share one."""
    wanted: dict[Target, str] = {}
    suggested: dict[Target, int] = {}
    for name in grant.apps:
        app = apps.get(name)
        if app is None:  # noted when the grant was read
            continue
        for target in app.targets:
            wanted.setdefault(target, name if len(app.targets) == 1 else f"{name}-{target.port}")
        suggested = {**app.local_ports, **suggested}
    for target in grant.ports:
        name = f"port-{target.port}" if target.host == LOOPBACK else f"{_label(target.host)}-{target.port}"
        wanted.setdefault(target, name)
    local = {target: grant.local_ports.get(target, suggested.get(target, target.port)) for target in wanted}
    _check_apart(problems, wanted, local, where)
    return tuple(PlannedBridge(name, target.port, local[target], target.host) for target, name in wanted.items())


def _check_apart(problems: Problems, wanted: Mapping[Target, str], local: Mapping[Target, int], where: str) -> None:
    named: dict[str, Target] = {}
    placed: dict[int, Target] = {}
    for target, name in wanted.items():
        first = named.setdefault(name, target)
        if first != target:
            both = f"{first.as_data()} and {target.as_data()}"
            problems.add(where, f'two bridges would be called "{name}" (ports {both}); rename an app')
        other = placed.setdefault(local[target], target)
        if other != target:
            message = f"ports {other.as_data()} and {target.as_data()} would both be at local port {local[target]}"
            problems.add(where, f"{message}; choose others under local_ports")


def _label(host: str) -> str:
    return host.replace(".", "-").replace(":", "-").strip("-")
