"""Moments at which permissions begin and end, as people write them. Standard library only."""

import re
from datetime import UTC, date, datetime, time, timedelta

from tunnel_whisperer.problems import quote

ACCEPTED = "a day such as 2027-01-31, or a moment such as 2027-01-31T18:00Z"

_SPAN = re.compile(r"([1-9][0-9]{0,4})(min|h|d|w)")
_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def read_begin(value: object) -> datetime:
    """Read a moment from which on something holds; a day alone means its start (UTC). Raises ValueError."""
    moment = _read(value)
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time(), UTC)


def read_end(value: object) -> datetime:
    """Read a moment up to which something holds; a day alone is included whole (UTC). Raises ValueError."""
    moment = _read(value)
    if isinstance(moment, datetime):
        return moment
    if moment == date.max:
        raise ValueError(f"{quote(str(moment))} is too late; accepted: {ACCEPTED}")
    return datetime.combine(moment + timedelta(days=1), time(), UTC)


def read_span(text: str) -> timedelta:
    """Read a span of time such as 30d or 12h; raises ValueError."""
    found = _SPAN.fullmatch(text)
    if not found:
        raise ValueError(f"{quote(text)} is no span of time; accepted: a number with min, h, d or w, such as 30d")
    return int(found[1]) * _UNITS[found[2]]


def write(moment: datetime) -> str:
    """Return a moment in the one form it is kept in."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(value: object) -> date | datetime:
    found: date | datetime | None = None
    if isinstance(value, date):  # YAML makes dates by itself; a datetime is a date, too
        found = value
    elif isinstance(value, str) and value.isascii() and len(value) <= 40:
        found = _parse(value.strip())
    if found is None:
        raise ValueError(f"{quote(value)} is no date; accepted: {ACCEPTED}")
    if not isinstance(found, datetime):
        return found
    try:
        moment = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{quote(value)} is out of range; accepted: {ACCEPTED}") from None
    return moment.replace(microsecond=0)


def _parse(text: str) -> date | datetime | None:
    try:
        return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
    except ValueError:
        return None
