"""What an inventory says about users, checked as a whole and told to each server and client.

Standard library only: the collection uses it on the controller, before any host is touched.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunnel_whisperer.problems import Problems, below
from tunnel_whisperer.users.bridges import PlannedBridge, plan_bridges
from tunnel_whisperer.users.desired import USER_FIELDS, DesiredUser, read_user
from tunnel_whisperer.users.grants import App, read_apps, read_names, read_targets, read_text
from tunnel_whisperer.users.keys import PublicKey
from tunnel_whisperer.users.targets import read_host

RESERVED_CONTEXTS = frozenset({"serve"})
"""`serve` means the server itself in `tw test` and `tw reload`."""

_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_SERVER_FIELDS = ("tenant", "relay", "target_hosts")
_GROUP_FIELDS = ("apps", "ports", "description")
_USER_FIELDS = ("tenant", "groups", *(name for name in USER_FIELDS if name != "csr"))


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was asked for, as it was given: `apps`, `groups` and `users` by name, `servers` by inventory host.

    `renew_bundles` are the names of users whose bundle is to be made anew.
    """

    apps: object
    users: object
    servers: object
    client_hosts: tuple[str, ...]
    relay_hosts: tuple[str, ...]
    groups: object = None
    renew_bundles: object = None


@dataclass(frozen=True, slots=True)
class _Tenant:
    server: str
    relay: str
    target_hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    apps: tuple[str, ...]
    ports: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _User:
    """A user with its place, found sound."""

    tenant: str
    wanted: DesiredUser
    bridges: tuple[PlannedBridge, ...] = ()

    @property
    def context(self) -> str:
        """The name of its context on a managed host."""
        return self.wanted.context or self.tenant


@dataclass(slots=True)
class _Reader:
    given: Inventory
    problems: Problems = field(default_factory=Problems)
    apps: dict[str, App] = field(default_factory=dict)
    groups: dict[str, _Group] = field(default_factory=dict)
    tenants: dict[str, _Tenant] = field(default_factory=dict)
    users: dict[str, _User] = field(default_factory=dict)
    renewals: tuple[str, ...] = ()


def resolve(given: Inventory) -> dict[str, dict[str, Any]]:
    """Return `tenants` (what each server is to admit) and `clients` (which contexts each client host is to have).

    Raises InvalidInputError with everything that is wrong.
    """
    reader = _Reader(given)
    _read_servers(reader)
    reader.apps = read_apps(reader.problems, given.apps, "tw_apps")
    _read_groups(reader)
    for name, fields in reader.problems.mapping(given.users, "tw_users").items():
        _read_user(reader, name, fields)
    _read_renewals(reader)
    _check_keys(reader)
    _check_clients(reader)
    reader.problems.check()
    return {"tenants": _tenants(reader), "clients": _clients(reader)}


def _read_servers(reader: _Reader) -> None:
    problems = reader.problems
    for name, fields in problems.mapping(reader.given.servers, "servers").items():
        host = str(name) if _HOST.fullmatch(str(name)) else below("servers", name)
        found = problems.mapping(fields, host, _SERVER_FIELDS)
        tenant = problems.name("tenant", found.get("tenant"), f"{host}.server_tenant")
        relay = found.get("relay")
        if relay is None and len(reader.given.relay_hosts) == 1:
            relay = reader.given.relay_hosts[0]
        if relay is None:
            problems.add(f"{host}.server_relay", f"is missing; hosts of tw_relays: {_listed(reader.given.relay_hosts)}")
        else:
            relay = problems.one_of("host of tw_relays", relay, reader.given.relay_hosts, f"{host}.server_relay")
        where = f"{host}.server_target_hosts"
        behind = [
            problems.read(read_host, item, f"{where}[{index}]")
            for index, item in enumerate(problems.items(found.get("target_hosts"), where))
        ]
        if tenant is None:
            continue
        if tenant in reader.tenants:
            other = reader.tenants[tenant].server
            problems.add(f"{host}.server_tenant", f'tenant "{tenant}" has a server already: {other}')
            continue
        reader.tenants[tenant] = _Tenant(host, str(relay), tuple(one for one in behind if one is not None))


def _read_groups(reader: _Reader) -> None:
    """Read named lists of apps and ports that users can be given together."""
    problems = reader.problems
    for name, fields in problems.mapping(reader.given.groups, "tw_groups").items():
        where = below("tw_groups", name)
        problems.name("group", name, where)
        found = problems.mapping(fields, where, _GROUP_FIELDS)
        apps = read_names(problems, found.get("apps"), f"{where}.apps", "app", reader.apps)
        ports = read_targets(problems, found.get("ports"), f"{where}.ports")
        if not found.get("apps") and not found.get("ports"):
            problems.add(where, "needs at least one of apps and ports")
        read_text(problems, found.get("description"), f"{where}.description")
        reader.groups[str(name)] = _Group(apps, tuple(port.as_data() for port in ports))


