"""What a tenant, a user or another named thing may be called. Standard library only: the collection uses it too."""

import re

RESERVED_TENANTS = frozenset({"operator", "caddy"})
"""`operator` is the relay operator's own entry, `tw-caddy` the relay's web server; a tenant's user is `tw-<tenant>`."""

RESERVED_USERS = frozenset({"server"})
"""`server` is the tenant's server itself: its certificate's name and its VLESS e-mail."""

MAX_TENANT = 24
"""Characters; the relay's system user is called `tw-<tenant>`."""

MAX_USER = 32
"""Characters."""

MAX_BRIDGE = 63
"""Characters; a bridge may be called after an app and a port."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def tenant_fault(name: str) -> str | None:
    """Say why `name` cannot name a tenant; None when it can."""
    if name in RESERVED_TENANTS:
        return f"{name!r} is reserved"
    return _label_fault(name, MAX_TENANT)


def user_fault(name: str) -> str | None:
    """Say why `name` cannot name a user; None when it can."""
    if name in RESERVED_USERS:
        return f"{name!r} is reserved"
    return _label_fault(name, MAX_USER)


def label_fault(name: str) -> str | None:
    """Say why `name` cannot name a context or an entry of the relay; None when it can."""
    return _label_fault(name, MAX_USER)


def bridge_fault(name: str) -> str | None:
    """Say why `name` cannot name a bridge that comes in a bundle; None when it can."""
    return _label_fault(name, MAX_BRIDGE)


def _label_fault(name: str, longest: int) -> str | None:
    if len(name) > longest:
        return f"{name!r} has {len(name)} characters; at most {longest} are accepted"
    if not _LABEL.fullmatch(name):
        return f"{name!r} is no lower-case DNS label (a-z, 0-9 and inner hyphens)"
    return None
