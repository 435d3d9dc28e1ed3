"""`tw port` and `tw connect --map`: where bridges listen on this host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.agent.cli.commands import Tw, answering
from tests.unit.agent.client.stage import Stage
from tunnel_whisperer import ports
from tunnel_whisperer.connect import ConnectDaemon
from tunnel_whisperer.ports import LocalEnd


def test_a_port_is_chosen_listed_and_given_up(stage: Stage, tw: Tw) -> None:
    context = stage.context("acme", stage.own)
    assert tw("port", "set", "acme", "postgres", "15432") == (
        "postgres: 127.0.0.1:15432; its daemon is not running: in force when it starts\n"
    )
    assert tw("port", "list") == "postgres: 127.0.0.1:15432 (usually 127.0.0.1:5432)\nweb-8080: 127.0.0.1:8080\n"
    assert tw.data("port", "list", "acme") == {
        "context": "acme",
        "bridges": [
            {"bridge": "postgres", "local": "127.0.0.1:15432", "usual": "127.0.0.1:5432", "chosen": True},
            {"bridge": "web-8080", "local": "127.0.0.1:8080", "usual": "127.0.0.1:8080", "chosen": False},
        ],
        "gone": [],
    }
    told = tw.data("port", "unset", "acme", "postgres")
    assert told == {"context": "acme", "changed": True, "daemon": "its daemon is not running: in force when it starts"}
    assert not (context.directory / "ports.yml").exists()
    assert tw.refused("port", "unset", "acme", "postgres") == "context acme: nothing was chosen for bridge 'postgres'"


def test_a_running_daemon_is_reloaded_and_that_is_said(stage: Stage, tw: Tw) -> None:
    context = stage.context("acme", stage.own)
    with answering(context.runtime_dir, {"state": "up"}) as asked:
        assert tw("port", "set", "acme", "postgres", "15432") == (
            "postgres: 127.0.0.1:15432; its daemon was reloaded: bridge postgres changed\n"
        )
        assert tw("port", "set", "acme", "postgres", "1", "--dry-run") == (
            f"would change {context.directory / 'ports.yml'}\n"
        )
        assert asked == ["reload"]
        assert tw("reload", "acme") == "acme: bridge postgres changed\n"


def test_other_hosts_come_in_only_where_an_address_says_so_and_with_a_warning(stage: Stage, tw: Tw) -> None:
    stage.context("acme", stage.own)
    tw("port", "set", "acme", "postgres", "15432")
    assert tw.err == ""
    tw("port", "set", "acme", "postgres", "0.0.0.0:15432")
    assert tw.err == (
        "tw: warning: bridge postgres listens at 0.0.0.0:15432: whoever reaches this host there reaches the server's "
        "port\n"
    )
    tw("port", "set", "acme", "postgres", "15432")
    assert tw("port", "list").startswith("postgres: 127.0.0.1:15432 ")


def test_a_choice_for_a_bridge_that_is_gone_waits_and_can_be_given_up(stage: Stage, tw: Tw) -> None:
    context = stage.context("acme", stage.own)
    (context.directory / "ports.yml").write_bytes(ports.write({"old": LocalEnd(1)}))
    assert tw("port", "list").endswith("old: 1, for a bridge that is not there now\n")
    assert tw.data("port", "list")["gone"] == ["old"]
    assert tw("port", "unset", "acme", "old").startswith("old: gone; ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["acme", "postgres", "0"], '"0" is no port; accepted: a whole number from 1 to 65535'),
        (["acme", "postgres", "65536"], '"65536" is no port'),
        (["acme", "postgres", "a b:1"], '"a b" is no host'),
        (["acme", "postgers", "1"], 'context acme: there is no bridge "postgers" (did you mean "postgres"?'),
        (["acme", "../x", "1"], 'context acme: there is no bridge "../x" (known: postgres, web-8080)'),
        (["acme", "postgres", "8080"], 'ports.yml: bridges "postgres" and "web-8080" would both listen at'),
        (["amce", "postgres", "1"], "no context 'amce' (contexts here: acme)"),
    ],
)
def test_what_cannot_be_is_refused(stage: Stage, tw: Tw, arguments: list[str], complaint: str) -> None:
    stage.context("acme", stage.own)
    before = stage.files()
    assert complaint in tw.refused("port", "set", *arguments)
    assert stage.files() == before


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ConnectDaemon]:
    """The daemons that `tw connect` would have run."""
    made: list[ConnectDaemon] = []

    def run(make: Callable[[], Any]) -> int:
        made.append(make())
        return 0

    monkeypatch.setattr("tunnel_whisperer.daemon.run", run)
    return made


async def test_connect_takes_the_current_context_and_maps_bridges_for_this_run(
    stage: Stage, tw: Tw, started: list[ConnectDaemon], caplog: pytest.LogCaptureFixture
) -> None:
    stage.context("acme", stage.own)
    stage.context("beta", stage.own)
    assert "not exactly one to take" in tw.refused("connect")
    tw("context", "use", "beta")
    tw("connect", "--map", "postgres=15432", "--map", "web-8080=0.0.0.0:80")
    assert started[0].name == "beta"
    assert [ports.place_of(bridge) for bridge in started[0]._config.bridges] == ["127.0.0.1:15432", "0.0.0.0:80"]
    assert "bridge web-8080 listens at 0.0.0.0:80" in caplog.text
    tw("port", "set", "beta", "postgres", "1")
    changed = await started[0].reread()
    assert changed == {"changed": ["bridge postgres opened", "bridge web-8080 opened"], "restart": []}
    assert [ports.place_of(bridge) for bridge in started[0]._config.bridges] == ["127.0.0.1:15432", "0.0.0.0:80"]
    await started[0].close()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("postgres", '--map "postgres": is of another form; accepted: BRIDGE=PORT or BRIDGE=ADDRESS:PORT'),
        ("postgers=1", '--map: there is no bridge "postgers" (did you mean "postgres"? known: postgres, web-8080)'),
        ("postgres=8080", 'and --map: bridges "postgres" and "web-8080" would both listen at 127.0.0.1:8080'),
    ],
)
def test_a_map_that_will_not_do(stage: Stage, tw: Tw, started: list[ConnectDaemon], given: str, complaint: str) -> None:
    stage.context("acme", stage.own)
    assert complaint in tw.refused("connect", "--map", given)
    assert started == []