def _read_user(reader: _Reader, given_name: object, fields: object) -> None:
    problems = reader.problems
    where = below("tw_users", given_name)
    found = problems.mapping(fields, where, _USER_FIELDS)
    tenant = _read_tenant(reader, found.get("tenant"), f"{where}.tenant")
    known = reader.tenants.get(tenant or "")
    wanted = read_user(
        problems,
        given_name,
        _with_groups(reader, found, where),
        where,
        reader.apps,
        hosts=known.target_hosts if known else _all_hosts(reader),
    )
    if found.get("state", "present") == "absent":
        if wanted is not None and tenant is not None:
            reader.users[wanted.name] = _User(tenant, wanted)
        return
    _check_place(reader, found, tenant, where)
    if wanted is None:
        return
    if tenant is not None:
        bridges = plan_bridges(Problems(), wanted.grant, reader.apps, where)
        reader.users[wanted.name] = _User(tenant, wanted, bridges)


def _check_place(reader: _Reader, found: Mapping[object, object], tenant: str | None, where: str) -> None:
    problems = reader.problems
    if found.get("host") is not None:
        problems.one_of("host of tw_clients", found["host"], reader.given.client_hosts, f"{where}.host")
        if found.get("public_key") is not None:
            problems.add(where, "has both host and public_key; a host of tw_clients makes its own key")
    context = found.get("context", tenant)
    if context is not None and problems.name("context", context, f"{where}.context") in RESERVED_CONTEXTS:
        problems.add(f"{where}.context", f'"{context}" is reserved; give the context another name')


def _with_groups(reader: _Reader, found: Mapping[object, object], where: str) -> dict[object, object]:
    """Put what the user's groups have behind what it has itself."""
    names = read_names(reader.problems, found.get("groups"), f"{where}.groups", "group", reader.groups)
    merged = dict(found)
    for key in ("apps", "ports"):
        own = merged.get(key)
        if names and (own is None or isinstance(own, list | tuple)):
            more = (item for name in names for item in getattr(reader.groups[name], key))
            merged[key] = list(dict.fromkeys((*map(_hashable, own or ()), *more)))
    return merged


def _hashable(item: object) -> object:
    """Leave what is no name and no port to the complaints that follow."""
    return item if isinstance(item, int | str) else repr(item)


def _read_tenant(reader: _Reader, value: object, where: str) -> str | None:
    if value is None:
        reader.problems.add(where, f"is missing; known: {_listed(reader.tenants)}")
        return None
    return reader.problems.one_of("tenant", value, reader.tenants, where)


def _all_hosts(reader: _Reader) -> set[str]:
    """Return every declared host, for a user whose tenant is not known: that is one complaint, and enough."""
    return {host for tenant in reader.tenants.values() for host in tenant.target_hosts} | {
        target.host for app in reader.apps.values() for target in app.targets
    }


def _read_renewals(reader: _Reader) -> None:
    problems, where = reader.problems, "tw_renew_bundles"
    names = read_names(problems, reader.given.renew_bundles, where, "user", reader.users)
    for name in names:
        if reader.users[name].wanted.bundle is None:
            problems.add(where, f'user "{name}" has no bundle')
    reader.renewals = names


def _check_keys(reader: _Reader) -> None:
    seen: dict[tuple[str, PublicKey], str] = {}
    for name, user in reader.users.items():
        if user.wanted.key is None:
            continue
        first = seen.setdefault((user.tenant, user.wanted.key), name)
        if first != name:
            reader.problems.add(f"tw_users.{name}.public_key", f'is the key of user "{first}" too')


def _check_clients(reader: _Reader) -> None:
    """Contexts of one client host must differ, and so must the local ports of their bridges."""
    contexts: dict[tuple[str, str], str] = {}
    local: dict[tuple[str, int], tuple[str, str]] = {}
    for name, user in reader.users.items():
        host = user.wanted.host
        if host is None:
            continue
        where = f"tw_users.{name}"
        other = contexts.setdefault((host, user.context), name)
        if other != name:
            message = f'"{user.context}" on {host} is the context of user "{other}"; give one of them another'
            reader.problems.add(f"{where}.context", message)
        for bridge in user.bridges:
            taken = local.setdefault((host, bridge.local_port), (name, bridge.name))
            if taken[0] != name:
                taken_by = f'bridge "{taken[1]}" of user "{taken[0]}"'
                message = (
                    f'local port {bridge.local_port} of bridge "{bridge.name}" is taken on {host} by {taken_by}; '
                    "choose another under local_ports"
                )
                reader.problems.add(where, message)


def _tenants(reader: _Reader) -> dict[str, Any]:
    tenants: dict[str, Any] = {
        name: {
            "server": tenant.server,
            "relay": tenant.relay,
            "target_hosts": list(tenant.target_hosts),
            "apps": {
                app.name: app.as_data()
                for app in reader.apps.values()
                if all(target.reachable(tenant.target_hosts) for target in app.targets)
            },
            "users": {},
            "renew_bundles": [user for user in reader.renewals if reader.users[user].tenant == name],
        }
        for name, tenant in reader.tenants.items()
    }
    for name, user in reader.users.items():
        told = user.wanted.as_data()
        if user.wanted.host is not None:
            told["context"] = user.context
        tenants[user.tenant]["users"][name] = told
    return tenants


def _clients(reader: _Reader) -> dict[str, Any]:
    clients: dict[str, Any] = {host: {} for host in reader.given.client_hosts}
    for name, user in reader.users.items():
        if user.wanted.host is None:
            continue
        tenant = reader.tenants[user.tenant]
        clients[user.wanted.host][user.context] = {
            "tenant": user.tenant,
            "user": name,
            "server": tenant.server,
            "relay": tenant.relay,
            "bridges": [bridge.as_data() for bridge in user.bridges],
        }
    return clients


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
