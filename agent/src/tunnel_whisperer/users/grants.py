"""What a user is granted, and the apps that grants name: one schema for the inventory, the command line and the API.

Standard library only: the collection uses it on the controller too.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from tunnel_whisperer.problems import Problems, below, quote
from tunnel_whisperer.users import times
from tunnel_whisperer.users.targets import LOOPBACK, Target, read_host, read_port, read_port_or_target

T = TypeVar("T")

SingleSession = Literal["off", "refuse", "takeover"]
SINGLE_SESSION: tuple[SingleSession, ...] = ("off", "refuse", "takeover")
"""When a user who is connected connects from elsewhere: both may, the first stays, or the second takes over."""

ORIGIN_INVENTORY = "inventory"
"""What Ansible made; a purge removes only what is of its own origin."""

ORIGIN_CLI = "cli"
"""What was made by hand, with `tw user` and `tw app`."""

APP_FIELDS = ("ports", "host", "local_ports", "description")
GRANT_FIELDS = ("apps", "ports", "local_ports", "not_before", "expires", "single_session", "comment")
LONGEST_TEXT = 200
"""Characters of a comment or a description."""


@dataclass(frozen=True, slots=True)
class App:
    """A named list of targets; `local_ports` suggests where they appear on a client."""

    name: str
    targets: tuple[Target, ...]
    local_ports: Mapping[Target, int] = field(default_factory=dict)
    description: str = ""
    origin: str = ORIGIN_INVENTORY

    def as_data(self) -> dict[str, Any]:
        """Return it as `read_app` takes it."""
        return {
            "ports": [target.port for target in self.targets],
            "host": self.targets[0].host if self.targets else LOOPBACK,
            "local_ports": {str(target.port): local for target, local in self.local_ports.items()},
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user may reach, and when; times are UTC, `expires` is the first moment at which it no longer holds."""

    apps: tuple[str, ...] = ()
    ports: tuple[Target, ...] = ()
    local_ports: Mapping[Target, int] = field(default_factory=dict)
    not_before: datetime | None = None
    expires: datetime | None = None
    single_session: SingleSession = "off"
    comment: str = ""

    def targets(self, apps: Mapping[str, App]) -> frozenset[Target]:
        """Return every target, those of its apps included."""
        named = (target for name in self.apps if name in apps for target in apps[name].targets)
        return frozenset((*named, *self.ports))

    def as_data(self) -> dict[str, Any]:
        """Return it as `read_grant` takes it."""
        return {
            "apps": list(self.apps),
            "ports": [target.as_data() for target in self.ports],
            "local_ports": {str(target.as_data()): local for target, local in self.local_ports.items()},
            "not_before": None if self.not_before is None else times.write(self.not_before),
            "expires": None if self.expires is None else times.write(self.expires),
            "single_session": self.single_session,
            "comment": self.comment,
        }


NOTHING = Grant()
"""What a user has to whom nothing was given."""


def read_apps(problems: Problems, given: object, where: str, *, origin: str = ORIGIN_INVENTORY) -> dict[str, App]:
    """Read apps by name; what is wrong is noted, and such an app leads nowhere, so that it is not unknown besides."""
    found: dict[str, App] = {}
    for name, fields in problems.mapping(given, where).items():
        app = read_app(problems, name, fields, below(where, name), origin=origin)
        found[str(name)] = app or App(str(name), ())
    return found


def read_app(
    problems: Problems, given_name: object, fields: object, where: str, *, origin: str = ORIGIN_INVENTORY
) -> App | None:
    """Read one app; None where something is wrong with it, which is noted."""
    before = len(problems)
    name = problems.name("app", given_name, where)
    app = problems.mapping(fields, where, APP_FIELDS)
    host = LOOPBACK
    if app.get("host") is not None:
        host = problems.read(read_host, app["host"], f"{where}.host") or host
    ports = _read_list(
        problems,
        app.get("ports"),
        f"{where}.ports",
        lambda item, at: problems.read(read_port, item, at),
        lambda port: f"port {port}",
    )
    if not ports and not app.get("ports"):
        problems.add(f"{where}.ports", "is missing; accepted: a list with at least one port")
    targets = tuple(Target(host, port) for port in ports)
    local = _read_local_ports(
        problems, app.get("local_ports"), f"{where}.local_ports", targets, lambda key: Target(host, read_port(key))
    )
    description = read_text(problems, app.get("description"), f"{where}.description")
    if name is None or len(problems) > before:
        return None
    return App(name, targets, local, description, origin)


