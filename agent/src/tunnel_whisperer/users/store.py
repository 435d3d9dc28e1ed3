"""The file a server keeps its users in: one JSON document, replaced whole. Standard library only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunnel_whisperer import files
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction
from tunnel_whisperer.problems import quote
from tunnel_whisperer.users import authorized_keys
from tunnel_whisperer.users.model import User, UserSet

VERSION = 1
FILE_MODE = 0o600

_TEXTS = ("uuid", "authorized_key", "origin", "certificate")
_FIELDS = {*_TEXTS, "apps", "ports"}


def load_users(path: Path) -> UserSet:
    """Load a users file; a missing one holds no users. Raises ConfigError naming the file and the item."""
    return decode(files.read(path), path)


def load_into(transaction: Transaction, path: Path) -> UserSet:
    """Load a users file that the transaction will change; nobody else can change it meanwhile."""
    return decode(transaction.read(path), path)


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
        "users": {
            user.name: {
                "uuid": user.uuid,
                "authorized_key": user.authorized_key,
                "apps": list(user.apps),
                "ports": list(user.ports),
                "origin": user.origin,
                "certificate": user.certificate,
            }
            for user in sorted(users.values(), key=lambda user: user.name)
        },
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def decode(content: bytes | None, path: Path) -> UserSet:
    """Read the file's content; raises ConfigError naming `path` and the item."""
    if content is None:
        return UserSet()
    try:
        document = json.loads(content)
    except ValueError as error:
        raise ConfigError(
            f"is no JSON: {error}", where=str(path), hint="put back a copy, or run the playbook again"
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("users"), dict):
        raise ConfigError("is no users file", where=str(path))
    if document.get("version") != VERSION:
        hint = f"this release reads version {VERSION}"
        raise ConfigError(f"has version {quote(document.get('version'))}", where=str(path), hint=hint)
    generation = document.get("generation")
    if not isinstance(generation, int) or isinstance(generation, bool):
        raise ConfigError("has no generation", where=str(path))
    return UserSet({name: _user(name, fields, path) for name, fields in document["users"].items()}, generation)


def _user(name: str, fields: object, path: Path) -> User:
    try:
        return _read_user(name, fields)
    except ValueError as error:
        raise ConfigError(f"user {quote(name)} {error}", where=str(path)) from None


def _read_user(name: str, fields: object) -> User:
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        raise ValueError(f"does not have exactly the fields {', '.join(sorted(_FIELDS))}")
    values: Mapping[str, Any] = fields
    for key in _TEXTS:
        if not isinstance(values[key], str):
            raise ValueError(f"has no text in {key}")
    apps, ports = values["apps"], values["ports"]
    if not isinstance(apps, list) or not isinstance(ports, list):
        raise ValueError("has no lists in apps and ports")
    try:
        authorized_keys.parse(values["authorized_key"])
    except ValueError as error:
        raise ValueError(f"has an authorized_key that {error}") from None
    return User(name=name, apps=tuple(apps), ports=tuple(ports), **{key: values[key] for key in _TEXTS})
