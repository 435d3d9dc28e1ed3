"""The file a server keeps its users and apps in: one JSON document, replaced whole. Standard library only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tunnel_whisperer import files
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction
from tunnel_whisperer.problems import Problems, quote
from tunnel_whisperer.users import authorized_keys, times
from tunnel_whisperer.users.grants import APP_FIELDS, GRANT_FIELDS, App, read_app, read_grant
from tunnel_whisperer.users.model import User, UserSet

VERSION = 1
FILE_MODE = 0o600

_TEXTS = ("uuid", "authorized_key", "origin", "certificate")
_USER_FIELDS = {*_TEXTS, "enrolment", *GRANT_FIELDS}
_APP_FIELDS = {*APP_FIELDS, "origin"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A users file as it was read, with what each user was read from: who has not changed is not read again."""

    users: UserSet = field(default_factory=UserSet)
    raw: Mapping[str, object] = field(default_factory=dict)
    raw_apps: object = None


def load_users(path: Path) -> UserSet:
    """Load a users file; a missing one holds no users. Raises ConfigError naming the file and the item."""
    return load_snapshot(path, Snapshot()).users


def load_snapshot(path: Path, last: Snapshot) -> Snapshot:
    """Load a users file as `load_users` does, taking over from the last one who has not changed."""
    return decode(files.read(path), path, last)


def load_into(transaction: Transaction, path: Path) -> UserSet:
    """Load a users file that the transaction will change; nobody else can change it meanwhile."""
    return decode(transaction.read(path), path, Snapshot()).users


def save(
    transaction: Transaction, path: Path, users: UserSet, *, shown: tuple[str, str], owner: Owner = KEEP_OWNER
) -> bool:
    """Plan to write the users file; `shown` tells its change to people, as the file holds secrets."""
    return transaction.write(path, encode(users), mode=FILE_MODE, owner=owner, shown=shown)


def encode(users: UserSet) -> bytes:
    """Return the file's content."""
    document = {
        "version": VERSION,
        "generation": users.generation,
        "apps": {app.name: {**app.as_data(), "origin": app.origin} for app in _sorted(users.apps)},
        "users": {user.name: _user_data(user) for user in _sorted(users)},
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def decode(content: bytes | None, path: Path, last: Snapshot) -> Snapshot:
    """Read the file's content; raises ConfigError naming `path` and the item."""
    if content is None:
        return Snapshot()
    try:
        document = json.loads(content)
    except ValueError as error:
        raise ConfigError(
            f"is no JSON: {error}", where=str(path), hint="put back a copy, or run the playbook again"
        ) from None
    if not isinstance(document, dict) or not all(isinstance(document.get(key), dict) for key in ("users", "apps")):
        raise ConfigError("is no users file", where=str(path))
    if document.get("version") != VERSION:
        hint = f"this release reads version {VERSION}"
        raise ConfigError(f"has version {quote(document.get('version'))}", where=str(path), hint=hint)
    generation = document.get("generation")
    if not isinstance(generation, int) or isinstance(generation, bool):
        raise ConfigError("has no generation", where=str(path))
    raw, raw_apps = document["users"], document["apps"]
    same_apps = raw_apps == last.raw_apps
    apps = last.users.apps if same_apps else {name: _app(name, fields, path) for name, fields in raw_apps.items()}
    users = {
        name: last.users[name] if same_apps and last.raw.get(name) == fields else _user(name, fields, apps, path)
        for name, fields in raw.items()
    }
    return Snapshot(UserSet(users, generation, apps), raw, raw_apps)


def _sorted(items: Mapping[str, Any]) -> list[Any]:
    return [items[name] for name in sorted(items)]


def _user_data(user: User) -> dict[str, Any]:
    return {
        "uuid": user.uuid,
        "authorized_key": user.authorized_key,
        **user.grant.as_data(),
        "origin": user.origin,
        "enrolment": None if user.enrolment is None else times.write(user.enrolment),
        "certificate": user.certificate,
    }


def _app(name: str, fields: object, path: Path) -> App:
    problems = Problems()
    values = _fields(fields, _APP_FIELDS, f"app {quote(name)}", path)
    app = read_app(problems, name, {key: values[key] for key in APP_FIELDS}, "", origin=str(values["origin"]))
    if app is None:
        raise ConfigError(f"app {quote(name)} {problems.first().lstrip(': ')}", where=str(path))
    return app


def _user(name: str, fields: object, apps: Mapping[str, App], path: Path) -> User:
    values = _fields(fields, _USER_FIELDS, f"user {quote(name)}", path)
    try:
        return _read_user(name, values, apps)
    except ValueError as error:
        raise ConfigError(f"user {quote(name)} {error}", where=str(path)) from None


def _fields(fields: object, wanted: set[str], what: str, path: Path) -> Mapping[str, Any]:
    if not isinstance(fields, dict) or set(fields) != wanted:
        raise ConfigError(f"{what} does not have exactly the fields {', '.join(sorted(wanted))}", where=str(path))
    return fields


def _read_user(name: str, values: Mapping[str, Any], apps: Mapping[str, App]) -> User:
    for key in _TEXTS:
        if not isinstance(values[key], str):
            raise ValueError(f"has no text in {key}")
    try:
        line = authorized_keys.parse(values["authorized_key"])
    except ValueError as error:
        raise ValueError(f"has an authorized_key that {error}") from None
    problems = Problems()
    grant = read_grant(problems, {key: values[key] for key in GRANT_FIELDS}, "", apps)
    if len(problems):
        raise ValueError(f"has a wrong grant: {problems.first().lstrip(': ')}")
    if grant.targets(apps) != line.targets:
        raise ValueError("has an authorized_key that does not fit its apps and ports")
    return User(name, grant=grant, enrolment=_moment(values["enrolment"]), **{key: values[key] for key in _TEXTS})


def _moment(value: object) -> datetime | None:
    return None if value is None else times.read_begin(value)
