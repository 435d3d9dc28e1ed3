"""The users of a tenant on its server: what is wanted becomes a plan, its certificates, and the users file."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tunnel_whisperer import names, pki
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction
from tunnel_whisperer.problems import Problems, below
from tunnel_whisperer.provision.tenant import load_authority
from tunnel_whisperer.users import store
from tunnel_whisperer.users.desired import DesiredUser, read_desired
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users.plan import Action, Plan, Policy, make_plan


@dataclass(frozen=True, slots=True)
class UsersOutcome:
    """The users as they will be, and what happens to each that was mentioned."""

    plan: Plan
    users: UserSet
    intermediate: str

    def result(self, action: Action) -> dict[str, Any]:
        """Return what is told of one user; `uuid` is a secret."""
        told: dict[str, Any] = {"action": action.kind, "changed": action.changes, "reasons": list(action.reasons)}
        user = self.users.get(action.name)
        if user is not None:
            told["uuid"] = user.uuid
            told["certificate"] = user.certificate + self.intermediate if user.certificate else None
        return told


def provision_users(
    transaction: Transaction,
    given: object,
    policy: Policy,
    *,
    identity_dir: Path,
    users_file: Path,
    now: datetime,
    owner: Owner = KEEP_OWNER,
    pretend: bool = False,
) -> UsersOutcome:
    """Have these users in `users_file`.

    Certificates are signed by the tenant's authority in `identity_dir`; with `pretend` it may be missing, as it is when
    nothing was written so far. Raises ConfigError (InvalidInputError for what is wrong with the users).
    """
    if fault := names.tenant_fault(policy.tenant):
        raise ConfigError(fault, where="tenant")
    desired = read_desired(given)
    current = store.load_into(transaction, users_file)
    authority = _authority(transaction, identity_dir, policy.tenant, now, pretend=pretend)
    if authority is None and not pretend and any(user.csr for user in desired.values()):
        hint = "give module tenant the certificate that the relay's authority made"
        raise ConfigError("holds no signed authority yet", where=str(identity_dir), hint=hint)
    keys = _requested_keys(desired)
    plan = make_plan(current, desired, policy, stale=_stale(current, keys, authority, policy.tenant, now))

    def issue(name: str) -> str:
        if authority is None:
            return ""
        return pki.pem(pki.sign_leaf(authority, keys[name], pki.user_name(name, policy.tenant), now))

    users = plan.outcome(issue)
    transaction.folders(users_file.parent, mode=0o750, owner=owner)
    store.save(transaction, users_file, users, shown=plan.diff(), owner=owner)
    return UsersOutcome(plan, users, pki.pem(authority.certificate) if authority else "")


def _authority(
    transaction: Transaction, identity_dir: Path, tenant: str, now: datetime, *, pretend: bool
) -> pki.Authority | None:
    try:
        return load_authority(transaction, identity_dir, tenant, now)
    except ConfigError:
        if pretend:  # a run would have put another one there by now
            return None
        raise


def _requested_keys(desired: Mapping[str, DesiredUser]) -> dict[str, pki.TlsPublicKey]:
    problems = Problems()
    keys = {}
    for user in desired.values():
        if user.csr is not None:
            key = problems.read(pki.read_csr, user.csr, below("users", user.name) + ".csr")
            if key is not None:
                keys[user.name] = key
    problems.check()
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
