"""Requests over the control channel: what is understood, and what an answer tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.users import samples
from tunnel_whisperer.errors import ConfigError, NotGrantedError
from tunnel_whisperer.link import requests
from tunnel_whisperer.link.asking import read_answer
from tunnel_whisperer.link.requests import OPERATIONS, Asker, Requests, read_request

ALICE = Asker("alice", samples.key(1))


@dataclass
class Engine:
    """Grants what is asked for, when `go` is set."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most: int = 0
    error: Exception | None = None

    async def _answer(self, what: str) -> Mapping[str, Any]:
        self.asked.append(what)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.go.wait()
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return {"what": what}

    async def whoami(self, asker: Asker) -> Mapping[str, Any]:
        return await self._answer(f"whoami {asker.user}")

    async def renew(self, asker: Asker, csr: str) -> Mapping[str, Any]:
        return await self._answer(f"renew {csr}")

    async def enrol(self, asker: Asker, ssh_public_key: str, csr: str) -> Mapping[str, Any]:
        return await self._answer(f"enrol {ssh_public_key} {csr}")


@pytest.fixture
def engine() -> Engine:
    made = Engine()
    made.go.set()
    return made


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


async def test_each_operation_is_done_and_answered(engine: Engine) -> None:
    answering = Requests(engine)
    for request in (line(op="whoami"), line(op="renew", csr="R"), line(op="enrol", csr="R", ssh_public_key="K")):
        assert json.loads(await answering.answer(ALICE, request))["ok"] is True
    assert engine.asked == ["whoami alice", "renew R", "enrol K R"]


@pytest.mark.parametrize(
    ("request_line", "words"),
    [
        (b"", "one line of JSON"),
        (b"GET / HTTP/1.1\r", "one line of JSON"),
        (b"\xff\xfe{}", "one line of JSON"),
        (b"[" * 60_000, "one line of JSON"),
        (b"9" * 60_000, "one line of JSON"),
        (b"[]", "an object with op"),
        (b"null", "an object with op"),
        (b"{}", "unknown op nothing; known: whoami, renew, enrol"),
        (line(op="__class__"), 'unknown op "__class__"'),
        (line(op="exec"), 'unknown op "exec"'),
        (line(op=["renew"]), "unknown op ['renew']"),
        (line(op="x" * 50_000), "unknown op"),
        (line(op="renew\n{}"), "unknown op"),
        (line(op="renew"), "renew takes csr"),
        (line(op="renew", csr="R", user="bob"), "renew takes csr"),
        (line(op="renew", csr=1), "csr is no text"),
        (line(op="renew", csr=None), "csr is no text"),
        (line(op="enrol", csr="R"), "enrol takes ssh_public_key, csr"),
        (line(op="whoami", user="bob"), "whoami takes no fields"),
    ],
)
async def test_what_is_not_understood_is_refused_in_a_short_line(
    engine: Engine, request_line: bytes, words: str
) -> None:
    answer = await Requests(engine).answer(ALICE, request_line)
    told = json.loads(answer)
    assert (told["ok"], told["retry"]) == (False, False)
    assert words in told["error"]
    assert len(answer) < 300
    assert b"\n" not in answer
    assert engine.asked == []


@given(st.binary(max_size=200) | st.recursive(st.text() | st.none(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_a_request_is_read_or_refused_and_nothing_else(given_line: bytes) -> None:
    try:
        operation, fields = read_request(given_line)
    except NotGrantedError:
        return
    assert set(fields) == set(OPERATIONS[operation])


@given(st.binary(max_size=200) | st.dictionaries(st.text(), st.text()).map(lambda v: json.dumps(v).encode()))
def test_an_answer_is_read_or_refused_and_nothing_else(answer: bytes) -> None:
    with pytest.raises(NotGrantedError):
        read_answer(answer)


def test_an_error_is_told_on_one_line_of_what_can_be_printed() -> None:
    with pytest.raises(NotGrantedError) as caught:
        read_answer(json.dumps({"ok": False, "error": "no\n\x1b[31m" + "x" * 9000, "retry": True}).encode())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 500
    assert caught.value.retry


async def test_what_went_wrong_here_is_not_told_to_who_asked(engine: Engine) -> None:
    engine.error = ConfigError("is no private key", where="/etc/tw/serve/ca.key")
    told = json.loads(await Requests(engine).answer(ALICE, line(op="whoami")))
    assert told == {"ok": False, "error": "the server cannot do that just now; its log says why", "retry": True}


async def test_requests_wait_for_each_other_but_not_in_any_number(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "WAITING", 4)
    engine.go.clear()
    answering = Requests(engine)
    tasks = [asyncio.create_task(answering.answer(ALICE, line(op="whoami"))) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    engine.go.set()
    told = [json.loads(await task) for task in tasks]
    assert sum(one["ok"] for one in told) == 4
    assert {one["error"] for one in told if not one["ok"]} == {"too many ask at once; ask again in a minute"}
    assert all(one["retry"] for one in told if not one["ok"])
    assert engine.most == 1
    assert json.loads(await answering.answer(ALICE, line(op="whoami")))["ok"] is True
