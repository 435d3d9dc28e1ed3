"""An examination as lines for people, and as data for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tunnel_whisperer.doctor.result import Record, Result, Status

_MARKS = {Status.OK: "ok", Status.FAILED: "FAILED", Status.SKIPPED: "skipped"}


def line(result: Result) -> Iterator[str]:
    """Say one result, and below it what to do."""
    took = "" if result.status is Status.SKIPPED else f"{result.duration_ms:.0f} ms"
    yield f"  {_MARKS[result.status]:<8}{result.component:<14}{took:>9}  {result.target}: {result.details}"
    if result.action:
        yield f"{'':<35}-> {result.action}"


def as_data(records: Mapping[str, Record]) -> dict[str, Any]:
    """Return all results as plain data; `subject` is `serve`, a context or a file."""
    checks = [{"subject": name, **asdict(result)} for name, record in records.items() for result in record.results]
    return {"ok": all(record.ok for record in records.values()), "checks": checks}
