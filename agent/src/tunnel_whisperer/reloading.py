"""What of a changed configuration is followed at once, and what needs a restart."""

from collections.abc import Collection
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

C = TypeVar("C")


def differences(old: C, new: C, live: Collection[str], *, ignore: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Return the keys that differ (nested ones as `relay.host`): those among `live`, and the others."""
    changed = [key for key in _changed(old, new, "") if key not in ignore]
    return [key for key in changed if key in live], [key for key in changed if key not in live]


def take(old: C, new: C, live: Collection[str]) -> C:
    """Return `old` with the `live` keys of `new`."""
    taken: C = _take(old, new, live, "")
    return taken


def _changed(old: Any, new: Any, prefix: str) -> list[str]:
    found: list[str] = []
    for field in fields(old):
        before, after, key = getattr(old, field.name), getattr(new, field.name), f"{prefix}{field.name}"
        if is_dataclass(before) and is_dataclass(after):
            found += _changed(before, after, f"{key}.")
        elif before != after:
            found.append(key)
    return found


def _take(old: Any, new: Any, live: Collection[str], prefix: str) -> Any:
    values: dict[str, Any] = {}
    for field in fields(old):
        before, after, key = getattr(old, field.name), getattr(new, field.name), f"{prefix}{field.name}"
        if key in live:
            values[field.name] = after
        elif is_dataclass(before) and is_dataclass(after):
            values[field.name] = _take(before, after, live, f"{key}.")
    return replace(old, **values)
