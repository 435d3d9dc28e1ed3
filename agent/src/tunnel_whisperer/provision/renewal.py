"""Certificates that are asked for while the server's daemon runs: a user's renewal, its enrolment, the server's own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from tunnel_whisperer import identity, pki
from tunnel_whisperer.errors import ConfigError, NotGrantedError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.pki.certificates import CLOCK_SKEW
from tunnel_whisperer.problems import Problems
from tunnel_whisperer.provision.identities import PUBLIC_MODE
from tunnel_whisperer.provision.tenant import load_authority
from tunnel_whisperer.provision.users import Place
from tunnel_whisperer.tls_chain import Chain, find
from tunnel_whisperer.users import authorized_keys, store, times
from tunnel_whisperer.users.bridges import PlannedBridge, plan_bridges
from tunnel_whisperer.users.keys import PublicKey, read_public_key
from tunnel_whisperer.users.model import User, UserSet
from tunnel_whisperer.users.plan import new_uuid
from tunnel_whisperer.users.plan_text import describe_user

PAUSE = timedelta(minutes=1)
"""Between two certificates for one user, so that nobody keeps the server busy with asking."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who certifies, and the time."""

    authority: pki.Authority
    tenant: str
    now: datetime

    def certify(self, user: str, key: pki.TlsPublicKey) -> str:
        """Return a certificate for a user's key (PEM)."""
        return pki.pem(pki.sign_leaf(self.authority, key, pki.user_name(user, self.tenant), self.now))

    @property
    def latest_end(self) -> datetime:
        """When a certificate made now ends at the latest."""
        return min(self.now + timedelta(days=pki.LEAF_DAYS), self.authority.certificate.not_valid_after_utc)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a user shows to enrol: the key it logged in with, and what is to replace the credentials it was given."""

    logged_in: PublicKey
    ssh_public_key: object
    csr: object


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a user has once it has enrolled; `chain` is its certificate with the tenant's intermediate (PEM)."""

    uuid: str
    chain: str
    bridges: tuple[PlannedBridge, ...]


def plan_renewal(users: UserSet, name: str, logged_in: PublicKey, csr: object, signer: Signer) -> UserSet:
    """Return the users with the certificate of `name` made anew, or as they are while the one it has serves."""
    user = _user(users, name, logged_in)
    if user.enrolment is not None:
        raise NotGrantedError(f"{name} has to enrol first")
    key = _request(csr)
    own = pki.user_name(name, signer.tenant)
    leaf = _certificate(user)
    reason = None if leaf is None else pki.stale(leaf, signer.authority.certificate, key, own, signer.now)
    if leaf is not None and (reason is None or (reason == pki.HALF_OVER and signer.latest_end <= _end(leaf))):
        return users
    if leaf is not None and timedelta() <= signer.now - (leaf.not_valid_before_utc + CLOCK_SKEW) < PAUSE:
        raise NotGrantedError("a certificate was made a moment ago; ask again in a minute", retry=True)
    return _with(users, replace(user, certificate=signer.certify(name, key)))


def plan_enrolment(
    users: UserSet, name: str, shown: Credentials, signer: Signer, uuid: Callable[[], str] = new_uuid
) -> UserSet:
    """Return the users with `name` enrolled: another key, another UUID, a lasting certificate. It serves once."""
    user = _user(users, name, shown.logged_in)
    if user.enrolment is None:
        raise NotGrantedError(f"{name} does not have to enrol")
    if signer.now >= user.enrolment:
        raise NotGrantedError(f"the time to enrol ran out on {times.write(user.enrolment)}")
    try:
        key = read_public_key(shown.ssh_public_key)
    except ValueError as error:
        raise NotGrantedError(f"ssh_public_key {error}") from None
    if key == shown.logged_in:
        raise NotGrantedError("ssh_public_key is the one that was given to enrol with; make a new one")
    if any(str(key) == other.public_key for other in users.values()):
        raise NotGrantedError("ssh_public_key is the key of another user")
    line = authorized_keys.build(key, user.targets, f"{name}@{signer.tenant}")
    certificate = signer.certify(name, _request(shown.csr))
    return _with(users, replace(user, uuid=uuid(), authorized_key=line, certificate=certificate, enrolment=None))


