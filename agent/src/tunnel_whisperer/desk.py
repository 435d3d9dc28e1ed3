"""The desk at which an operator looks after the users and apps of the server on this host: what the command line does.

It is a door to the engine (`provision`); the running daemon follows the file by itself, so nothing is restarted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tunnel_whisperer.bundle import Relay
from tunnel_whisperer.config import DEFAULT_SERVE, ServeConfig, load_serve
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.identity import read_public
from tunnel_whisperer.problems import suggest
from tunnel_whisperer.provision.sealing import Sealed, Sealer, admit
from tunnel_whisperer.provision.users import Place
from tunnel_whisperer.users import times
from tunnel_whisperer.users.grants import ORIGIN_CLI, ORIGIN_INVENTORY, App
from tunnel_whisperer.users.model import User, UserSet
from tunnel_whisperer.users.plan import Policy
from tunnel_whisperer.users.store import load_users


@dataclass(frozen=True, slots=True)
class Orders:
    """What is wanted: users and apps by name, as the inventory has them, and those who get a new bundle."""

    users: Mapping[str, Any] = field(default_factory=dict)
    apps: Mapping[str, Any] | None = None
    drop_apps: frozenset[str] = frozenset()
    renew: frozenset[str] = frozenset()
    passphrases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, or would be: each user's action and why, a diff with secrets masked, and sealed files."""

    actions: Mapping[str, Mapping[str, Any]]
    before: str
    after: str
    changed: bool
    sealed: Mapping[str, Sealed]
    files: Mapping[str, Path]
    """Where the sealed files were put, by user."""

    def as_data(self) -> dict[str, Any]:
        """Return it for programs, without what is in the files."""
        bundles = {name: one.as_data() for name, one in self.sealed.items()}
        files = {name: str(path) for name, path in self.files.items()}
        return {"changed": self.changed, "users": dict(self.actions), "bundles": bundles, "files": files}


@dataclass(frozen=True, slots=True)
class Desk:
    """One server's users and apps."""

    config: ServeConfig
    origin: str = ORIGIN_CLI

    @classmethod
    def here(cls, path: Path = DEFAULT_SERVE) -> "Desk":
        """Open the desk of the server on this host; raises ConfigError where there is none."""
        if not path.exists():
            raise ConfigError("there is no server on this host", where=str(path), hint="users are made on the server")
        return cls(load_serve(path))

    def users(self) -> UserSet:
        """Return the users and apps as they are."""
        return load_users(self.config.users_file)

    def user(self, name: str) -> User:
        """Return one user; raises ConfigError."""
        users = self.users()
        if name not in users:
            raise ConfigError(f"there is no user {name!r} ({suggest(name, users)})")
        return users[name]

    def app(self, name: str) -> App:
        """Return one app; raises ConfigError."""
        apps = self.users().apps
        if name not in apps:
            raise ConfigError(f"there is no app {name!r} ({suggest(name, apps)})")
        return apps[name]

    def without_strays(self, fields: dict[str, Any], *, chosen: bool) -> dict[str, Any]:
        """Leave out local ports that a change of apps and ports left without a port, unless they were just `chosen`."""
        if chosen:
            return fields
        apps = self.users().apps
        there = {str(port) for port in fields["ports"]}
        there |= {str(target.as_data()) for name in fields["apps"] if name in apps for target in apps[name].targets}
        kept = {port: local for port, local in fields["local_ports"].items() if port in there}
        return {**fields, "local_ports": kept}

    def carry_out(self, orders: Orders, now: datetime, *, dry_run: bool = False, out: Path | None = None) -> Done:
        """Do what is wanted, all of it or nothing; raises ConfigError with all that is wrong.

        A sealed file goes to `out`, or into the current folder; what is there already is not overwritten.
        """
        config = self.config
        policy = Policy(config.tenant, origin=self.origin, adopt=False, renew=orders.renew, drop_apps=orders.drop_apps)
        with Transaction() as transaction:
            outcome, sealed = admit(
                transaction,
                orders.users,
                policy,
                Place(config.identity_dir, config.users_file),
                Sealer(config.tenant, self._relay(), orders.passphrases, now),
                apps=orders.apps,
                target_hosts=config.target_hosts,
                pretend=dry_run,
            )
            files = {} if dry_run else {name: self._put(transaction, name, one, out) for name, one in sealed.items()}
            if not dry_run:
                transaction.commit()
        before, after = outcome.plan.diff()
        actions = {name: outcome.result(action) for name, action in outcome.plan.actions.items()}
        return Done(actions, before, after, outcome.plan.changed, sealed, files)

    def _put(self, transaction: Transaction, name: str, sealed: Sealed, out: Path | None) -> Path:
        """Plan to write a sealed file in the same step as the users: nobody has a copy of what is in it."""
        path = out or Path(f"{self.config.tenant}-{name}.age")
        place = path.parent.resolve() / path.name
        if transaction.read(place) is not None:
            raise ConfigError("is there already", where=str(path), hint="--out FILE names another")
        assert sealed.content is not None
        transaction.write(place, sealed.content, mode=0o600, secret=True)
        return path

    def _relay(self) -> Relay:
        relay = self.config.relay
        roots = None if relay.roots_file is None else read_public(relay.roots_file).decode("utf-8", "replace")
        return Relay(host=relay.host, port=relay.port, roots=roots)


def as_wanted(user: User) -> dict[str, Any]:
    """Return a user as orders take it, for a change of some of it: with the key it has."""
    return {**user.grant.as_data(), "public_key": user.public_key}


def end_of_access(text: str, now: datetime) -> str:
    """Read a date, or a span from now on such as 30d; raises ConfigError."""
    try:
        moment = now + times.read_span(text) if text[-1:].isalpha() and text[-1:] != "Z" else times.read_end(text)
    except ValueError as error:
        raise ConfigError(str(error), where="--expires") from None
    return times.write(moment)


def warnings(user_or_app: User | App) -> list[str]:
    """Say what the one who changes this should know."""
    if user_or_app.origin == ORIGIN_INVENTORY:
        return [f"{user_or_app.name} is of the inventory; the next run of its playbook brings back what that says"]
    return []
