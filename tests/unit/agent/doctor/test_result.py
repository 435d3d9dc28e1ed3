"""The record of an examination, and how it is told."""

from __future__ import annotations

from tunnel_whisperer.doctor.report import as_data, line
from tunnel_whisperer.doctor.result import Finding, Record, Result, Status, TroubleError
from tunnel_whisperer.errors import ConfigError


async def good() -> Finding:
    return Finding("fine", "but look")


async def bad() -> Finding:
    raise TroubleError("broken", "mend it")


async def worse() -> Finding:
    raise ConfigError("no such key", where="file")


async def test_what_cannot_be_tried_is_skipped_and_says_for_what() -> None:
    heard: list[Result] = []
    record = Record(heard.append)
    assert await record.step("a", "here", good)
    assert not await record.step("b", "there", bad, after=("a",))
    assert not await record.step("c", "there", good, after=("a", "b"))
    assert not await record.step("d", "there", good, after=("c",))
    assert not await record.step("e", "there", worse)
    assert heard == record.results
    assert [(result.status, result.details, result.action) for result in heard] == [
        (Status.OK, "fine", "but look"),
        (Status.FAILED, "broken", "mend it"),
        (Status.SKIPPED, "not tried: it needs 'b'", ""),
        (Status.SKIPPED, "not tried: it needs 'c'", ""),
        (Status.FAILED, "file: no such key", ""),
    ]
    assert not record.ok


async def test_skipping_alone_is_no_failure() -> None:
    record = Record()
    record.results.append(Result("a", "here", Status.SKIPPED, 0.0, ""))
    assert record.ok


def test_lines_are_aligned_and_the_remedy_is_below() -> None:
    results = [
        Result("name", "relay", Status.OK, 1.4, "fine"),
        Result("configuration", "file", Status.FAILED, 12345.6, "broken", "mend it"),
        Result("gate", "relay", Status.SKIPPED, 0.0, "not tried"),
    ]
    assert [text for result in results for text in line(result)] == [
        "  ok      name               1 ms  relay: fine",
        "  FAILED  configuration  12346 ms  file: broken",
        "                                   -> mend it",
        "  skipped gate                     relay: not tried",
    ]


def test_data_has_all_subjects_in_one_list() -> None:
    first = Record(results=[Result("a", "x", Status.OK, 1.0, "fine")])
    second = Record(results=[Result("b", "y", Status.FAILED, 2.0, "broken", "mend it")])
    told = as_data({"serve": first, "acme": second})
    assert told["ok"] is False
    assert told["checks"][1] == {
        "subject": "acme",
        "component": "b",
        "target": "y",
        "status": "failed",
        "duration_ms": 2.0,
        "details": "broken",
        "action": "mend it",
    }