def read_grant(problems: Problems, found: Mapping[object, object], where: str, apps: Mapping[str, App]) -> Grant:
    """Read what a user is granted from the fields of GRANT_FIELDS; what is wrong is noted."""
    names = read_names(problems, found.get("apps"), f"{where}.apps", "app", apps)
    ports = read_targets(problems, found.get("ports"), f"{where}.ports")
    if not found.get("apps") and not found.get("ports"):
        problems.add(where, "needs at least one of apps and ports")
    grant = Grant(names, ports)
    not_before = _read_moment(problems, found, "not_before", where)
    expires = _read_moment(problems, found, "expires", where)
    if not_before is not None and expires is not None and expires <= not_before:
        problems.add(f"{where}.expires", f"{times.write(expires)} is not after not_before, {times.write(not_before)}")
    return Grant(
        apps=names,
        ports=ports,
        local_ports=_read_local_ports(
            problems,
            found.get("local_ports"),
            f"{where}.local_ports",
            sorted(grant.targets(apps)),
            read_port_or_target,
        ),
        not_before=not_before,
        expires=expires,
        single_session=_read_single_session(problems, found.get("single_session"), f"{where}.single_session"),
        comment=read_text(problems, found.get("comment"), f"{where}.comment"),
    )


def read_names(problems: Problems, value: object, where: str, kind: str, known: Iterable[str]) -> tuple[str, ...]:
    """Read a list of known names, each at most once."""
    known = tuple(known)
    return _read_list(
        problems,
        value,
        where,
        lambda item, at: problems.one_of(kind, item, known, at),
        lambda name: f'{kind} "{name}"',
    )


def read_targets(problems: Problems, value: object, where: str) -> tuple[Target, ...]:
    """Read a list of ports and of `host:port`, each at most once."""
    return _read_list(
        problems,
        value,
        where,
        lambda item, at: problems.read(read_port_or_target, item, at),
        lambda target: f"port {target.as_data()}",
    )


def read_text(problems: Problems, value: object, where: str) -> str:
    """Read a short text on one line; nothing counts as an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        problems.add(where, f"{quote(value)} is no text")
        return ""
    if not value.isprintable() or len(value) > LONGEST_TEXT:
        problems.add(where, f"{quote(value)} is no text on one line of at most {LONGEST_TEXT} characters")
        return ""
    return value.strip()


def check_hosts(problems: Problems, targets: Collection[Target], hosts: Collection[str], where: str) -> None:
    """Note every target at a host that the operator has not declared for the server."""
    for host in sorted({target.host for target in targets if not target.reachable(hosts)}):
        known = ", ".join(sorted(hosts)) or "none"
        problems.add(where, f'host "{host}" is not declared for this server (server_target_hosts: {known})')


def _read_list(
    problems: Problems, value: object, where: str, read: Callable[[object, str], T | None], shown: Callable[[T], str]
) -> tuple[T, ...]:
    """Read a list in which nothing may stand twice; `read` notes itself what is wrong with an item."""
    found: dict[T, int] = {}
    for index, item in enumerate(problems.items(value, where)):
        read_item = read(item, f"{where}[{index}]")
        if read_item is None:
            continue
        if read_item in found:
            problems.add(f"{where}[{index}]", f"{shown(read_item)} is there already, as {where}[{found[read_item]}]")
        found.setdefault(read_item, index)
    return tuple(found)


def _read_local_ports(
    problems: Problems,
    value: object,
    where: str,
    targets: Collection[Target],
    read: Callable[[object], Target],
) -> Mapping[Target, int]:
    """Read where targets are to appear on a client: a mapping from the port there to the port here."""
    local: dict[Target, int] = {}
    for there, here in problems.mapping(value, where).items():
        item = below(where, str(there))
        port = problems.read(read_port, here, item)
        target = problems.read(read, there, item)
        if port is None or target is None:
            continue
        if target not in targets:
            known = ", ".join(str(known.as_data()) for known in sorted(targets)) or "none"
            problems.add(item, f"{target.as_data()} is not among the ports; known: {known}")
            continue
        local[target] = port
    return local


def _read_moment(problems: Problems, found: Mapping[object, object], key: str, where: str) -> datetime | None:
    if found.get(key) is None:
        return None
    reader = times.read_end if key == "expires" else times.read_begin
    return problems.read(reader, found[key], f"{where}.{key}")


def _read_single_session(problems: Problems, value: object, where: str) -> SingleSession:
    if value is None or value is False:  # YAML reads a bare `off` as False
        return "off"
    if value is True:
        return "refuse"
    for known in SINGLE_SESSION:
        if value == known:
            return known
    problems.add(where, f"{quote(value)} is not known; accepted: {', '.join(SINGLE_SESSION)}")
    return "off"
