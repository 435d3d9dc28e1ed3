"""Contexts that are there already: which one is current, another name, an end. An inventory looks after its own."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import yaml

from tunnel_whisperer import names, places, ports, running, services
from tunnel_whisperer.config import read_connect
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction
from tunnel_whisperer.places import CONFIG_FILE, Context, Place
from tunnel_whisperer.provision.contexts import read_origin
from tunnel_whisperer.users.grants import ORIGIN_INVENTORY
from tunnel_whisperer.users.inventory import RESERVED_CONTEXTS


def use(transaction: Transaction, context: Context, here: Sequence[Place]) -> bool:
    """Have `context` as the one that is taken where none is named; True if that is a change."""
    return _note(transaction, here[0], context.name)


def rename(transaction: Transaction, context: Context, name: str, here: Sequence[Place]) -> Context:
    """Have a context under another name, with all it has; raises ConfigError."""
    fault = names.label_fault(name) or (f"{name!r} is reserved" if name in RESERVED_CONTEXTS else None)
    if fault:
        raise ConfigError(fault, where="new name")
    _check_ours(transaction, context, "rename it there (context of its user in tw_users)")
    renamed = Context(name, context.place)
    if transaction.names(renamed.directory):
        raise ConfigError("is there already", where=str(renamed.directory), hint="choose another name")
    read_connect(context.file)
    _copy(transaction, context.directory, renamed.directory, {CONFIG_FILE: _configuration(context, renamed)})
    if os.path.lexists(context.state_dir):
        _copy(transaction, context.state_dir, renamed.state_dir, {})
    _remove(transaction, context)
    _if_current(transaction, context, here, name)
    return renamed


def delete(transaction: Transaction, context: Context, here: Sequence[Place]) -> None:
    """Have no such context; raises ConfigError."""
    _check_ours(transaction, context, "take the user from tw_users, or from this host, and run site.yml")
    _remove(transaction, context)
    _if_current(transaction, context, here, None)


def check_stopped(context: Context, doing: str) -> None:
    """Raise ConfigError while the daemon of a context runs."""
    if running.lives(context):
        status = running.status_of(context) or {}
        how = services.how_to_stop(context, status.get("pid"))
        raise ConfigError(
            "its daemon runs",
            where=f"context {context.name}",
            hint=f"first: {how}; or {doing} it all the same: --force",
        )


def set_ports(transaction: Transaction, context: Context, ends: ports.LocalEnds) -> None:
    """Have these local ends of bridges, and no others, beside those of `connect.yml`; raises ConfigError."""
    _check_may(context)
    path = context.directory / ports.PORTS_FILE
    ports.check_apart(ports.moved(read_connect(context.file).bridges, ends), where=str(path))
    if not ends:
        transaction.remove(path)
        return
    found = context.file.stat()
    mode, owner = stat.S_IMODE(found.st_mode), _owner(found)
    transaction.write(path, ports.write(ends), mode=mode, owner=owner)


def _check_may(context: Context) -> None:
    if context.place.kind == "system" and not places.is_root():
        raise ConfigError("belongs to the system", where=f"context {context.name}", hint="as root: sudo tw ...")


def _check_ours(transaction: Transaction, context: Context, instead: str) -> None:
    _check_may(context)
    if read_origin(transaction, context.directory) == ORIGIN_INVENTORY:
        raise ConfigError(
            "was made by Ansible, and the inventory owns it", where=f"context {context.name}", hint=instead
        )


def _copy(transaction: Transaction, source: Path, target: Path, instead: dict[str, bytes]) -> None:
    """Have a folder like another one, with other content in some of its files."""
    found = os.lstat(source)
    transaction.directory(target, mode=stat.S_IMODE(found.st_mode), owner=_owner(found))
    for name in transaction.names(source):
        found = os.lstat(source / name)
        content = instead.get(name) or transaction.read(source / name) or b""
        transaction.write(target / name, content, mode=stat.S_IMODE(found.st_mode), owner=_owner(found), secret=True)


def _owner(found: os.stat_result) -> Owner:
    return Owner(found.st_uid, found.st_gid) if os.geteuid() == 0 else KEEP_OWNER


def _configuration(context: Context, renamed: Context) -> bytes:
    """Return `connect.yml` with the new name, and the new folder where the old one was named."""
    text = context.file.read_text(encoding="utf-8")
    comments = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    document = yaml.safe_load(text)
    document["context"] = renamed.name
    _follow(document, "identity_dir", context, renamed)
    _follow(document["relay"], "roots_file", context, renamed)
    return (comments + yaml.safe_dump(document, sort_keys=False, width=1000)).encode()


def _follow(section: dict[str, object], key: str, context: Context, renamed: Context) -> None:
    path = Path(str(section.get(key, "")))
    if path == context.directory or context.directory in path.parents:
        section[key] = str(renamed.directory / path.relative_to(context.directory))


def _remove(transaction: Transaction, context: Context) -> None:
    transaction.remove(context.directory)
    transaction.remove(context.state_dir)


def _if_current(transaction: Transaction, context: Context, here: Sequence[Place], name: str | None) -> None:
    """Let a note of the current context follow, unless another context has the old name too."""
    if any(other.name == context.name and other != context for other in places.known(here)):
        return
    for place in here:
        if os.access(place.contexts.parent, os.W_OK) and places.current([place]) == context.name:
            if name is None:
                transaction.remove(place.current_file)
            else:
                _note(transaction, place, name)


def _note(transaction: Transaction, place: Place, name: str) -> bool:
    transaction.folders(place.contexts.parent, mode=0o700 if place.kind == "own" else 0o750)
    return transaction.write(place.current_file, f"{name}\n".encode(), mode=0o644)
