"""Users as somebody wants them to be. Standard library only."""

from dataclasses import dataclass

from tunnel_whisperer.problems import Problems, below, quote
from tunnel_whisperer.users.inventory import STATES
from tunnel_whisperer.users.keys import PublicKey, read_public_key
from tunnel_whisperer.users.targets import LOOPBACK, Target, read_host, read_port

_KEYS = ("state", "host", "context", "public_key", "csr", "apps", "ports", "bridges")
_BRIDGE_KEYS = ("name", "host", "port", "local_port")


@dataclass(frozen=True, slots=True)
class DesiredUser:
    """A user as wanted. Without a key it belongs to a host that was not reached, and keeps the key it has."""

    name: str
    present: bool = True
    targets: frozenset[Target] = frozenset()
    apps: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    host: str | None = None
    key: PublicKey | None = None
    csr: str | None = None


def read_desired(given: object, *, where: str = "users") -> dict[str, DesiredUser]:
    """Read users by name, as module `plan` returns them with `public_key` and `csr` put in for managed hosts.

    Raises InvalidInputError with everything that is wrong.
    """
    problems = Problems()
    found: dict[str, DesiredUser] = {}
    for name, fields in problems.mapping(given, where).items():
        user = _read(problems, name, fields, below(where, name))
        if user is not None:
            found[user.name] = user
    problems.check()
    return found


def _read(problems: Problems, given_name: object, fields: object, where: str) -> DesiredUser | None:
    name = problems.name("user", given_name, where)
    found = problems.mapping(fields, where, _KEYS)
    state = problems.one_of("state", found.get("state", "present"), STATES, f"{where}.state")
    if name is None:
        return None
    if state == "absent":
        return DesiredUser(name, present=False)
    host, key, csr = found.get("host"), found.get("public_key"), found.get("csr")
    if host is None and key is None:
        problems.add(where, "needs host or public_key")
    if csr is not None and key is None:
        problems.add(where, "has a csr but no public_key")
    if csr is not None and not isinstance(csr, str):
        problems.add(f"{where}.csr", f"{quote(csr)} is no text")
    apps = [str(app) for app in problems.items(found.get("apps"), f"{where}.apps")]
    ports = [
        problems.read(read_port, port, f"{where}.ports[{index}]")
        for index, port in enumerate(problems.items(found.get("ports"), f"{where}.ports"))
    ]
    return DesiredUser(
        name,
        targets=_targets(problems, found.get("bridges"), f"{where}.bridges"),
        apps=tuple(apps),
        ports=tuple(port for port in ports if port is not None),
        host=None if host is None else str(host),
        key=None if key is None else problems.read(read_public_key, key, f"{where}.public_key"),
        csr=None if csr is None else str(csr),
    )


def _targets(problems: Problems, value: object, where: str) -> frozenset[Target]:
    found: set[Target] = set()
    bridges = problems.items(value, where)
    if not bridges:
        problems.add(where, "is empty; a user has at least one bridge")
    for index, fields in enumerate(bridges):
        item = f"{where}[{index}]"
        bridge = problems.mapping(fields, item, _BRIDGE_KEYS)
        host = problems.read(read_host, bridge.get("host", LOOPBACK), f"{item}.host")
        port = problems.read(read_port, bridge.get("port"), f"{item}.port")
        if host is not None and port is not None:
            found.add(Target(host, port))
    return frozenset(found)
