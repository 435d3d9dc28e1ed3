"""From a bundle to a context of this host, and back."""

import grp
import os
import shutil
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tunnel_whisperer import bundle as bundles
from tunnel_whisperer import identity
from tunnel_whisperer.bundle import Bundle
from tunnel_whisperer.config import DEFAULT_XRAY, read_connect
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Owner, Transaction
from tunnel_whisperer.identity import Identity, read_private, read_public
from tunnel_whisperer.places import Context, Place
from tunnel_whisperer.provision.contexts import (
    FOR_DAEMON,
    FOR_OWNER,
    ORIGIN_BUNDLE,
    Access,
    PrivateKeys,
    provision_contexts,
)

GROUP = "tw"
"""The group of the daemon, where the system has one."""


def access_of(place: Place) -> Access:
    """Return who may read the files of contexts in `place`."""
    if place.kind == "own":
        return FOR_OWNER
    try:
        group = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return FOR_OWNER
    return replace(FOR_DAEMON, owner=Owner(os.geteuid(), group))


def find_xray() -> Path:
    """Return the Xray that contexts run: the one beside this agent's releases, the system's, else one in PATH."""
    beside = Path(sys.prefix).parent.parent / "bin" / "xray"  # PREFIX/agent/RELEASE or PREFIX/releases/RELEASE
    for place in (beside, DEFAULT_XRAY):
        if place.is_file():
            return place
    found = shutil.which("xray")
    return Path(found).absolute() if found else DEFAULT_XRAY


def check_free(place: Place, name: str, bundle: Bundle, *, now: datetime, replace_it: bool) -> None:
    """Make sure that a bundle could be installed as context `name`, as far as its own content does not matter."""
    with Transaction() as transaction:
        _provision(transaction, place, name, _who(bundle), now=now, replace_it=replace_it)


def install(
    transaction: Transaction, place: Place, name: str, bundle: Bundle, *, now: datetime, xray: Path, replace_it: bool
) -> None:
    """Have the context `name` that a bundle of kind `identity` describes; raises ConfigError."""
    relay = bundle.relay
    given = _who(bundle) | {
        "uuid": bundle.uuid,
        "certificate": bundle.tls_chain,
        "relay": {key: getattr(relay, key) for key in ("host", "port", "profile", "links", "roots")},
        "server_host_keys": list(bundle.server_host_keys),
        "bridges": [
            {"name": bridge.name, "host": bridge.host, "port": bridge.port, "local_port": bridge.local_port}
            for bridge in bundle.bridges
        ],
    }
    keys = PrivateKeys(ssh=bundle.ssh_key.encode(), tls=bundle.tls_key.encode())
    _provision(transaction, place, name, given, now=now, replace_it=replace_it, keys=keys, xray=xray)


def export(context: Context, *, now: datetime) -> Bundle:
    """Return all that a context connects with, for another machine; raises ConfigError."""
    config = read_connect(context.file)
    mine = Identity(config.identity_dir)
    relay, roots = config.relay, config.relay.roots_file
    return Bundle(
        kind=bundles.IDENTITY,
        context=context.name,
        tenant=config.tenant,
        user=config.user,
        relay=bundles.Relay(
            host=relay.host,
            port=relay.port,
            profile=relay.profile,
            links=relay.links,
            roots=None if roots is None else _text(roots, read_public(roots)),
        ),
        server_host_keys=config.server_host_keys,
        bridges=config.bridges,
        uuid=mine.uuid(),
        tls_key=_text(mine.tls_key, read_private(mine.tls_key)),
        tls_chain=_text(mine.tls_chain, read_public(mine.tls_chain)),
        ssh_key=_text(mine.directory / identity.SSH_KEY, read_private(mine.directory / identity.SSH_KEY)),
        made=now,
    )


def _who(bundle: Bundle) -> dict[str, Any]:
    return {"tenant": bundle.tenant, "user": bundle.user}


def _provision(
    transaction: Transaction,
    place: Place,
    name: str,
    given: dict[str, Any],
    *,
    now: datetime,
    replace_it: bool,
    keys: PrivateKeys | None = None,
    xray: Path = DEFAULT_XRAY,
) -> None:
    try:
        provision_contexts(
            transaction,
            place.contexts,
            {name: given},
            now=now,
            origin=ORIGIN_BUNDLE,
            access=access_of(place),
            xray=xray,
            keys={name: keys} if keys else {},
            replace=replace_it,
        )
    except ConfigError as error:
        error.hint = error.hint or "nothing was changed; --as NAME names it otherwise, --replace replaces it"
        raise


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError("is not in PEM form", where=str(path)) from None
