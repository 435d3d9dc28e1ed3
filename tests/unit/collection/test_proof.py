"""Proving a client's bridges, and what it comes to."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.tunnel_whisperer.tw.plugins.modules import proof
from ansible_collections.tunnel_whisperer.tw.plugins.plugin_utils.verdict import judge

Behave = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Behave], int]]:
    started = []

    def start(behave: Behave) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            with contextlib.suppress(OSError):  # nobody came, or whoever came is gone again
                taken, _address = listener.accept()
                with taken:
                    behave(taken)

        thread = threading.Thread(target=accept)
        thread.start()
        started.append((listener, thread))
        return int(listener.getsockname()[1])

    yield start
    for listener, thread in started:
        listener.shutdown(socket.SHUT_RDWR)  # wakes the one that waits in it
        thread.join()
        listener.close()


def contexts(**ports: int) -> dict[str, dict[str, list[dict[str, object]]]]:
    return {"acme": {"bridges": [{"name": name, "local_port": port} for name, port in ports.items()]}}


def test_bridges_that_greet_wait_close_or_are_not_there(serve: Callable[[Behave], int]) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    nobody = free.getsockname()[1]
    free.close()
    rows = proof.open_bridges(
        contexts(
            greets=serve(lambda taken: taken.sendall(b"220 ready\r\n")),
            waits=serve(lambda taken: taken.recv(1)),
            closes=serve(lambda taken: taken.close()),
            nobody=nobody,
            foreign=serve(lambda taken: taken.sendall(b"220 a stranger\r\n")),
        ),
        listen=0.5,
        faults={("acme", "foreign"): "address already in use"},
    )
    assert {row["what"].split()[1]: row["good"] for row in rows} == {
        "greets": True,
        "waits": True,
        "closes": False,
        "nobody": False,
        "foreign": False,
    }


def test_a_local_port_that_is_not_its_daemons_is_a_fault() -> None:
    wanted = contexts(good=1, taken=2, unknown=3)
    bridges = [
        {"name": "good", "state": "listening", "reason": None},
        {"name": "taken", "state": "waiting", "reason": "127.0.0.1:2 is in use"},
    ]
    faults = proof.local_faults(wanted, status(bridges, "up"))
    assert set(faults) == {("acme", "taken"), ("acme", "unknown")}
    assert "127.0.0.1:2 is in use" in faults["acme", "taken"]
    assert set(proof.local_faults(wanted, "")) == {("acme", name) for name in ("good", "taken", "unknown")}
    assert set(proof.local_faults({"off": wanted["acme"]}, status([]))) == {
        ("off", name) for name in ("good", "taken", "unknown")
    }


@pytest.mark.parametrize(
    ("links", "good"),
    [(["up", "down"], True), (["degraded", "down"], False), (["connecting", "down"], False), ([], False)],
)
def test_a_bridge_without_a_link_that_is_up_is_a_fault(links: list[str], good: bool) -> None:
    """Its daemon holds what comes to the local port for longer than it is watched here, as if the far end waited."""
    out = status([{"name": "db", "state": "listening", "reason": None}], *links)
    fault = proof.local_faults(contexts(db=1), out)
    assert fault.keys() == (set() if good else {("acme", "db")})
    assert all(said.startswith("none of its links is up: ") for said in fault.values())


def status(bridges: list[dict[str, object]], *links: str) -> str:
    """What `tw status` says of a client with one context, and a server."""
    told = [{"state": link, "reason": f"it is {link}"} for link in links]
    acme = {"kind": "connect", "name": "acme", "bridges": bridges, "links": told}
    return json.dumps({"daemons": [acme, {"kind": "serve", "name": "x"}, {"kind": "connect", "name": "off"}]})


def test_what_tw_test_says_becomes_rows() -> None:
    out = (
        '{"ok": false, "checks": [{"subject": "acme", "component": "gate", "target": "relay", "status": "ok",'
        ' "duration_ms": 100.4, "details": "there", "action": ""}, {"subject": "acme", "component": "clock",'
        ' "target": "relay", "status": "failed", "duration_ms": 0, "details": "wrong", "action": "set it"}]}'
    )
    assert proof.tested_rows("acme", 1, out, "") == [
        {"context": "acme", "what": "gate relay", "good": True, "seconds": 0.1, "told": "there"},
        {"context": "acme", "what": "clock relay", "good": False, "seconds": 0.0, "told": "wrong -> set it"},
    ]


def test_a_command_that_says_nothing_usable_is_a_failed_row() -> None:
    (row,) = proof.tested_rows("acme", 2, "", "Traceback\ntw: no such context\n")
    assert (row["good"], row["told"]) == (False, "tw: no such context")
    (row,) = proof.tested_rows("acme", 137, "", "")
    assert row["told"] == "it ended with code 137 and no word"


CLIENTS = {"client1": {"acme": {}}, "client2": {"acme": {}, "globex": {}}}


def test_a_host_that_was_not_tried_is_said_and_is_no_failure() -> None:
    proofs = {
        "client1": {"rows": [{"context": "acme", "what": "bridge", "good": True, "seconds": 0.2, "told": "open"}]}
    }
    verdict = judge(CLIENTS, proofs, {"client2": "it was out of reach"})
    assert not verdict.failed
    assert verdict.untried == ("client2 acme: it was out of reach", "client2 globex: it was out of reach")
    assert "client1  acme     bridge  ok         0.20 s  open" in verdict.lines
    assert judge(CLIENTS, proofs, {}).untried[0] == "client2 acme: it is not part of this run"


def test_what_failed_is_named_with_its_place() -> None:
    row = {"context": "acme", "what": "bridge db", "good": False, "seconds": 2.0, "told": "closed"}
    verdict = judge({"client1": {"acme": {}}}, {"client1": {"rows": [row]}}, {})
    assert verdict.failed == ("client1 acme, bridge db: closed",)


def test_nothing_to_prove_is_nothing_to_show() -> None:
    assert judge({}, {}, {}).lines == ()
