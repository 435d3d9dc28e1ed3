"""The users and apps of a server as they are told to people and programs: no secret is in it."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from tunnel_whisperer import pki
from tunnel_whisperer.users import times
from tunnel_whisperer.users.grants import App
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.model import User, UserSet


def tell_users(users: UserSet, now: datetime, names: Collection[str] | None = None) -> dict[str, Any]:
    """Tell of these users, or of all."""
    return {name: tell_user(users[name], now) for name in sorted(users) if names is None or name in names}


def tell_user(user: User, now: datetime) -> dict[str, Any]:
    """Tell of one user."""
    return {
        "state": user.state(now),
        "active": user.active(now) and user.enrolment is None,
        "targets": [str(target) for target in sorted(user.targets)],
        **user.grant.as_data(),
        "enrolment": None if user.enrolment is None else times.write(user.enrolment),
        "certificate_until": _until(user.certificate),
        "key": read_public_key(user.public_key).fingerprint,
        "origin": user.origin,
    }


def tell_apps(users: UserSet) -> dict[str, Any]:
    """Tell of all apps, and of who has them."""
    given: dict[str, list[str]] = {name: [] for name in users.apps}
    for user in users.values():
        for app in user.grant.apps:
            given[app].append(user.name)
    return {name: tell_app(users.apps[name], given[name]) for name in sorted(users.apps)}


def tell_app(app: App, users: Collection[str]) -> dict[str, Any]:
    """Tell of one app, which `users` have."""
    targets = [str(target) for target in sorted(app.targets)]
    return {"targets": targets, **app.as_data(), "origin": app.origin, "users": sorted(users)}


def _until(certificate: str) -> str | None:
    if not certificate:
        return None
    try:
        return times.write(pki.read_certificates(certificate)[0].not_valid_after_utc)
    except ValueError:
        return None
