"""A context as it is told to people: whose it is, where it leads, how long its certificate lasts, and how it does."""

from typing import Any

from tunnel_whisperer import places, running
from tunnel_whisperer.config import load_connect, read_connect
from tunnel_whisperer.errors import ConfigError
from tunnel_whisperer.files import Transaction
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.places import Context
from tunnel_whisperer.ports import place_of
from tunnel_whisperer.provision.contexts import read_origin


def listed() -> list[dict[str, Any]]:
    """Tell of all contexts; one that is broken or may not be read has its `error` told."""
    return [described(context) for context in places.known()]


def described(context: Context) -> dict[str, Any]:
    """Tell of one context; raises no error but has one in `error`."""
    status = running.status_of(context)
    told = {
        "name": context.name,
        "current": _is_current(context),
        "place": context.place.kind,
        "path": str(context.directory),
        "state": status["state"] if status else "running" if running.lives(context) else "not running",
    }
    try:
        return told | _content(context) | {"error": None}
    except ConfigError as error:
        return told | {"error": str(error)}


def _is_current(context: Context) -> bool:
    try:
        return places.find() == context
    except ConfigError:
        return False


def _content(context: Context) -> dict[str, Any]:
    config = load_connect(context.file)
    configured = {bridge.name: place_of(bridge) for bridge in read_connect(context.file).bridges}
    leaf = Identity(config.identity_dir).tls_certificates()[0]
    with Transaction() as transaction:
        origin = read_origin(transaction, context.directory)
    return {
        "origin": origin,
        "tenant": config.tenant,
        "user": config.user,
        "relay": f"{config.relay.host}:{config.relay.port}",
        "certificate_until": leaf.not_valid_after_utc.isoformat(),
        "bridges": [
            {
                "name": bridge.name,
                "local": place_of(bridge),
                "configured": configured[bridge.name],
                "target": f"{bridge.host}:{bridge.port}",
            }
            for bridge in config.bridges
        ],
    }
