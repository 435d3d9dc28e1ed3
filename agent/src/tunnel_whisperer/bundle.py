"""A bundle: all that one context connects with, in one sealed file for a machine that no playbook reaches.

It is a JSON document in a file of the age format, so the age command opens it too. One of kind `identity` holds a
user's lasting credentials. One of kind `enrolment` holds short-lived ones, good for one exchange: the lasting keys are
then made on the user's own machine and never travel.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

from tunnel_whisperer import age, pki
from tunnel_whisperer.config import PROFILES, Bridge, Profile
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.names import bridge_fault
from tunnel_whisperer.problems import InvalidInputError, Problems, quote
from tunnel_whisperer.provision.identities import read_uuid
from tunnel_whisperer.users.inventory import RESERVED_CONTEXTS
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.targets import read_host, read_port

T = TypeVar("T")

FORMAT = "tunnel-whisperer-bundle"
VERSION = 1

Kind = Literal["identity", "enrolment"]
IDENTITY: Kind = "identity"
ENROLMENT: Kind = "enrolment"
KINDS: tuple[Kind, ...] = (IDENTITY, ENROLMENT)

_MOST = 1000
"""Bridges or host keys of one bundle."""
_MOST_LINKS = 8
_RELAY_KEYS = ("host", "port", "profile", "links", "roots")
_BRIDGE_KEYS = ("name", "host", "port", "local_port")
_KEYS = (
    *(
        "format",
        "version",
        "kind",
        "made",
        "until",
        "context",
        "tenant",
        "user",
        "relay",
        "server_host_keys",
        "bridges",
    ),
    *("uuid", "tls_key", "tls_chain", "ssh_key"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """How to reach the relay; `roots` (PEM) replace the system's trusted roots."""

    host: str
    port: int = 443
    profile: Profile = "h2"
    links: int = 2
    roots: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a bundle says; its secrets are not shown."""

    kind: Kind
    context: str
    tenant: str
    user: str
    relay: Relay
    server_host_keys: tuple[str, ...]
    bridges: tuple[Bridge, ...]
    uuid: str = field(repr=False)
    tls_key: str = field(repr=False)
    """PEM, PKCS#8."""
    tls_chain: str
    """PEM: the leaf, and the tenant's intermediate behind it."""
    ssh_key: str = field(repr=False)
    """PEM, OpenSSH's own form."""
    made: datetime
    until: datetime | None = None
    """When it stops to be of use; always there in one of kind `enrolment`."""


def seal(bundle: Bundle, *, passphrase: str | None = None, recipients: Sequence[str] = ()) -> bytes:
    """Return the bundle as a file: sealed to a passphrase, or to age or SSH public keys; one of both.

    A passphrase takes two seconds and holds up this thread, no other. Raises ConfigError for a passphrase or key that
    will not do, InvalidInputError for a bundle that could not be imported.
    """
    document = write(bundle)
    read(document, where="bundle")
    return age.encrypt(document, passphrase=passphrase, recipients=recipients)


def unseal(
    data: bytes, *, passphrase: str | None = None, identities: Sequence[bytes] = (), where: str = "bundle"
) -> Bundle:
    """Open a file with its passphrase, or with private keys (the content of their files), and read the bundle in it.

    Raises ConfigError, which names `where`: InvalidInputError with all that is wrong with what the bundle says.
    """
    return read(age.decrypt(data, passphrase=passphrase, identities=identities, where=where), where=where)


def write(bundle: Bundle) -> bytes:
    """Return the document."""
    relay = bundle.relay
    document = {
        "format": FORMAT,
        "version": VERSION,
        "kind": bundle.kind,
        "made": _time_text(bundle.made),
        "until": None if bundle.until is None else _time_text(bundle.until),
        "context": bundle.context,
        "tenant": bundle.tenant,
        "user": bundle.user,
        "relay": {key: getattr(relay, key) for key in _RELAY_KEYS},
        "server_host_keys": list(bundle.server_host_keys),
        "bridges": [{key: getattr(bridge, key) for key in _BRIDGE_KEYS} for bridge in bundle.bridges],
        "uuid": bundle.uuid,
        "tls_key": bundle.tls_key,
        "tls_chain": bundle.tls_chain,
        "ssh_key": bundle.ssh_key,
    }
    return json.dumps(document, indent=1).encode()


