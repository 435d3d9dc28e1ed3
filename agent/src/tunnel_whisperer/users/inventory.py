"""What an inventory says about users, checked as a whole and told to each server and client.

Standard library only: the collection uses it on the controller, before any host is touched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunnel_whisperer.problems import Problems, below, quote
from tunnel_whisperer.users.keys import PublicKey, read_public_key
from tunnel_whisperer.users.targets import LOOPBACK, read_port

STATES = ("present", "absent")
RESERVED_CONTEXTS = frozenset({"serve"})
"""`serve` means the server itself in `tw test` and `tw reload`."""

_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_APP_KEYS = ("ports", "description")
_SERVER_KEYS = ("tenant", "relay")
_USER_KEYS = ("tenant", "apps", "ports", "host", "public_key", "local_ports", "context", "state")


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


@dataclass(frozen=True, slots=True)
class PlannedUser:
    """A user as the inventory has it, found sound."""

    name: str
    tenant: str
    state: str
    apps: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    bridges: tuple[PlannedBridge, ...] = ()
    host: str | None = None
    context: str = ""
    key: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was asked for, as it was given: `apps` and `users` by name, `servers` by inventory host."""

    apps: object
    users: object
    servers: object
    client_hosts: tuple[str, ...]
    relay_hosts: tuple[str, ...]