def renew(
    transaction: Transaction,
    place: Place,
    tenant: str,
    name: str,
    logged_in: PublicKey,
    csr: object,
    *,
    now: datetime,
    last: store.Snapshot,
) -> str:
    """Have a certificate for a user that serves; return it with the tenant's intermediate behind it (PEM).

    `last` is the users file as it was read last. Raises NotGrantedError, and ConfigError where the files are no good.
    """
    users = _load(transaction, place, last)
    signer = _signer(transaction, place.identity_dir, tenant, now)
    after = plan_renewal(users, name, logged_in, csr, signer)
    _save(transaction, place, users, after, name)
    return after[name].certificate + pki.pem(signer.authority.certificate)


def enrol(
    transaction: Transaction,
    place: Place,
    tenant: str,
    name: str,
    shown: Credentials,
    *,
    now: datetime,
    last: store.Snapshot,
) -> Enrolled:
    """Enrol a user; of two at once one wins, as the users file is locked. Raises as `renew` does."""
    users = _load(transaction, place, last)
    signer = _signer(transaction, place.identity_dir, tenant, now)
    after = plan_enrolment(users, name, shown, signer)
    _save(transaction, place, users, after, name)
    user = after[name]
    chain = user.certificate + pki.pem(signer.authority.certificate)
    return Enrolled(user.uuid, chain, bridges_of(user, after))


def renew_server(transaction: Transaction, own: identity.Identity, tenant: str, *, now: datetime) -> Chain:
    """Have a certificate for the tenant's server that serves, in its state directory where it was made anew."""
    assert own.state_dir is not None
    chain = find(own, now)
    signer = _signer(transaction, own.directory, tenant, now)
    issuer, name = signer.authority.certificate, pki.server_name(tenant)
    reason = pki.stale(chain.leaf, issuer, chain.key, name, now)
    if reason is None or (reason == pki.HALF_OVER and signer.latest_end <= chain.life.ends):
        return chain
    leaf = pki.sign_leaf(signer.authority, chain.key, name, now)
    return keep(transaction, own.state_dir, Chain(own.state_dir / identity.TLS_CHAIN, chain.key, (leaf, issuer)))


def keep(transaction: Transaction, state_dir: Path, chain: Chain) -> Chain:
    """Have a renewed certificate in the state directory, which nobody but us may look into where we make it."""
    transaction.folders(state_dir, mode=0o700)
    path = state_dir / identity.TLS_CHAIN
    shown = ("", pki.describe(*chain.certificates))
    transaction.write(path, chain.pem.encode(), mode=PUBLIC_MODE, shown=shown)
    return replace(chain, path=path)


def bridges_of(user: User, users: UserSet) -> tuple[PlannedBridge, ...]:
    """Return the bridges of a user who is in the users file."""
    return plan_bridges(Problems(), user.grant, users.apps, user.name)


def _user(users: UserSet, name: str, logged_in: PublicKey) -> User:
    user = users.get(name)
    if user is None or user.public_key != str(logged_in):
        raise NotGrantedError(f"{name} is no user any more, or has other credentials by now")
    return user


def _request(csr: object) -> pki.TlsPublicKey:
    try:
        return pki.read_csr(csr)
    except ValueError as error:
        raise NotGrantedError(f"csr {error}") from None


def _certificate(user: User) -> x509.Certificate | None:
    try:
        return pki.read_certificates(user.certificate)[0]
    except ValueError:  # it has none, or a damaged one
        return None


def _end(leaf: x509.Certificate) -> datetime:
    return leaf.not_valid_after_utc


def _with(users: UserSet, user: User) -> UserSet:
    return UserSet({**users, user.name: user}, users.generation + 1, users.apps)


def _load(transaction: Transaction, place: Place, last: store.Snapshot) -> UserSet:
    return store.decode(transaction.read(place.users_file), place.users_file, last).users


def _save(transaction: Transaction, place: Place, before: UserSet, after: UserSet, name: str) -> None:
    if after is before:
        return
    shown = describe_user(before[name]), describe_user(after[name], before[name], issue=True)
    store.save(transaction, place.users_file, after, shown=shown, owner=place.owner)


def _signer(transaction: Transaction, identity_dir: Path, tenant: str, now: datetime) -> Signer:
    authority = load_authority(transaction, identity_dir, tenant, now)
    if authority is None:
        raise ConfigError("holds no signed authority", where=str(identity_dir), hint="let the operator run site.yml")
    return Signer(authority, tenant, now)
