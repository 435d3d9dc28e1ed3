"""`tw status` and `tw test` of a person: the system's daemons and their own."""

from __future__ import annotations

import pytest

from tests.unit.agent.cli.commands import Tw, answering
from tests.unit.agent.client.stage import Stage
from tunnel_whisperer import places

STATUS = {
    "kind": "connect",
    "name": "acme",
    "state": "up",
    "reason": "2 of 2 links",
    "relay": "relay.example.com:443",
    "tenant": "acme",
    "user": "alice",
    "carrier": {"state": "ready", "last_error": None},
    "links": [],
    "bridges": [],
}


def test_both_are_shown_and_told_apart(stage: Stage, tw: Tw) -> None:
    stage.context("acme", stage.system)
    stage.context("acme", stage.own)
    with answering(stage.own.runtime_dir("acme"), STATUS):
        lines = tw("status", "--serve", stage.root / "serve.yml", code=1).splitlines()
        told = tw.data("status", "--serve", stage.root / "serve.yml", code=1)["daemons"]
    assert lines[0] == "connect acme (your own): up, 2 of 2 links"
    assert lines[-1].startswith("acme: ")
    assert lines[-1].endswith(": not running")
    assert [(one["name"], one["place"], one["state"]) for one in told] == [
        ("acme", "own", "up"),
        ("acme", "system", "not running"),
    ]


def test_a_person_sees_their_own_where_the_system_is_closed(
    stage: Stage, tw: Tw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places.Place, "closed", property(lambda place: place.kind == "system"))
    tw("status", "--serve", stage.root / "serve.yml", code=2)
    assert "only root and the group tw may look there; run it as root: sudo tw ..." in tw.err
    stage.context("mine", stage.own)
    assert tw("status", "--serve", stage.root / "serve.yml", code=3).startswith("mine (your own): ")
    assert tw.err == f"tw: only root and the group tw may look into {stage.system.contexts}\n"


def test_a_port_that_is_taken_comes_with_what_to_do(stage: Stage, tw: Tw) -> None:
    context = stage.context("acme", stage.own)
    bridge = {
        "name": "postgres",
        "local": "127.0.0.1:5432",
        "target": "127.0.0.1:5432",
        "state": "closed",
        "reason": "the port is taken by a process of user root",
    }
    with answering(context.runtime_dir, STATUS | {"state": "degraded", "bridges": [bridge]}):
        said = tw("status", "--serve", stage.root / "serve.yml", code=1)
    assert said.splitlines()[-1] == (
        "  bridge   127.0.0.1:5432 -> 127.0.0.1:5432 (postgres)  closed: the port is taken by a process of user root "
        "(another port: tw port set acme postgres PORT)"
    )
