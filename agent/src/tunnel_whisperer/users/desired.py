"""Users as somebody wants them to be. Standard library only."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunnel_whisperer.problems import Problems, below, quote
from tunnel_whisperer.users.bridges import plan_bridges
from tunnel_whisperer.users.grants import GRANT_FIELDS, NOTHING, App, Grant, check_hosts, read_grant
from tunnel_whisperer.users.keys import PublicKey, read_public_key

BundleKind = Literal["enrolment", "identity"]
BUNDLE_KINDS: tuple[BundleKind, ...] = ("enrolment", "identity")
"""A bundle lets its reader make keys of its own, once and soon, or holds the lasting keys themselves."""

STATES = ("present", "absent")
ENROLMENT_HOURS = 72
LONGEST_ENROLMENT = 24 * 90

USER_FIELDS = ("state", "host", "context", "public_key", "csr", "bundle", *GRANT_FIELDS)
_BUNDLE_FIELDS = ("kind", "to", "hours")
_AGE_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")


@dataclass(frozen=True, slots=True)
class BundleWish:
    """A file by which the user is to get its credentials; without `to` it is sealed with a passphrase."""

    kind: BundleKind = "enrolment"
    to: str | None = None
    """An age recipient or an SSH public key that the file is encrypted to."""
    hours: int = ENROLMENT_HOURS
    """So long an enrolment may be used."""

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"kind": self.kind, "to": self.to, "hours": self.hours}


@dataclass(frozen=True, slots=True)
class DesiredUser:
    """A user as wanted. Without key and bundle it belongs to a host that was not reached, and keeps the key it has."""

    name: str
    present: bool = True
    grant: Grant = NOTHING
    host: str | None = None
    context: str | None = None
    key: PublicKey | None = None
    csr: str | None = None
    bundle: BundleWish | None = None

    def as_data(self) -> dict[str, Any]:
        """Return it as `read_user` takes it."""
        if not self.present:
            return {"state": "absent"}
        return {
            "state": "present",
            "host": self.host,
            "context": self.context,
            "public_key": None if self.key is None else str(self.key),
            "csr": self.csr,
            "bundle": None if self.bundle is None else self.bundle.as_data(),
            **self.grant.as_data(),
        }


def read_desired(
    problems: Problems, given: object, apps: Mapping[str, App], *, hosts: Collection[str] = (), where: str = "users"
) -> dict[str, DesiredUser]:
    """Read users by name, as module `plan` returns them with `public_key` and `csr` put in for managed hosts.

    `hosts` are those behind the server that may be reached. What is wrong is noted.
    """
    found: dict[str, DesiredUser] = {}
    for given_name, fields in problems.mapping(given, where).items():
        at = below(where, given_name)
        user = read_user(problems, given_name, problems.mapping(fields, at, USER_FIELDS), at, apps, hosts=hosts)
        if user is not None:
            found[user.name] = user
    return found


def read_user(
    problems: Problems,
    given_name: object,
    found: Mapping[object, object],
    where: str,
    apps: Mapping[str, App],
    *,
    hosts: Collection[str] = (),
) -> DesiredUser | None:
    """Read one user; what is wrong is noted. None where not even the name serves."""
    name = problems.name("user", given_name, where)
    state = problems.one_of("state", found.get("state", "present"), STATES, f"{where}.state")
    if state == "absent":
        return None if name is None else DesiredUser(name, present=False)
    host, csr, context = found.get("host"), found.get("csr"), found.get("context")
    key = bundle = None
    if found.get("public_key") is not None:
        key = problems.read(read_public_key, found["public_key"], f"{where}.public_key")
    if found.get("bundle") is not None:
        bundle = _read_bundle(problems, found["bundle"], f"{where}.bundle")
    _check_ways(problems, found, where)
    if csr is not None and not isinstance(csr, str):
        problems.add(f"{where}.csr", f"{quote(csr)} is no text")
    grant = read_grant(problems, found, where, apps)
    check_hosts(problems, grant.targets(apps), hosts, where)
    plan_bridges(problems, grant, apps, where)
    if name is None:
        return None
    return DesiredUser(
        name,
        grant=grant,
        host=None if host is None else str(host),
        context=None if context is None else str(context),
        key=key,
        csr=None if csr is None else str(csr),
        bundle=bundle,
    )


def _check_ways(problems: Problems, found: Mapping[object, object], where: str) -> None:
    """There has to be one way by which the user gets its credentials; a managed host sends its key along."""
    if all(found.get(way) is None for way in ("host", "public_key", "bundle")):
        problems.add(where, "needs host (a host of tw_clients, which makes its own key), bundle, or public_key")
    if found.get("bundle") is not None and (found.get("host") is not None or found.get("public_key") is not None):
        problems.add(where, "has bundle beside host or public_key; one way to its credentials is enough")
    if found.get("csr") is not None and found.get("public_key") is None:
        problems.add(where, "has a csr but no public_key")


def _read_bundle(problems: Problems, value: object, where: str) -> BundleWish | None:
    """Read what is wished of a bundle; None where something is wrong with it, which is noted."""
    before = len(problems)
    found = problems.mapping(value, where, _BUNDLE_FIELDS)
    kind: BundleKind = "identity" if found.get("kind") == "identity" else "enrolment"
    problems.one_of("kind of bundle", found.get("kind", kind), BUNDLE_KINDS, f"{where}.kind")
    hours = found.get("hours", ENROLMENT_HOURS)
    if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= LONGEST_ENROLMENT:
        problems.add(
            f"{where}.hours", f"{quote(hours)} is not accepted; a whole number from 1 to {LONGEST_ENROLMENT} is"
        )
        hours = ENROLMENT_HOURS
    to = found.get("to")
    recipient = None if to is None else problems.read(read_recipient, to, f"{where}.to")
    return BundleWish(kind, recipient, hours) if len(problems) == before else None


def read_recipient(value: object) -> str:
    """Read whom a bundle may be encrypted to: an age recipient, or an SSH key of a type age can use."""
    if isinstance(value, str) and _AGE_RECIPIENT.fullmatch(value.strip()):
        return value.strip()
    if isinstance(value, str) and value.startswith("AGE-SECRET-KEY-"):
        raise ValueError("is a secret key; give the recipient that belongs to it (age1...) and make a new pair")
    if not isinstance(value, str) or value.strip().startswith("age1"):
        raise ValueError(f"{quote(value)} is no age recipient; accepted: age1..., or an SSH public key")
    key = read_public_key(value)
    if key.type not in ("ssh-ed25519", "ssh-rsa"):
        raise ValueError(f"is a key of type {key.type}; age encrypts to ssh-ed25519 and ssh-rsa")
    return str(key)
