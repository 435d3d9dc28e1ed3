"""Bundles for the users who are to get one: put together from what was made for them, and sealed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tunnel_whisperer import age, identity, pki
from tunnel_whisperer.bundle import Bundle, Relay, seal
from tunnel_whisperer.config import Bridge
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.problems import Problems, below
from tunnel_whisperer.provision.credentials import Fresh
from tunnel_whisperer.provision.users import Place, UsersOutcome, provision_users
from tunnel_whisperer.users import times
from tunnel_whisperer.users.bridges import plan_bridges
from tunnel_whisperer.users.desired import BundleWish, DesiredUser
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.model import User
from tunnel_whisperer.users.plan import Policy


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle as it is told of; `content` is the file, None where it was only looked whether it could be made."""

    context: str
    kind: str
    lock: age.Lock
    until: datetime
    content: bytes | None

    def as_data(self) -> dict[str, Any]:
        """Return what is told, without the file."""
        until = times.write(self.until)
        return {"context": self.context, "kind": self.kind, "lock": self.lock, "until": until}


@dataclass(frozen=True, slots=True)
class Sealer:
    """What bundles are made with besides the users' own credentials; what was sealed once is not sealed again.

    `relay` is how users reach the relay, `passphrases` are by user, for those whose bundle is not sealed to a key.
    """

    tenant: str
    relay: Relay | None
    passphrases: Mapping[str, object]
    now: datetime
    _sealed: dict[Bundle, bytes] = field(default_factory=dict)

    def check(self, problems: Problems, users: Sequence[DesiredUser]) -> None:
        """Note why the bundles of these users cannot be made."""
        for user in users:
            to = user.bundle.to if user.bundle else None
            where = f"{below('users', user.name)}.bundle"
            if to is not None:
                _check_recipient(problems, to, f"{where}.to")
            elif user.name in self.passphrases:
                _check_passphrase(problems, self.passphrases[user.name], below("passphrases", user.name))
            else:
                accepted = f"to (an age recipient or an SSH public key), or {below('passphrases', user.name)}"
                problems.add(where, f"nothing to seal it with is given; accepted: {accepted}")
        if users and self.relay is None:
            names = ", ".join(sorted(user.name for user in users))
            problems.add("relay", f"is missing; bundles are to be made now for: {names}")

    def seal(self, outcome: UsersOutcome, host_key: str | None, *, pretend: bool) -> dict[str, Sealed]:
        """Return the bundles of all who are to get one."""
        if not pretend and host_key is None and outcome.credentials:
            raise ConfigError("is missing", where=identity.SSH_HOST_KEY, hint="module tenant makes it")
        return {name: self._one(outcome, name, host_key, pretend=pretend) for name in outcome.credentials}

    def _one(self, outcome: UsersOutcome, name: str, host_key: str | None, *, pretend: bool) -> Sealed:
        user, wish = outcome.users[name], _wish(outcome, name)
        until = self._until(user, outcome.credentials[name].tls_chain)
        lock: age.Lock = "passphrase" if wish.to is None else "keys"
        content = None
        if not pretend:
            assert host_key is not None
            content = self._file(self._bundle(outcome, name, host_key, until), wish)
        return Sealed(self._context(outcome, name), wish.kind, lock, until, content)

    def _file(self, bundle: Bundle, wish: BundleWish) -> bytes:
        if bundle not in self._sealed:
            if wish.to is not None:
                self._sealed[bundle] = seal(bundle, recipients=[wish.to])
            else:
                self._sealed[bundle] = seal(bundle, passphrase=str(self.passphrases[bundle.user]))
        return self._sealed[bundle]

    def _bundle(self, outcome: UsersOutcome, name: str, host_key: str, until: datetime) -> Bundle:
        user, made = outcome.users[name], outcome.credentials[name]
        assert self.relay is not None
        planned = plan_bridges(Problems(), user.grant, outcome.users.apps, "")
        return Bundle(
            kind=_wish(outcome, name).kind,
            context=self._context(outcome, name),
            tenant=self.tenant,
            user=name,
            relay=self.relay,
            server_host_keys=(host_key,),
            bridges=tuple(Bridge(**bridge.as_data()) for bridge in planned),
            uuid=user.uuid,
            tls_key=made.tls_key,
            tls_chain=made.tls_chain,
            ssh_key=made.ssh_key,
            made=self.now,
            until=until,
        )

    def _context(self, outcome: UsersOutcome, name: str) -> str:
        return outcome.desired[name].context or self.tenant

    def _until(self, user: User, chain: str) -> datetime:
        """Return the moment from which on a bundle is of no use."""
        ends = [user.enrolment, user.grant.expires]
        if chain:
            ends.append(pki.read_certificates(chain)[0].not_valid_after_utc)
        return min((end for end in ends if end is not None), default=self.now)


def admit(
    transaction: Transaction,
    given: object,
    policy: Policy,
    place: Place,
    sealer: Sealer,
    *,
    apps: object = None,
    target_hosts: tuple[str, ...] = (),
    pretend: bool = False,
) -> tuple[UsersOutcome, dict[str, Sealed]]:
    """Have these users as `provision_users` does, and the bundles of those who are to get one.

    A passphrase takes seconds to seal with, and until the transaction ends nobody else can change the users. So where
    there are passphrases, the plan is made once beforehand and its bundles are sealed, unless they turn out otherwise.
    """
    fresh = Fresh()

    def plan(at: Transaction) -> tuple[UsersOutcome, str | None]:
        outcome = provision_users(
            at,
            given,
            policy,
            place,
            now=sealer.now,
            apps=apps,
            target_hosts=target_hosts,
            pretend=pretend,
            fresh=fresh,
            check_bundles=sealer.check,
        )
        return outcome, _host_key(at, place.identity_dir)

    if sealer.passphrases and not pretend:
        with Transaction() as rehearsal:
            outcome, host_key = plan(rehearsal)
        sealer.seal(outcome, host_key, pretend=False)
    outcome, host_key = plan(transaction)
    return outcome, sealer.seal(outcome, host_key, pretend=pretend)


def _wish(outcome: UsersOutcome, name: str) -> BundleWish:
    wish = outcome.desired[name].bundle
    assert wish is not None
    return wish


def _host_key(transaction: Transaction, identity_dir: Path) -> str | None:
    path = identity_dir / f"{identity.SSH_HOST_KEY}.pub"
    content = transaction.read(path)
    if content is None:
        return None
    try:
        return str(read_public_key(content.decode("utf-8", "replace")))
    except ValueError as error:
        raise ConfigError(str(error), where=str(path), hint="module tenant makes it anew") from None


def _check_passphrase(problems: Problems, value: object, where: str) -> None:
    if not isinstance(value, str):
        problems.add(where, "is no text; put it in quotes")
    elif len(value) < age.SHORTEST_PASSPHRASE:
        problems.add(where, f"has less than {age.SHORTEST_PASSPHRASE} characters")
    elif not value.isprintable():
        problems.add(where, "holds characters that nobody can type")


def _check_recipient(problems: Problems, to: str, where: str) -> None:
    try:
        age.encrypt(b"", recipients=[to])
    except ConfigError as error:
        problems.add(where, error.message)
