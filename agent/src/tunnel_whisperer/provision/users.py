"""The users of a tenant, on its server: what is wanted, checked, certified and kept."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tunnel_whisperer import names, pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction
from tunnel_whisperer.problems import Problems, below, quote, suggest
from tunnel_whisperer.provision.credentials import Credentials, Fresh, Maker
from tunnel_whisperer.provision.tenant import load_authority
from tunnel_whisperer.users import store, times
from tunnel_whisperer.users.desired import DesiredUser, read_desired
from tunnel_whisperer.users.grants import App, check_hosts, read_apps
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users.plan import Action, Making, Plan, Policy, check_wanted, make_plan, merge_apps, needs_bundle


@dataclass(frozen=True, slots=True)
class UsersOutcome:
    """The users as they will be, what happens to each that was mentioned, and what was made for those with a bundle."""

    plan: Plan
    users: UserSet
    desired: Mapping[str, DesiredUser]
    intermediate: str
    credentials: Mapping[str, Credentials]

    def result(self, action: Action) -> dict[str, Any]:
        """Return what is told of one user; no secret is in it."""
        told: dict[str, Any] = {"action": action.kind, "changed": action.changes, "reasons": list(action.reasons)}
        user = self.users.get(action.name)
        if user is not None:
            told["certificate"] = user.certificate + self.intermediate if user.certificate else None
            told["enrolment"] = None if user.enrolment is None else times.write(user.enrolment)
        return told

    @property
    def uuids(self) -> dict[str, str]:
        """The UUIDs of the users that were mentioned and are there; they are secrets."""
        return {name: self.users[name].uuid for name in self.plan.actions if name in self.users}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's server keeps its authority and its users, and to whom the users file belongs."""

    identity_dir: Path
    users_file: Path
    owner: Owner = KEEP_OWNER


def provision_users(
    transaction: Transaction,
    given: object,
    policy: Policy,
    place: Place,
    *,
    now: datetime,
    apps: object = None,
    target_hosts: Collection[str] = (),
    pretend: bool = False,
    fresh: Fresh | None = None,
    check_bundles: Callable[[Problems, Sequence[DesiredUser]], None] | None = None,
) -> UsersOutcome:
    """Have these users and apps in the users file; without `apps` those that are there stay.

    Certificates are signed by the tenant's authority; with `pretend` it may be missing, as it is when nothing was
    written so far. `fresh` is what an earlier call made, whose plan is to come true, `check_bundles` notes why the
    bundles of these users cannot be made. Raises ConfigError (InvalidInputError with all that is wrong with the users).
    """
    if fault := names.tenant_fault(policy.tenant):
        raise ConfigError(fault, where="tenant")
    current = store.load_into(transaction, place.users_file)
    problems = Problems()
    wanted_apps = _read_apps(problems, apps, policy.origin, target_hosts)
    desired = read_desired(problems, given, merge_apps(current.apps, wanted_apps, policy), hosts=target_hosts)
    requested = _requested_keys(problems, desired)
    _check_renewals(problems, policy, desired)
    check_wanted(problems, current, desired, policy, now)
    if check_bundles is not None:
        check_bundles(problems, [user for user in desired.values() if needs_bundle(current, user, policy)])
    problems.check()
    authority = _authority(transaction, place.identity_dir, policy.tenant, now, pretend=pretend)
    if authority is None and not pretend and any(user.csr or user.bundle for user in desired.values()):
        hint = "give module tenant the certificate that the relay's authority made"
        raise ConfigError("holds no signed authority yet", where=str(place.identity_dir), hint=hint)
    maker = Maker(policy.tenant, authority, requested, now, fresh or Fresh())
    plan = make_plan(
        current,
        desired,
        policy,
        Making(now, uuid=maker.fresh.uuid, key=maker.fresh.ssh_public_key),
        apps=wanted_apps,
        stale=_stale(current, maker.requested, authority, policy.tenant, now),
    )
    users = plan.outcome(maker.certificate)
    transaction.folders(place.users_file.parent, mode=0o750, owner=place.owner)
    store.save(transaction, place.users_file, users, shown=plan.diff(), owner=place.owner)
    made = {name: maker.credentials(users[name]) for name, action in plan.actions.items() if action.bundle}
    return UsersOutcome(plan, users, desired, pki.pem(authority.certificate) if authority else "", made)


def _read_apps(problems: Problems, given: object, origin: str, hosts: Collection[str]) -> dict[str, App] | None:
    if given is None:
        return None
    apps = read_apps(problems, given, "apps", origin=origin)
    for app in apps.values():
        check_hosts(problems, app.targets, hosts, below("apps", app.name))
    return apps


def _check_renewals(problems: Problems, policy: Policy, desired: Mapping[str, DesiredUser]) -> None:
    for name in sorted(policy.renew):
        user = desired.get(name)
        if user is None:
            problems.add("renew_bundles", f"unknown user {quote(name)} ({suggest(name, desired)})")
        elif user.bundle is None:
            problems.add("renew_bundles", f'user "{name}" has no bundle')


def _authority(
    transaction: Transaction, identity_dir: Path, tenant: str, now: datetime, *, pretend: bool
) -> pki.Authority | None:
    try:
        return load_authority(transaction, identity_dir, tenant, now)
    except ConfigError:
        if pretend:  # a run would have put another one there by now
            return None
        raise


def _requested_keys(problems: Problems, desired: Mapping[str, DesiredUser]) -> dict[str, pki.TlsPublicKey]:
    keys = {}
    for user in desired.values():
        if user.csr is not None:
            key = problems.read(pki.read_csr, user.csr, below("users", user.name) + ".csr")
            if key is not None:
                keys[user.name] = key
    return keys


def _stale(
    current: UserSet,
    keys: Mapping[str, pki.TlsPublicKey],
    authority: pki.Authority | None,
    tenant: str,
    now: datetime,
) -> dict[str, str]:
    """Say, for each user that asked, why the certificate it has does not serve."""
    found = {}
    for name, key in keys.items():
        user = current.get(name)
        if user is None:
            continue
        reason: str | None = "it has none"
        if user.certificate and authority is not None:
            reason = _stale_text(user.certificate, authority, key, pki.user_name(name, tenant), now)
        if reason:
            found[name] = reason
    return found


def _stale_text(
    certificate: str, authority: pki.Authority, key: pki.TlsPublicKey, name: str, now: datetime
) -> str | None:
    try:
        leaf = pki.read_certificates(certificate)[0]
    except ValueError as error:
        return f"the one it has {error}"
    return pki.stale(leaf, authority.certificate, key, name, now)