def read(document: bytes, *, where: str) -> Bundle:
    """Read the document; raises ConfigError, which names `where`."""
    given = _parse(document, where)
    problems = Problems()
    try:
        bundle = _read(given, problems)
        problems.check()
    except InvalidInputError as error:
        error.where, error.hint = where, "nothing was set up; let whoever made it make another"
        raise
    return bundle


def _parse(document: bytes, where: str) -> Mapping[object, object]:
    """Return the document's fields when it is a bundle of a version we know."""
    try:
        given = json.loads(document.decode(), object_pairs_hook=_no_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = f": {error}" if isinstance(error, _StrictError) else ""
        raise ConfigError(f"holds no JSON{reason}", where=where, hint="it was not made by tw") from None
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise ConfigError("is an age file, but no bundle is in it", where=where, hint="make one: tw user export")
    version = given.get("version")
    if isinstance(version, bool) or version != VERSION:
        hint = "install a newer tw here, or have the bundle made by an older one"
        raise ConfigError(f"is a bundle of version {quote(version)}; this tw reads {VERSION}", where=where, hint=hint)
    return given


class _StrictError(ValueError):
    """JSON that is understood differently here and there."""


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _StrictError(f"key {quote(key)} is given twice")
        found[key] = value
    return found


def _no_constant(text: str) -> object:
    raise _StrictError(f"{text} is no number")


def _read(given: Mapping[object, object], problems: Problems) -> Bundle:
    """Read all fields; a bundle that problems were noted for is not to be used."""
    found = problems.mapping(given, "bundle", _KEYS)
    kind = problems.one_of("kind", found.get("kind"), KINDS, "kind")
    context = problems.name("context", found.get("context"), "context")
    if context in RESERVED_CONTEXTS:
        problems.add("context", f"{quote(context)} is reserved")
    until = None if found.get("until") is None else problems.read(_time, found["until"], "until")
    if kind == ENROLMENT and found.get("until") is None:
        problems.add("until", "is missing; a bundle for enrolment ends some day")
    bridges = _bridges(problems, found.get("bridges"))
    if kind == IDENTITY and not found.get("bridges"):
        problems.add("bridges", "is empty; accepted: a list with at least one bridge")
    host_keys = [
        str(problems.read(read_public_key, line, f"server_host_keys[{index}]"))
        for index, line in enumerate(_items(problems, found.get("server_host_keys"), "server_host_keys"))
    ]
    if not host_keys:
        problems.add("server_host_keys", "is empty; without one the server cannot be told from another")
    bundle = Bundle(
        kind=cast(Kind, kind),
        context=str(context),
        tenant=str(problems.name("tenant", found.get("tenant"), "tenant")),
        user=str(problems.name("user", found.get("user"), "user")),
        relay=_relay(problems, found.get("relay")),
        server_host_keys=tuple(host_keys),
        bridges=bridges,
        uuid=str(problems.read(_text(read_uuid), found.get("uuid"), "uuid")),
        tls_key=str(problems.read(_text(_tls_key), found.get("tls_key"), "tls_key")),
        tls_chain=str(problems.read(_certificates, found.get("tls_chain"), "tls_chain")),
        ssh_key=str(problems.read(_text(_ssh_key), found.get("ssh_key"), "ssh_key")),
        made=problems.read(_time, found.get("made"), "made") or datetime.now(UTC),
        until=until,
    )
    if not len(problems):
        _check_fit(bundle, problems)
    return bundle


def _check_fit(bundle: Bundle, problems: Problems) -> None:
    """Make sure that key and certificates belong together; whether they are valid now is the importer's business."""
    leaf, *behind = pki.read_certificates(bundle.tls_chain)
    if pki.public_key(leaf) != pki.load_key(bundle.tls_key.encode()).public_key():
        problems.add("tls_chain", "is for another key than tls_key")
    if not behind:
        problems.add("tls_chain", "holds 1 certificate; the leaf and the tenant's intermediate are wanted")


def _relay(problems: Problems, value: object) -> Relay:
    if not isinstance(value, Mapping):
        problems.add("relay", f"{quote(value)} is no mapping")
        return Relay(host="")
    found = problems.mapping(value, "relay", _RELAY_KEYS)
    profile = problems.one_of("profile", found.get("profile"), PROFILES, "relay.profile")
    links = found.get("links")
    if isinstance(links, bool) or not isinstance(links, int) or not 1 <= links <= _MOST_LINKS:
        problems.add("relay.links", f"{quote(links)} is not accepted; accepted: a whole number from 1 to {_MOST_LINKS}")
        links = 1
    roots = found.get("roots")
    return Relay(
        host=str(problems.read(read_host, found.get("host"), "relay.host")),
        port=problems.read(read_port, found.get("port"), "relay.port") or 0,
        profile=cast(Profile, profile),
        links=links,
        roots=None if roots is None else problems.read(_certificates, roots, "relay.roots"),
    )


def _bridges(problems: Problems, value: object) -> tuple[Bridge, ...]:
    bridges: list[Bridge] = []
    names: set[str] = set()
    local: dict[int, str] = {}
    for index, item in enumerate(_items(problems, value, "bridges")):
        where = f"bridges[{index}]"
        if not isinstance(item, Mapping):
            problems.add(where, f"{quote(item)} is no mapping")
            continue
        found = problems.mapping(item, where, _BRIDGE_KEYS)
        name = problems.read(_text(_bridge_name), found.get("name"), f"{where}.name")
        host = problems.read(read_host, found.get("host"), f"{where}.host")
        port = problems.read(read_port, found.get("port"), f"{where}.port")
        local_port = problems.read(read_port, found.get("local_port"), f"{where}.local_port")
        if name in names:
            problems.add(f"{where}.name", f"{quote(name)} is the name of another bridge too")
        if local_port in local:
            problems.add(f"{where}.local_port", f"{local_port} is taken by bridge {quote(local[local_port])}")
        if name is None or host is None or port is None or local_port is None:
            continue
        names.add(name)
        local[local_port] = name
        bridges.append(Bridge(name=name, host=host, port=port, local_port=local_port))
    return tuple(bridges)


def _items(problems: Problems, value: object, where: str) -> list[object]:
    found = problems.items(value, where)
    if len(found) > _MOST:
        problems.add(where, f"has {len(found)} items; at most {_MOST} are accepted")
        return found[:1]
    return found


def _text(reader: Callable[[str], T]) -> Callable[[object], T]:
    """Return a reader that takes texts only."""

    def read_text(value: object) -> T:
        if not isinstance(value, str):
            raise ValueError("is missing" if value is None else "is no text")
        return reader(value)

    return read_text


def _bridge_name(text: str) -> str:
    if fault := bridge_fault(text):
        raise ValueError(f"no name for a bridge: {fault}")
    return text


def _tls_key(text: str) -> str:
    pki.load_key(text.encode())
    return text


def _ssh_key(text: str) -> str:
    pki.ssh_public_line(text.encode(), "")
    return text


def _certificates(value: object) -> str:
    """Return certificates in the one form in which we write them; what else was in the text is dropped."""
    return pki.pem(*pki.read_certificates(value))


def _time(value: object) -> datetime:
    if isinstance(value, str) and len(value) <= 40:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    raise ValueError(f"{quote(value)} is no moment; accepted: one in UTC, such as 2026-01-31T12:00:00+00:00")


def _time_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