@dataclass(slots=True)
class _Reader:
    given: Inventory
    problems: Problems = field(default_factory=Problems)
    apps: dict[str, tuple[int, ...]] = field(default_factory=dict)
    declared_apps: tuple[str, ...] = ()
    tenants: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Server host and relay host of each tenant."""
    users: dict[str, PlannedUser] = field(default_factory=dict)


def resolve(given: Inventory) -> dict[str, dict[str, Any]]:
    """Return `tenants` (what each server is to admit) and `clients` (which contexts each client host is to have).

    Raises InvalidInputError with everything that is wrong.
    """
    reader = _Reader(given)
    _read_servers(reader)
    _read_apps(reader)
    for name, fields in reader.problems.mapping(given.users, "tw_users").items():
        _read_user(reader, name, fields)
    _check_keys(reader)
    _check_clients(reader)
    reader.problems.check()
    return {"tenants": _tenants(reader), "clients": _clients(reader)}


def _read_servers(reader: _Reader) -> None:
    problems = reader.problems
    for name, fields in problems.mapping(reader.given.servers, "servers").items():
        host = str(name) if _HOST.fullmatch(str(name)) else below("servers", name)
        found = problems.mapping(fields, host, _SERVER_KEYS)
        tenant = problems.name("tenant", found.get("tenant"), f"{host}.server_tenant")
        relay = found.get("relay")
        if relay is None and len(reader.given.relay_hosts) == 1:
            relay = reader.given.relay_hosts[0]
        if relay is None:
            problems.add(f"{host}.server_relay", f"is missing; hosts of tw_relays: {_listed(reader.given.relay_hosts)}")
        else:
            relay = problems.one_of("host of tw_relays", relay, reader.given.relay_hosts, f"{host}.server_relay")
        if tenant is None:
            continue
        if tenant in reader.tenants:
            other = reader.tenants[tenant][0]
            problems.add(f"{host}.server_tenant", f'tenant "{tenant}" has a server already: {other}')
            continue
        reader.tenants[tenant] = (host, str(relay))


def _read_apps(reader: _Reader) -> None:
    problems = reader.problems
    found = problems.mapping(reader.given.apps, "tw_apps")
    reader.declared_apps = tuple(str(name) for name in found)
    for name, fields in found.items():
        where = below("tw_apps", name)
        label = problems.name("app", name, where)
        app = problems.mapping(fields, where, _APP_KEYS)
        description = app.get("description")
        if description is not None and not isinstance(description, str):
            problems.add(f"{where}.description", f"{quote(description)} is no text")
        ports = _read_ports(problems, app.get("ports"), f"{where}.ports")
        if not ports and not app.get("ports"):
            problems.add(f"{where}.ports", "is missing; accepted: a list with at least one port")
        if label is not None:
            reader.apps[label] = ports


def _read_ports(problems: Problems, value: object, where: str) -> tuple[int, ...]:
    found: dict[int, int] = {}
    for index, item in enumerate(problems.items(value, where)):
        port = problems.read(read_port, item, f"{where}[{index}]")
        if port is None:
            continue
        if port in found:
            problems.add(f"{where}[{index}]", f"port {port} is there already, as {where}[{found[port]}]")
        found.setdefault(port, index)
    return tuple(found)


def _read_user(reader: _Reader, given_name: object, fields: object) -> None:
    problems = reader.problems
    where = below("tw_users", given_name)
    name = problems.name("user", given_name, where)
    found = problems.mapping(fields, where, _USER_KEYS)
    state = found.get("state", "present")
    state = problems.one_of("state", state, STATES, f"{where}.state") or "present"
    tenant = _read_tenant(reader, found.get("tenant"), f"{where}.tenant")
    if state == "absent":
        if name is not None and tenant is not None:
            reader.users[name] = PlannedUser(name, tenant, state)
        return
    host = found.get("host")
    if host is not None:
        host = problems.one_of("host of tw_clients", host, reader.given.client_hosts, f"{where}.host")
    key = None
    if found.get("public_key") is not None:
        key = problems.read(read_public_key, found["public_key"], f"{where}.public_key")
    if found.get("host") is None and found.get("public_key") is None:
        problems.add(where, "needs host (a host of tw_clients, which makes its own key) or public_key")
    if found.get("host") is not None and found.get("public_key") is not None:
        problems.add(where, "has both host and public_key; a host of tw_clients makes its own key")
    apps = _read_app_names(reader, found.get("apps"), f"{where}.apps")
    ports = _read_ports(problems, found.get("ports"), f"{where}.ports")
    if not found.get("apps") and not found.get("ports"):
        problems.add(where, "needs at least one of apps and ports")
    bridges = _bridges(reader, apps, ports, found.get("local_ports"), where)
    context = found.get("context", tenant)
    if context is not None:
        context = problems.name("context", context, f"{where}.context")
    if context in RESERVED_CONTEXTS:
        problems.add(f"{where}.context", f'"{context}" is reserved; give the context another name')
    if name is not None and tenant is not None:
        reader.users[name] = PlannedUser(
            name, tenant, state, apps, ports, bridges, None if host is None else str(host), context or "", key
        )


def _read_tenant(reader: _Reader, value: object, where: str) -> str | None:
    if value is None:
        reader.problems.add(where, f"is missing; known: {_listed(reader.tenants)}")
        return None
    return reader.problems.one_of("tenant", value, reader.tenants, where)


def _read_app_names(reader: _Reader, value: object, where: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for index, item in enumerate(reader.problems.items(value, where)):
        app = reader.problems.one_of("app", item, reader.declared_apps, f"{where}[{index}]")
        if app is not None and app in found:
            reader.problems.add(f"{where}[{index}]", f'app "{app}" is there already')
        if app is not None:
            found[app] = None
    return tuple(found)


def _bridges(
    reader: _Reader, apps: tuple[str, ...], ports: tuple[int, ...], local_ports: object, where: str
) -> tuple[PlannedBridge, ...]:
    """Name a bridge for every port, the one that comes first where apps share a port."""
    problems = reader.problems
    wanted: dict[int, str] = {}
    for app in apps:
        app_ports = reader.apps.get(app, ())
        for port in app_ports:
            wanted.setdefault(port, app if len(app_ports) == 1 else f"{app}-{port}")
    for port in ports:
        wanted.setdefault(port, f"port-{port}")
    local: dict[int, int] = {}
    for remote, value in problems.mapping(local_ports, f"{where}.local_ports").items():
        item = below(f"{where}.local_ports", str(remote))
        port_here = problems.read(read_port, value, item)
        port_there = problems.read(read_port, remote, item)
        if port_here is None or port_there is None:
            continue
        if port_there not in wanted:
            known = ", ".join(str(port) for port in sorted(wanted)) or "none"
            problems.add(item, f"{port_there} is not among this user's ports; known: {known}")
            continue
        local[port_there] = port_here
    seen: dict[str, int] = {}
    for port, name in wanted.items():
        if name in seen:
            problems.add(where, f'two bridges would be called "{name}" (ports {seen[name]} and {port}); rename an app')
        seen[name] = port
    return tuple(PlannedBridge(name, port, local.get(port, port)) for port, name in wanted.items())


def _check_keys(reader: _Reader) -> None:
    seen: dict[tuple[str, PublicKey], str] = {}
    for user in reader.users.values():
        if user.key is None:
            continue
        first = seen.setdefault((user.tenant, user.key), user.name)
        if first != user.name:
            reader.problems.add(f"tw_users.{user.name}.public_key", f'is the key of user "{first}" too')


def _check_clients(reader: _Reader) -> None:
    """Contexts of one client host must differ, and so must the local ports of their bridges."""
    contexts: dict[tuple[str, str], str] = {}
    local: dict[tuple[str, int], tuple[str, str]] = {}
    for user in reader.users.values():
        if user.host is None:
            continue
        where = f"tw_users.{user.name}"
        other = contexts.setdefault((user.host, user.context), user.name)
        if other != user.name:
            message = f'"{user.context}" on {user.host} is the context of user "{other}"; give one of them another'
            reader.problems.add(f"{where}.context", message)
        for bridge in user.bridges:
            taken = local.setdefault((user.host, bridge.local_port), (user.name, bridge.name))
            if taken != (user.name, bridge.name):
                taken_by = f'bridge "{taken[1]}" of user "{taken[0]}"'
                message = (
                    f'local port {bridge.local_port} of bridge "{bridge.name}" is taken on {user.host} by {taken_by}; '
                    "choose another under local_ports"
                )
                reader.problems.add(where, message)


def _tenants(reader: _Reader) -> dict[str, Any]:
    tenants: dict[str, Any] = {
        tenant: {"server": server, "relay": relay, "users": {}} for tenant, (server, relay) in reader.tenants.items()
    }
    for user in reader.users.values():
        tenants[user.tenant]["users"][user.name] = {
            "state": user.state,
            "host": user.host,
            "context": user.context or None,
            "public_key": None if user.key is None else str(user.key),
            "apps": list(user.apps),
            "ports": list(user.ports),
            "bridges": [bridge.as_data() for bridge in user.bridges],
        }
    return tenants


def _clients(reader: _Reader) -> dict[str, Any]:
    clients: dict[str, Any] = {host: {} for host in reader.given.client_hosts}
    for user in reader.users.values():
        if user.host is None:
            continue
        server, relay = reader.tenants[user.tenant]
        clients[user.host][user.context] = {
            "tenant": user.tenant,
            "user": user.name,
            "server": server,
            "relay": relay,
            "bridges": [bridge.as_data() for bridge in user.bridges],
        }
    return clients


def _listed(names: Mapping[str, object] | tuple[str, ...]) -> str:
    return ", ".join(sorted(names)) or "none"
